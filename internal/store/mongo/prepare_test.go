package mongo

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"go.mongodb.org/mongo-driver/bson"
	driver "go.mongodb.org/mongo-driver/mongo"
	"go.mongodb.org/mongo-driver/mongo/options"

	"github.com/tidegate-io/tidegate/internal/records"
	"github.com/tidegate-io/tidegate/internal/test/testmongo"
)

// raw returns a database without Tidegate's mark.
func raw(t testing.TB, uri, database string) *driver.Database {
	t.Helper()
	c, err := driver.Connect(t.Context(), options.Client().ApplyURI(uri))
	if err != nil {
		t.Fatal(err)
	}
	db := c.Database(database)
	t.Cleanup(func() {
		_ = db.Drop(context.Background())
		_ = c.Disconnect(context.Background())
	})
	return db
}

func TestOpenRefusesForeignCollections(t *testing.T) {
	uri := testmongo.URI(t)
	for _, collection := range []string{"usage", "subscriptions", "customers", "notifications", "conversions"} {
		t.Run(collection, func(t *testing.T) {
			t.Parallel()
			db := raw(t, uri, testmongo.Database())
			if _, err := db.Collection(collection).InsertOne(t.Context(), bson.D{{Key: "theirs", Value: true}}); err != nil {
				t.Fatal(err)
			}
			_, err := Open(t.Context(), uri, db.Name(), Options{})
			if !errors.Is(err, ErrForeign) {
				t.Fatalf("Open: %v", err)
			}
			for _, want := range []string{`"` + collection + `"`, `"` + db.Name() + `"`, "MONGODB_DATABASE"} {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q does not name %s", err, want)
				}
			}
			if n, err := db.Collection(collMeta).CountDocuments(t.Context(), bson.D{}); n != 0 || err != nil {
				t.Errorf("a refused database has %d marks, %v", n, err)
			}
		})
	}
}

func TestOpenAcceptsItsOwnDatabase(t *testing.T) {
	t.Parallel()
	uri, database := testmongo.URI(t), testmongo.Database()
	db := raw(t, uri, database)
	// Collections with other names and empty collections are accepted.
	if _, err := db.Collection("orders").InsertOne(t.Context(), bson.D{{Key: "theirs", Value: true}}); err != nil {
		t.Fatal(err)
	}
	if err := db.CreateCollection(t.Context(), "usage"); err != nil {
		t.Fatal(err)
	}
	first := openAt(t, uri, database)
	if err := first.WriteCustomers(t.Context(), []records.Customer{{ID: "acme"}}); err != nil {
		t.Fatal(err)
	}
	second := openAt(t, uri, database)
	if _, ok, err := second.Customer(t.Context(), "acme"); !ok || err != nil {
		t.Errorf("opened again: %v, %v", ok, err)
	}
}

// TestDatabaseOfTheURI: a database in the URI is for authentication, not for
// documents.
func TestDatabaseOfTheURI(t *testing.T) {
	t.Parallel()
	uri, database := testmongo.URI(t), testmongo.Database()
	s := openAt(t, strings.TrimSuffix(uri, "/")+"/other", database)
	if got := s.usage.Database().Name(); got != database {
		t.Errorf("documents go to %s", got)
	}
}

func TestProcessesMayOpenAtOnce(t *testing.T) {
	t.Parallel()
	uri, database := testmongo.URI(t), testmongo.Database()
	var wg sync.WaitGroup
	for range 4 {
		wg.Go(func() {
			s, err := Open(t.Context(), uri, database, Options{BulkSize: testmongo.BulkSize})
			if err != nil {
				t.Error(err)
				return
			}
			if err := s.WriteCustomers(t.Context(), []records.Customer{{ID: "acme"}}); err != nil {
				t.Error(err)
			}
			if err := s.Close(t.Context()); err != nil {
				t.Error(err)
			}
			if err := s.Close(t.Context()); err != nil {
				t.Errorf("closed again: %v", err)
			}
		})
	}
	wg.Wait()
	db := raw(t, uri, database)
	for collection, want := range map[string]int64{collMeta: 1, collCustomers: 1} {
		if n, err := db.Collection(collection).CountDocuments(t.Context(), bson.D{}); n != want || err != nil {
			t.Errorf("%d documents in %s, want %d, %v", n, collection, want, err)
		}
	}
}

func TestOpenRefusesDocumentsOfANewerVersion(t *testing.T) {
	t.Parallel()
	uri := testmongo.URI(t)
	db := raw(t, uri, testmongo.Database())
	if _, err := db.Collection(collMeta).InsertOne(t.Context(), mark{ID: markID, Schema: schema + 1}); err != nil {
		t.Fatal(err)
	}
	if _, err := Open(t.Context(), uri, db.Name(), Options{}); err == nil || !strings.Contains(err.Error(), "newer version") {
		t.Errorf("Open: %v", err)
	}
}

func TestIndexes(t *testing.T) {
	t.Parallel()
	s := openAt(t, testmongo.URI(t), testmongo.Database())
	for c, want := range map[*driver.Collection][]string{
		s.usage:         {"_id_", "customer_1_feature_1_window_start_1", "current_1__id_1"},
		s.subscriptions: {"_id_", "stripe_customer_1"},
		s.customers:     {"_id_", "stripe_customer_1"},
		s.notifications: {"_id_", "customer_1_reached_at_1", "state_1_next_at_1", "reached_at_1"},
		s.conversions:   {"_id_", "customer_1_converted_at_1", "converted_at_1"},
	} {
		specs, err := c.Indexes().ListSpecifications(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		there := make(map[string]bool)
		for _, spec := range specs {
			there[spec.Name] = true
		}
		for _, name := range want {
			if !there[name] {
				t.Errorf("%s has no index %s", c.Name(), name)
			}
		}
	}
	if err := s.index(t.Context()); err != nil {
		t.Errorf("made again: %v", err)
	}
}
