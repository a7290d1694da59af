package e2e

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/bson"

	"github.com/tidegate-io/tidegate/internal/test/sample"
	"github.com/tidegate-io/tidegate/internal/test/testmongo"
	"github.com/tidegate-io/tidegate/internal/test/testprocess"
	"github.com/tidegate-io/tidegate/internal/test/wait"
)

// traffic sends usage until stop, and remembers all of it.
type traffic struct {
	in     *installation
	cancel context.CancelFunc
	wg     sync.WaitGroup
	more   chan struct{} // gets an element for each request

	mu   sync.Mutex
	sent map[string][]string // events by customer
}

func (in *installation) traffic() *traffic {
	ctx, cancel := context.WithCancel(in.t.Context())
	tr := &traffic{in: in, cancel: cancel, sent: map[string][]string{}, more: make(chan struct{}, 1)}
	in.t.Cleanup(tr.stop)
	for worker := range 2 {
		tr.wg.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				c := fmt.Sprint("busy", i%5)
				es := sample.Events(c, fmt.Sprintf("t%d-%d", worker, i), 20)
				status, answer, err := in.request("POST", "/v1/events", "application/x-ndjson", sample.Lines(es))
				if err != nil || status != 202 {
					in.t.Errorf("POST /v1/events: %d %s %v", status, answer, err)
					return
				}
				tr.mu.Lock()
				tr.sent[c] = append(tr.sent[c], es...)
				tr.mu.Unlock()
				select {
				case tr.more <- struct{}{}:
				default:
				}
			}
		})
	}
	return tr
}

// flows waits for some more requests.
func (tr *traffic) flows(n int) {
	tr.in.t.Helper()
	for range n {
		select {
		case <-tr.more:
		case <-time.After(wait.Patience):
			tr.in.t.Fatal("no traffic")
		}
	}
}

func (tr *traffic) stop() { tr.cancel(); tr.wg.Wait() }

// counts returns how many events were sent, by customer.
func (tr *traffic) counts() map[string]int64 {
	tr.mu.Lock()
	defer tr.mu.Unlock()
	n := map[string]int64{}
	for c, es := range tr.sent {
		n[c] = int64(len(es))
	}
	return n
}

// startNewNATS starts a NATS on another folder at the same address.
func (in *installation) startNewNATS(folder string) *testprocess.Process {
	in.t.Helper()
	return testprocess.StartNATS(in.t, in.nats[len("nats://"):], filepath.Join(in.dir, folder))
}

// TestBackup makes a backup under load, and goes on with it on another NATS.
func TestBackup(t *testing.T) {
	t.Parallel()
	in := newInstallation(t, testmongo.URI(t))
	in.env = []string{"TIDEGATE_SNAPSHOT_BYTES=16384"}
	nats := in.startNATS()
	tidegate := in.serve(everyRole)
	in.ready()
	app := in.app(in.connect())
	for _, c := range []string{"acme", "globex"} {
		in.put(c, fmt.Sprintf(`{"email":"ada@%s.example"}`, c))
	}
	in.post("application/x-ndjson", sample.Lines(sample.Events("acme", "a", 10)), 10)
	in.mailTo("ada@acme.example")
	tr := in.traffic()
	tr.flows(500)
	before := tr.counts()
	dir := filepath.Join(in.dir, "backup")
	if out := in.must("backup", dir); !strings.Contains(out, "t1_USAGE") {
		t.Errorf("backup printed %s", out)
	}
	tr.flows(100)
	tr.stop()
	in.post("application/x-ndjson", sample.Lines(sample.Events("globex", "g", 10)), 10)
	in.mailTo("ada@globex.example") // which the backup does not know of
	sees(t, app, "globex", false)
	tidegate.Kill()
	nats.Kill()

	in.startNewNATS("new")
	var said struct {
		Partitions   int
		MissingAfter time.Time `json:"missing_after"`
	}
	in.decoded(&said, "restore", dir)
	if said.Partitions != 4 || said.MissingAfter.IsZero() {
		t.Errorf("restore says %+v", said)
	}
	if code, _, err := in.command("", "restore", dir); code != exitFailed || !strings.Contains(err, "t1_USAGE") {
		t.Errorf("a second restore: exit %d: %s", code, err)
	}
	in.serve(everyRole)
	in.ready()
	committed(t, in)
	for c, n := range before {
		if got := in.used(c); got < n {
			t.Errorf("%s has used %d, and before the backup it was %d", c, got, n)
		}
	}
	sees(t, app, "acme", false)
	sendAgain(t, in, tr)
	in.put("globex", `{"plan":"paid"}`)
	sees(t, app, "globex", true)
	in.mailTo("ada@acme.example")
	in.mailTo("ada@globex.example")
	document(t, in.documents().Collection("usage"), "acme", func(d bson.M) error { return has(d, bson.M{"used": int64(11)}) })
}

