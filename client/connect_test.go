package client

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"

	"github.com/tidegate-io/tidegate/internal/test/testcert"
	"github.com/tidegate-io/tidegate/internal/test/testnats"
)

// environ is an environment of its own, so that tests can run beside each other.
type environ map[string]string

func (e environ) get(name string) string { return e[name] }

func written(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// newNkey returns the public key and the seed of a user.
func newNkey(t *testing.T) (public, seed string) {
	t.Helper()
	pair, err := nkeys.CreateUser()
	if err != nil {
		t.Fatal(err)
	}
	public, err = pair.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	s, err := pair.Seed()
	if err != nil {
		t.Fatal(err)
	}
	return public, string(s)
}

// TestConnectsAsTheEnvironmentSays logs in to real servers in each way, and is refused
// without.
func TestConnectsAsTheEnvironmentSays(t *testing.T) {
	t.Parallel()
	public, seed := newNkey(t)
	ca, dir := testcert.New(t), t.TempDir()
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	ca.Write(t, cert, key, time.Hour)
	for name, c := range map[string]struct {
		server string
		env    environ
	}{
		"user and password":  {`authorization {user: ada, password: secret}`, environ{"NATS_USER": "ada", "NATS_PASSWORD": "secret"}},
		"password in a file": {`authorization {user: ada, password: secret}`, environ{"NATS_USER": "ada", "NATS_PASSWORD_FILE": written(t, "p", "secret\n")}},
		"token":              {`authorization {token: secret}`, environ{"NATS_TOKEN": "secret"}},
		"nkey":               {`authorization {users: [{nkey: ` + public + `}]}`, environ{"NATS_NKEY": written(t, "seed", seed)}},
		"certificates": {fmt.Sprintf(`tls {cert_file: %q, key_file: %q, ca_file: %q, verify: true}`, cert, key, ca.File),
			environ{"NATS_CA": ca.File, "NATS_CERT": cert, "NATS_KEY_FILE": key}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := testnats.StartWith(t, c.server)
			c.env["NATS_URL"], c.env["NATS_INBOX_PREFIX"] = s.URL, "_INBOX_ada"
			how, err := FromEnvironment(c.env.get)
			if err != nil || len(how.Warnings) > 0 {
				t.Fatal(err, how.Warnings)
			}
			nc, err := how.Connect(nats.RetryOnFailedConnect(false))
			if err != nil {
				t.Fatal(err)
			}
			defer nc.Close()
			if inbox := nc.NewInbox(); !strings.HasPrefix(inbox, "_INBOX_ada.") {
				t.Errorf("the inbox is %s", inbox)
			}
			if nc, err := (Connection{URL: s.URL}).Connect(nats.RetryOnFailedConnect(false)); err == nil {
				nc.Close()
				t.Error("connected without")
			}
		})
	}
}

// Credentials need servers in operator mode; the library has tests of these.
func TestCredentialsAreGiven(t *testing.T) {
	t.Parallel()
	_, seed := newNkey(t)
	how, err := FromEnvironment(environ{"NATS_CREDS": written(t, "app.creds", credentials("a.b.c", seed))}.get)
	if err != nil {
		t.Fatal(err)
	}
	var o nats.Options
	for _, option := range how.Options {
		if err := option(&o); err != nil {
			t.Fatal(err)
		}
	}
	if o.UserJWT == nil || o.SignatureCB == nil {
		t.Error("no credentials")
	}
}

func credentials(token, seed string) string {
	return "-----BEGIN NATS USER JWT-----\n" + token + "\n------END NATS USER JWT------\n\n" +
		"-----BEGIN USER NKEY SEED-----\n" + seed + "\n------END USER NKEY SEED------\n"
}

func TestWrongConnectionSettings(t *testing.T) {
	t.Parallel()
	_, seed := newNkey(t)
	file, cert := written(t, "x", "nothing"), written(t, "cert.pem", "nothing")
	nkey := written(t, "seed", seed)
	for name, c := range map[string]struct {
		env  environ
		want string
	}{
		"no file of credentials":  {environ{"NATS_CREDS": "/nowhere/app.creds"}, "NATS_CREDS: the file /nowhere/app.creds cannot be read"},
		"garbage for credentials": {environ{"NATS_CREDS": file}, "NATS_CREDS: the file " + file + " holds no credentials"},
		"no credentials":          {environ{"NATS_CREDS": written(t, "empty", "")}, "holds no credentials"},
		"credentials, no JWT":     {environ{"NATS_CREDS": nkey}, "holds no credentials"},
		"credentials, no seed":    {environ{"NATS_CREDS": written(t, "jwt", credentials("a.b.c", "secret"))}, "holds no credentials"},
		"no file of a password":   {environ{"NATS_USER": "ada", "NATS_PASSWORD_FILE": "/nowhere/p"}, "NATS_PASSWORD_FILE: the file /nowhere/p cannot be read"},
		"no seed":                 {environ{"NATS_NKEY": file}, "holds no seed of a user's nkey"},
		"a password for nobody":   {environ{"NATS_PASSWORD": "secret"}, "NATS_USER is not: set both"},
		"two ways":                {environ{"NATS_TOKEN": "t", "NATS_USER": "ada"}, "NATS_USER and NATS_TOKEN say two ways to log in"},
		"two ways, one in a file": {environ{"NATS_NKEY": nkey, "NATS_TOKEN": "t"}, "NATS_NKEY and NATS_TOKEN"},
		"a user in the address":   {environ{"NATS_URL": "nats://ada:secret@nats:4222", "NATS_TOKEN": "t"}, "NATS_TOKEN and the user in NATS_URL"},
		"a certificate alone":     {environ{"NATS_CERT": cert}, "NATS_CERT and NATS_KEY belong together"},
		"no authority":            {environ{"NATS_CA": file}, "holds no certificate in PEM"},
		"no certificate":          {environ{"NATS_CERT": cert, "NATS_KEY": file}, "NATS_CERT, NATS_KEY: "},
		"a strange inbox":         {environ{"NATS_INBOX_PREFIX": "a.>"}, "NATS_INBOX_PREFIX"},
	} {
		_, err := FromEnvironment(c.env.get)
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "secret") || strings.Contains(err.Error(), seed) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
	if _, err := FromEnvironment(environ{}.get); err != nil {
		t.Errorf("nothing is said: %v", err)
	}
}

func TestWarnsOfSecretsThatOthersCanRead(t *testing.T) {
	t.Parallel()
	_, seed := newNkey(t)
	path := written(t, "seed", seed)
	if err := os.Chmod(path, 0o644); err != nil {
		t.Fatal(err)
	}
	how, err := FromEnvironment(environ{"NATS_NKEY": path}.get)
	if err != nil || len(how.Warnings) != 1 || !strings.Contains(how.Warnings[0], path) {
		t.Errorf("%v, %v", how.Warnings, err)
	}
}
