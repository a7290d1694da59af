package deploy

import (
	"bufio"
	"bytes"
	"cmp"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidegate-io/tidegate/client"
	"github.com/tidegate-io/tidegate/internal/buildinfo"
	"github.com/tidegate-io/tidegate/internal/cli"
	"github.com/tidegate-io/tidegate/internal/stream"
	"github.com/tidegate-io/tidegate/internal/test/freeport"
	"github.com/tidegate-io/tidegate/internal/test/wait"
)

// TestNATSUsersAreThoseOfTheCommand: the files with users are what the command prints
// that their first lines name.
func TestNATSUsersAreThoseOfTheCommand(t *testing.T) {
	for _, name := range []string{"nats/accounts.conf", "nats/accounts-by-role.conf"} {
		file := read(t, name)
		line := regexp.MustCompile(`(?m)^#   tidegate (.*)$`).FindStringSubmatch(file)
		if line == nil {
			t.Fatalf("%s does not say how it was written", name)
		}
		var out, errs bytes.Buffer
		code := cli.Main(t.Context(), strings.Fields(strings.ReplaceAll(line[1], `""`, "")), cli.Streams{Out: &out, Err: &errs}, buildinfo.Info{})
		if code != 0 || out.String() != file {
			t.Errorf("%s is not what `tidegate %s` prints now: exit %d %s", name, line[1], code, errs.String())
		}
	}
}

// node is a server of the cluster in deploy/nats.
type node struct {
	dir    string // its /etc/nats
	config string
	port   int
	srv    *server.Server
}

// start starts the server.
func (n *node) start(t *testing.T) {
	t.Helper()
	path := filepath.Join(n.dir, "cluster.conf")
	if err := os.WriteFile(path, []byte(n.config), 0o600); err != nil {
		t.Fatal(err)
	}
	opts, err := server.ProcessConfigFile(path)
	if err != nil {
		t.Fatal(err)
	}
	opts.Host, opts.Port, opts.NoLog, opts.NoSigs, opts.HTTPPort = "127.0.0.1", n.port, true, true, 0
	opts.JetStreamMaxMemory, opts.JetStreamMaxStore = 64<<20, 1<<30
	if n.srv, err = server.NewServer(opts); err != nil {
		t.Fatal(err)
	}
	n.srv.Start()
	t.Cleanup(func() { n.srv.Shutdown(); n.srv.WaitForShutdown() })
	if !n.srv.ReadyForConnections(10 * time.Second) {
		t.Fatal("the server did not start")
	}
}

// TestClusterOfTheFiles starts three servers with deploy/nats/cluster.conf. Only what has
// the secret and a certificate joins, and only clients that speak TLS get in.
func TestClusterOfTheFiles(t *testing.T) {
	ca, stranger := newAuthority(t), newAuthority(t)
	var ports, routes [3]int
	for i := range ports {
		ports[i], routes[i] = port(t), port(t)
	}
	text := regexp.MustCompile(`\$NATS_(\w+)_PASSWORD`).ReplaceAllString(read(t, "nats/accounts.conf"), "secret-$1")
	var nodes []*node
	for i := range ports {
		n := &node{dir: t.TempDir(), port: ports[i]}
		ca.issue(t, n.dir, "server")
		ca.issue(t, n.dir, "route")
		replace := []string{"/etc/nats/certs", n.dir, "/data", t.TempDir(), "$NATS_NAME", fmt.Sprint("nats-", i), "$NATS_ROUTE_PASSWORD", "route-secret",
			`"0.0.0.0:6222"`, fmt.Sprintf(`"127.0.0.1:%d"`, routes[i])}
		for j, p := range routes {
			replace = append(replace, fmt.Sprint("$NATS_ROUTE_", j), fmt.Sprintf("nats://route:route-secret@127.0.0.1:%d", p))
		}
		n.config = strings.NewReplacer(replace...).Replace(read(t, "nats/cluster.conf"))
		for name, content := range map[string]string{"accounts.conf": text, "tls.conf": strings.ReplaceAll(read(t, "nats/tls.conf"), "/etc/nats/certs", n.dir)} {
			if err := os.WriteFile(filepath.Join(n.dir, name), []byte(content), 0o600); err != nil {
				t.Fatal(err)
			}
		}
		n.start(t)
		nodes = append(nodes, n)
	}
	usesCluster(t, ports[:], filepath.Join(nodes[0].dir, "ca.pem"))

	for name, c := range map[string]struct {
		from     *authority
		password string
		joins    bool
	}{
		"with both":                            {ca, "route-secret", true},
		"without the secret":                   {ca, "guessed", false},
		"with another authority's certificate": {stranger, "route-secret", false},
		"without a certificate":                {nil, "route-secret", false},
	} {
		if err := joins(t, routes[0], c.from, c.password); (err == nil) != c.joins {
			t.Errorf("a server %s: %v", name, err)
		}
	}
}