// sendAgain sends what was sent before: all of it counts once. Then it sends more.
func sendAgain(t *testing.T, in *installation, tr *traffic) {
	t.Helper()
	in.post("application/x-ndjson", sample.Lines(sample.Events("acme", "a", 11)), 11)
	in.post("application/x-ndjson", sample.Lines(sample.Events("globex", "g", 10)), 10)
	for _, es := range tr.sent {
		for len(es) > 0 {
			n := min(len(es), 5000)
			in.post("application/x-ndjson", sample.Lines(es[:n]), n)
			es = es[n:]
		}
	}
	in.uses("acme", 11)
	in.uses("globex", 10)
	for c, n := range tr.counts() {
		in.post("application/x-ndjson", sample.Lines(sample.Events(c, "more", 7)), 7)
		in.uses(c, n+7)
	}
	committed(t, in)
}

// TestDamagedBackup says what is wrong before anything is restored.
func TestDamagedBackup(t *testing.T) {
	t.Parallel()
	in := newInstallation(t, testmongo.URI(t))
	nats := in.startNATS()
	tidegate := in.serve(everyRole)
	in.ready()
	dir := filepath.Join(in.dir, "backup")
	in.must("backup", dir)
	if code, _, err := in.command("", "backup", dir); code != exitFailed || !strings.Contains(err, "not empty") {
		t.Errorf("a backup into the same folder: exit %d: %s", code, err)
	}
	tidegate.Kill()
	nats.Kill()
	in.startNewNATS("new")
	write(t, filepath.Join(dir, "USAGE.snapshot"), "no snapshot")
	if code, _, err := in.command("", "restore", dir); code != exitFailed || !strings.Contains(err, "USAGE.snapshot is damaged") {
		t.Errorf("a damaged backup: exit %d: %s", code, err)
	}
	write(t, in.config, strings.Replace(production, "partitions: 4", "partitions: 32", 1))
	if code, _, err := in.command("", "restore", dir); code != exitFailed || !strings.Contains(err, "set `partitions: 4`") {
		t.Errorf("a restore with other partitions: exit %d: %s", code, err)
	}
}

// TestDevMovesToServe takes the data of a dev over into production.
func TestDevMovesToServe(t *testing.T) {
	t.Parallel()
	d := newDevelopment(t, "namespace: t1\n"+sample.Config)
	in := newInstallation(t, testmongo.URI(t))
	d.put("acme", `{"email":"ada@acme.example"}`)
	d.post("application/x-ndjson", sample.Lines(sample.Events("acme", "a", 10)), 10)
	d.uses("acme", 10)
	dir := filepath.Join(in.dir, "backup")
	d.must("backup", dir)

	in.startNATS()
	in.must("restore", dir)
	in.serve(everyRole)
	in.ready()
	in.post("application/x-ndjson", sample.Lines(sample.Events("acme", "a", 12)), 12)
	in.uses("acme", 12)
	db := in.documents()
	document(t, db.Collection("usage"), "acme", func(b bson.M) error { return has(b, bson.M{"used": int64(12)}) })
	document(t, db.Collection("customers"), "acme", func(b bson.M) error { return has(b, bson.M{"email": "ada@acme.example"}) })
}
