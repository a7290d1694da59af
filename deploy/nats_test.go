package deploy

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"

	"github.com/tidegate-io/tidegate/internal/test/testcert"
)

// natsFolder is the folder nats with certificates, whose paths in it are changed.
func natsFolder(t *testing.T) string {
	t.Helper()
	dir, ca := t.TempDir(), testcert.New(t)
	for _, name := range []string{"server", "route"} {
		ca.Write(t, filepath.Join(dir, name+".pem"), filepath.Join(dir, name+"-key.pem"), time.Hour)
	}
	files, err := filepath.Glob("nats/*.conf")
	if err != nil || len(files) == 0 {
		t.Fatalf("%d files, %v", len(files), err)
	}
	paths := strings.NewReplacer("/etc/nats/certs/ca.pem", ca.File, "/etc/nats/certs", dir)
	for _, f := range files {
		if err := os.WriteFile(filepath.Join(dir, filepath.Base(f)), []byte(paths.Replace(read(t, f))), 0o600); err != nil {
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
