package deploy

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
)

// natsFolder is the folder nats with certificates, whose paths in it are changed.
func natsFolder(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	about := &x509.Certificate{SerialNumber: big.NewInt(1), NotAfter: time.Now().Add(time.Hour)}
	cert, err := x509.CreateCertificate(rand.Reader, about, about, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	raw, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	written := map[string]string{}
	for _, name := range []string{"server", "route", "ca"} {
		written[name+".pem"] = string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: cert}))
		written[name+"-key.pem"] = string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: raw}))
	}
	files, err := filepath.Glob("nats/*.conf")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	for _, f := range files {
		written[filepath.Base(f)] = strings.ReplaceAll(read(t, f), "/etc/nats/certs", dir)
	}
	for name, text := range written {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return dir
}

func TestNATSConfiguration(t *testing.T) {
	for name, value := range map[string]string{
		"NATS_NAME": "nats-1", "NATS_ROUTE_PASSWORD": "secret",
		"NATS_ROUTE_0": "nats://route:secret@nats-0:6222", "NATS_ROUTE_1": "nats://route:secret@nats-1:6222", "NATS_ROUTE_2": "nats://route:secret@nats-2:6222",
		"NATS_TIDEGATE_PASSWORD": "a", "NATS_OPERATOR_PASSWORD": "b", "NATS_APP_PASSWORD": "c", "NATS_REPORTER_PASSWORD": "d",
	} {
		t.Setenv(name, value)
	}
	dir := natsFolder(t)
	for file, servers := range map[string]int{"server.conf": 0, "cluster.conf": 3} {
		opts, err := server.ProcessConfigFile(filepath.Join(dir, file))
		if err != nil {
			t.Fatal(err)
		}
		if !opts.JetStream || opts.StoreDir != "/data" || opts.SyncInterval == 0 || len(opts.Routes) != servers || len(opts.Users) != 4 {
			t.Errorf("%s: JetStream %v, store %q, sync every %v, %d servers, %d users",
				file, opts.JetStream, opts.StoreDir, opts.SyncInterval, len(opts.Routes), len(opts.Users))
		}
		if servers > 0 && (opts.Cluster.TLSConfig == nil || opts.Cluster.Password == "" || opts.TLSConfig == nil) {
			t.Errorf("%s: a cluster without TLS or a secret", file)
		}
	}
}
