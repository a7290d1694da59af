package mongo

import (
	"context"
	"fmt"
	"sync"
	"testing"

	"go.mongodb.org/mongo-driver/event"

	"github.com/tidegate-io/tidegate/internal/records"
	"github.com/tidegate-io/tidegate/internal/test/testmongo"
)

// TestCommandsAreNoLargerThanBulkSize: a command with too many updates hangs the
// tests' server forever, and a real server refuses one with too many bytes.
func TestCommandsAreNoLargerThanBulkSize(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	sizes := make(map[string][]int)
	monitor := &event.CommandMonitor{Started: func(_ context.Context, e *event.CommandStartedEvent) {
		list := map[string]string{"update": "updates", "insert": "documents"}[e.CommandName]
		if list == "" {
			return
		}
		values, _ := e.Command.Lookup(list).Array().Values()
		mu.Lock()
		defer mu.Unlock()
		sizes[e.CommandName] = append(sizes[e.CommandName], len(values))
	}}
	s := openWith(t, testmongo.URI(t), testmongo.Database(), monitor)
	sizes = make(map[string][]int) // those of Open
	var all []records.Window
	for i := range 2*testmongo.BulkSize + 1 {
		all = append(all, records.Window{Customer: "acme", Feature: fmt.Sprint(i)})
	}
	if err := s.WriteUsage(t.Context(), all); err != nil {
		t.Fatal(err)
	}
	if got, want := fmt.Sprint(sizes), "map[insert:[20 20 1] update:[20 20 1]]"; got != want {
		t.Errorf("commands of new windows: %s, want %s", got, want)
	}
	sizes = make(map[string][]int)
	if err := s.WriteUsage(t.Context(), all); err != nil {
		t.Fatal(err)
	}
	if got, want := fmt.Sprint(sizes), "map[update:[20 20 1]]"; got != want {
		t.Errorf("commands of known windows: %s, want %s", got, want)
	}
}

// TestAnotherWriterInsertsFirst: another writer, such as an owner that does not know
// yet that it lost its lease, inserts the document between our find and our insert.
func TestAnotherWriterInsertsFirst(t *testing.T) {
	for name, c := range map[string]struct{ theirs, want uint64 }{
		"an older one": {theirs: 1, want: 2},
		"a newer one":  {theirs: 3, want: 3},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			uri, database := testmongo.URI(t), testmongo.Database()
			other := openAt(t, uri, database)
			window := func(seq uint64) []records.Window {
				return []records.Window{{Customer: "acme", Feature: "api", Epoch: 1, Seq: seq}}
			}
			var once sync.Once
			s := openWith(t, uri, database, &event.CommandMonitor{Started: func(ctx context.Context, e *event.CommandStartedEvent) {
				if e.CommandName != "insert" {
					return
				}
				once.Do(func() {
					if err := other.WriteUsage(ctx, window(c.theirs)); err != nil {
						t.Error(err)
					}
				})
			}})
			if err := s.WriteUsage(t.Context(), window(2)); err != nil {
				t.Fatal(err)
			}
			found, err := s.Usage(t.Context(), "acme")
			if err != nil || len(found) != 1 || found[0].Seq != c.want {
				t.Errorf("found %+v, %v, want seq %d", found, err, c.want)
			}
		})
	}
}

func TestAllUsageReadsEveryPage(t *testing.T) {
	t.Parallel()
	s := openAt(t, testmongo.URI(t), testmongo.Database())
	s.page = 5
	for n := range 11 { // also with a full and with an empty last page
		w := []records.Window{{Customer: fmt.Sprint(n), Feature: "api"}}
		if err := s.WriteUsage(t.Context(), w); err != nil {
			t.Fatal(err)
		}
		calls := 0
		if err := s.AllUsage(t.Context(), func(records.Window) error { calls++; return nil }); err != nil || calls != n+1 {
			t.Errorf("%d of %d windows, %v", calls, n+1, err)
		}
	}
}

// TestConcurrentBatchesDoNotHangTheServer: without a limit, FerretDB's connections
// to SQLite wait for each other.
func TestConcurrentBatchesDoNotHangTheServer(t *testing.T) {
	t.Parallel()
	s, err := Open(t.Context(), testmongo.URI(t), testmongo.Database(), Options{})
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close(t.Context())
	batch := func(writer int, seq uint64) (all []records.Window) {
		for i := range 20 {
			all = append(all, records.Window{Customer: fmt.Sprint(writer), Feature: fmt.Sprint(i), Seq: seq})
		}
		return all
	}
	var wg sync.WaitGroup
	for writer := range 12 {
		wg.Go(func() {
			for seq := range uint64(3) {
				if err := s.WriteUsage(t.Context(), batch(writer, seq)); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	wg.Wait()
	for writer := range 12 {
		found, err := s.Usage(t.Context(), fmt.Sprint(writer))
		if err != nil || len(found) != 20 || found[0].Seq != 2 {
			t.Errorf("writer %d: %d windows, %v", writer, len(found), err)
		}
	}
}
