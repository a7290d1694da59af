package chaos

import (
	"context"
	"flag"
	"math/rand/v2"
	"os"
	"reflect"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/internal/test/testmongo"
)

var (
	faults    = flag.Int("chaos.faults", 9, "how many faults are injected")
	brokers   = flag.Int("chaos.brokers", 1, "how many NATS servers there are: 1 or 3")
	processes = flag.Int("chaos.processes", 3, "how many tidegate processes there are")
	seed      = flag.Uint64("chaos.seed", 1, "what faults and load are drawn from")
	race      = flag.Bool("chaos.race", false, "build tidegate with the race detector")
	store     = flag.String("chaos.store", "mongodb", "where documents are kept: mongodb (a test server of its protocol) or nats")
	keep      = flag.String("chaos.dir", "", "where data and logs are kept (default: nowhere)")
)

// TestShortOrLong is short unless -chaos.faults makes it long.
func TestShortOrLong(t *testing.T) {
	dir := *keep
	if dir == "" {
		dir = t.TempDir()
	} else if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	ctx := t.Context()
	if deadline, ok := t.Deadline(); ok { // with time to stop the processes
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, deadline.Add(-20*time.Second))
		defer cancel()
	}
	o := Options{Dir: dir, Seed: *seed, Faults: *faults, Brokers: *brokers, Processes: *processes, Race: *race, Log: t.Logf}
	if *store == "mongodb" {
		o.Database = &database{t, testmongo.StartServer(t)}
	}
	r, err := Run(ctx, o)
	if err != nil {
		t.Fatalf("seed %d: %v", *seed, err)
	}
	t.Logf("\n%s", r)
	if len(r.Found) > 0 {
		t.Errorf("seed %d: %d differences; -chaos.dir keeps the logs", *seed, len(r.Found))
	}
	if r.Accepted < 100 || r.Duplicates == 0 || r.Blocked == 0 || r.Mails == 0 {
		t.Errorf("seed %d: the load was too small to show anything", *seed)
	}
}

// database is the test server for MongoDB's protocol.
type database struct {
	t *testing.T
	s *testmongo.Server
}

func (d *database) URI() string { return d.s.URI }
func (d *database) Stop()       { d.s.Stop() }

func (d *database) Restart() error {
	d.s.Restart(d.t)
	return nil
}

func TestPlan(t *testing.T) {
	draw := func(seed uint64) []Fault {
		return Plan(rand.New(rand.NewPCG(seed, 1)), len(deck), Options{Processes: 3, Brokers: 1, Database: &database{}})
	}
	if !reflect.DeepEqual(draw(7), draw(7)) {
		t.Error("the same seed draws different faults")
	}
	if reflect.DeepEqual(draw(7), draw(8)) {
		t.Error("different seeds draw the same faults")
	}
	kinds := map[Kind]int{}
	for _, f := range draw(7) {
		kinds[f.Kind]++
		if f.Length <= 0 || f.Length > longestFault || f.Target < 0 || f.Target > 3 {
			t.Errorf("%+v", f)
		}
	}
	for _, k := range deck {
		if kinds[k] == 0 {
			t.Errorf("a whole deck has no %s", k)
		}
	}
}