// joins speaks to a server's port for the cluster as another server does, up to where it
// is taken in.
func joins(t *testing.T, port int, from *authority, password string) error {
	t.Helper()
	c, err := net.Dial("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = c.Close() }()
	if err := c.SetDeadline(time.Now().Add(wait.Patience)); err != nil {
		t.Fatal(err)
	}
	cfg := &tls.Config{InsecureSkipVerify: true} //nolint:gosec // the server is not what is tested
	if from != nil {
		dir := t.TempDir()
		from.issue(t, dir, "route")
		pair, err := tls.LoadX509KeyPair(filepath.Join(dir, "route.pem"), filepath.Join(dir, "route-key.pem"))
		if err != nil {
			t.Fatal(err)
		}
		cfg.Certificates = []tls.Certificate{pair}
	}
	secure := tls.Client(c, cfg)
	if err := secure.Handshake(); err != nil {
		return err
	}
	if _, err := fmt.Fprintf(secure, "CONNECT {\"user\":\"route\",\"pass\":%q,\"tls_required\":true,\"cluster\":\"tidegate\",\"name\":\"x\"}\r\nPING\r\n", password); err != nil {
		return err
	}
	lines := bufio.NewScanner(secure)
	for lines.Scan() {
		switch line := lines.Text(); {
		case strings.HasPrefix(line, "-ERR"):
			return errors.New(line)
		case line == "PONG":
			return nil
		}
	}
	return cmp.Or(lines.Err(), io.EOF)
}

// usesCluster connects as Tidegate does, and makes its streams with three copies.
func usesCluster(t *testing.T, ports []int, ca string) {
	t.Helper()
	var urls []string
	for _, p := range ports {
		urls = append(urls, fmt.Sprintf("tls://127.0.0.1:%d", p))
	}
	env := map[string]string{"NATS_URL": strings.Join(urls, ","), "NATS_CA": ca, "NATS_USER": "tidegate", "NATS_PASSWORD": "secret-TIDEGATE", "NATS_INBOX_PREFIX": "_INBOX_tidegate"}
	how, err := client.FromEnvironment(func(name string) string { return env[name] })
	if err != nil {
		t.Fatal(err)
	}
	nc, err := how.Connect(nats.RetryOnFailedConnect(false))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	wait.Until(t, "streams of three copies", func() error {
		_, err := stream.Ensure(t.Context(), js, stream.Layout{Partitions: 2, Replicas: 3})
		return err
	})
	if nc, err := nats.Connect(urls[0], nats.UserInfo("tidegate", "secret-TIDEGATE")); err == nil {
		nc.Close()
		t.Error("a client took a certificate of an authority that it does not know")
	}
	for _, who := range []nats.Option{nats.UserInfo("tidegate", "secret-APP"), nats.Name("nobody")} {
		if nc, err := nats.Connect(urls[0], nats.RootCAs(ca), who); err == nil {
			nc.Close()
			t.Error("a client got in without the password")
		}
	}
}

func port(t *testing.T) int {
	t.Helper()
	p, err := freeport.Take()
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// authority signs certificates.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

func newAuthority(t *testing.T) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	about := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}
	der, err := x509.CreateCertificate(rand.Reader, about, about, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{cert, key}
}

// issue writes a certificate for 127.0.0.1 with its key, and the authority's beside it.
func (a *authority) issue(t *testing.T, dir, name string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	about := &x509.Certificate{SerialNumber: big.NewInt(2), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}}
	der, err := x509.CreateCertificate(rand.Reader, about, a.cert, key.Public(), a.key)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{
		name + ".pem": {Type: "CERTIFICATE", Bytes: der}, name + "-key.pem": {Type: "PRIVATE KEY", Bytes: raw}, "ca.pem": {Type: "CERTIFICATE", Bytes: a.cert.Raw},
	} {
		if err := os.WriteFile(filepath.Join(dir, file), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}
