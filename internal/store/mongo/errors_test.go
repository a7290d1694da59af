package mongo

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/internal/records"
	"github.com/tidegate-io/tidegate/internal/test/testmongo"
)

const secret = "s3cr3t/p@ss"

// noSecret fails when an error contains a password, or does not say what to do.
func noSecret(t *testing.T, err error, want string) {
	t.Helper()
	if err == nil {
		t.Fatal("no error")
	}
	for _, s := range []string{"s3cr3t", "p@ss", "p%40ss", "ada"} {
		if strings.Contains(err.Error(), s) {
			t.Errorf("%q shows %q", err, s)
		}
	}
	if !strings.Contains(err.Error(), want) {
		t.Errorf("%q does not say %q", err, want)
	}
}

func TestURIErrorsShowNoSecret(t *testing.T) {
	t.Parallel()
	for name, uri := range map[string]string{
		"empty":                    "",
		"another scheme":           "postgres://ada:s3cr3t%2Fp%40ss@db.example:27017/",
		"password not escaped":     "mongodb://ada:" + secret + "@db.example:27017/",
		"no scheme":                "ada:s3cr3t%2Fp%40ss@db.example:27017",
		"bad escape":               "mongodb://ada:s3cr3t%zz@db.example:27017/",
		"bad port":                 "mongodb://ada:s3cr3t%2Fp%40ss@db.example:port/",
		"no host":                  "mongodb://ada:s3cr3t%2Fp%40ss@/",
		"bad option":               "mongodb://ada:s3cr3t%2Fp%40ss@db.example/?connectTimeoutMS=soon",
		"bad mechanism":            "mongodb://ada:s3cr3t%2Fp%40ss@db.example/?authMechanism=s3cr3t",
		"password of a key":        "mongodb://db.example/?tlsCertificateKeyFile=/none&tlsCertificateKeyFilePassword=s3cr3t",
		"mechanism's properties":   "mongodb://db.example/?authMechanism=MONGODB-AWS&authMechanismProperties=AWS_SESSION_TOKEN:s3cr3t,x",
		"password without escapes": "mongodb://ada:s3cr3t:more@db.example/",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
			defer cancel()
			_, err := Open(ctx, uri, "", Options{})
			noSecret(t, err, "MONGODB_URI")
		})
	}
}

func TestUnreachableServerIsNamed(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	addr := l.Addr().String()
	_ = l.Close() // nothing listens there now
	began := time.Now()
	_, err = Open(t.Context(), "mongodb://ada:s3cr3t%2Fp%40ss@"+addr+"/", "", Options{Timeout: 300 * time.Millisecond})
	noSecret(t, err, "mongodb at "+addr)
	noSecret(t, err, "check that the server runs")
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("took %v of 300 ms", took)
	}
}

// TestSilentServer: a server that accepts connections and does not answer takes no
// longer than an absent one.
func TestSilentServer(t *testing.T) {
	t.Parallel()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	began := time.Now()
	_, err = Open(t.Context(), "mongodb://"+l.Addr().String()+"/", "", Options{Timeout: 300 * time.Millisecond})
	noSecret(t, err, "check that the server runs")
	if took := time.Since(began); took > 3*time.Second {
		t.Errorf("took %v of 300 ms", took)
	}
}

func TestServerGoesAndComesBack(t *testing.T) {
	t.Parallel()
	srv := testmongo.StartServer(t)
	s := openAt(t, srv.URI, testmongo.Database())
	ctx := t.Context()
	customer := func(email string, position uint64) []records.Customer {
		return []records.Customer{{ID: "acme", Email: email, Position: position}}
	}
	if err := s.WriteCustomers(ctx, customer("ada@acme.example", 1)); err != nil {
		t.Fatal(err)
	}
	srv.Stop()
	for name, call := range map[string]func(context.Context) error{
		"ping":  s.Ping,
		"write": func(ctx context.Context) error { return s.WriteCustomers(ctx, customer("eve@acme.example", 2)) },
		"insert": func(ctx context.Context) error {
			_, err := s.InsertNotification(ctx, records.Notification{Key: "k"})
			return err
		},
		"read": func(ctx context.Context) error { _, _, err := s.Customer(ctx, "acme"); return err },
	} {
		ctx, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
		began := time.Now()
		err := call(ctx)
		cancel()
		if err == nil {
			t.Errorf("%s without a server succeeds", name)
		} else {
			noSecret(t, err, "check that the server runs")
		}
		if took := time.Since(began); took > 3*time.Second {
			t.Errorf("%s took %v of 200 ms", name, took)
		}
	}
	srv.Restart(t)
	if err := s.Ping(ctx); err != nil {
		t.Fatalf("the server is back: %v", err)
	}
	if err := s.WriteCustomers(ctx, customer("eve@acme.example", 3)); err != nil {
		t.Fatalf("the server is back: %v", err)
	}
	if c, ok, err := s.Customer(ctx, "acme"); err != nil || !ok || c.Position != 3 {
		t.Errorf("after the restart: %+v, %v, %v", c, ok, err)
	}
}

func TestRefusedUser(t *testing.T) {
	t.Parallel()
	uri := strings.Replace(testmongo.URI(t), "://", "://nobody:s3cr3t%2Fp%40ss@", 1)
	_, err := Open(t.Context(), uri, testmongo.Database(), Options{})
	noSecret(t, err, "check user, password and authSource")
}
