package mongo

import (
	"context"
	"testing"

	"go.uber.org/goleak"

	"github.com/tidegate-io/tidegate/internal/storetest"
	"github.com/tidegate-io/tidegate/internal/testmongo"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// opener opens databases of their own on one server; they are dropped when
// their test ends.
func opener(uri string) func(t testing.TB) storetest.Store {
	return func(t testing.TB) storetest.Store { return openAt(t, uri, testmongo.Database()) }
}

func openAt(t testing.TB, uri, database string) *Store {
	t.Helper()
	s, err := Open(t.Context(), uri, database, Options{BulkSize: testmongo.BulkSize})
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
	storetest.Run(t, opener(testmongo.URI(t)))
}
