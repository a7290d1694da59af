package mongo

import (
	"context"
	"flag"
	"testing"

	"go.mongodb.org/mongo-driver/event"
	"go.uber.org/goleak"

	"github.com/tidegate-io/tidegate/internal/store"
	"github.com/tidegate-io/tidegate/internal/test/storetest"
	"github.com/tidegate-io/tidegate/internal/test/testmongo"
)

func TestMain(m *testing.M) {
	// The tests' server scans the whole collection for each update.
	_ = flag.Set("rapid.checks", "25")
	goleak.VerifyTestMain(m)
}

func openAt(t testing.TB, uri, database string) *Store {
	t.Helper()
	return openWith(t, uri, database, nil)
}

// openWith opens a database, which is dropped when the test ends.
func openWith(t testing.TB, uri, database string, monitor *event.CommandMonitor) *Store {
	t.Helper()
	s, err := open(t.Context(), uri, database, Options{BulkSize: testmongo.BulkSize}, monitor)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx := context.Background()
		_ = s.meta.Database().Drop(ctx)
		if err := s.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	return s
}

func TestStore(t *testing.T) {
	uri := testmongo.URI(t)
	open := func(t testing.TB) store.Store { return openAt(t, uri, testmongo.Database()) }
	storetest.Run(t, open)
	// FerretDB's filtered replace is not atomic: when two processes write one
	// document, the older version may win. The writers of this test share a store,
	// which sends one update at a time to FerretDB. A real server, which the
	// environment may name, gets all updates at once.
	storetest.RunRacing(t, open)
}
