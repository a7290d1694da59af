package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"time"

	"github.com/tidegate-io/tidegate/internal/config"
	"github.com/tidegate-io/tidegate/internal/store/mongo"
	"github.com/tidegate-io/tidegate/notifier"
)

// appAddresses finds the mail addresses that `email_from` speaks of.
type appAddresses struct{ reader *mongo.Reader } // nil: there is no MongoDB

// openAddresses returns the reader of the app's own MongoDB, which is that of
// Tidegate unless another one is named; nil without any.
func openAddresses(appURI, uri, database string) (*mongo.Reader, error) {
	if appURI != "" {
		return mongo.OpenReader("APP_MONGODB_URI", appURI, "")
	}
	if uri == "" {
		return nil, nil
	}
	if database == "" {
		database = mongo.DefaultDatabase // one in the URI is for authentication only
	}
	return mongo.OpenReader("MONGODB_URI", uri, database)
}

func (a *App) appAddresses() (appAddresses, error) {
	r, err := openAddresses(a.set.AppMongoURI, a.set.MongoURI, a.set.MongoDatabase)
	if err == nil && r != nil {
		a.onStop("addresses", r.Close)
	}
	return appAddresses{r}, err
}

// CheckAddresses returns an error if a collection that the configuration names in
// `email_from` cannot be read.
func CheckAddresses(ctx context.Context, c *config.Config, set Settings) error {
	all := places(c)
	if len(all) == 0 {
		return nil
	}
	r, err := openAddresses(set.AppMongoURI, set.MongoURI, set.MongoDatabase)
	if err != nil {
		return err
	}
	if r == nil {
		return errors.New("email_from needs a MongoDB: set APP_MONGODB_URI or MONGODB_URI")
	}
	defer func() { _ = r.Close(ctx) }()
	for _, feature := range slices.Sorted(maps.Keys(all)) {
		if err := r.Check(ctx, all[feature]); err != nil {
			return fmt.Errorf("gate %s: %w", feature, err)
		}
	}
	return nil
}

func placeOf(e *config.EmailFrom) mongo.Place {
	return mongo.Place{Database: e.Database, Collection: e.Collection, Key: e.Key, Field: e.Field}
}

// places are those of a configuration by feature.
func places(c *config.Config) map[string]mongo.Place {
	found := map[string]mongo.Place{}
	for i := range c.Gates {
		if e := c.Gates[i].EmailFrom; e != nil {
			found[c.Gates[i].Feature] = placeOf(e)
		}
	}
	return found
}

// lookup is the notifier's view of them.
func (x appAddresses) lookup(c *config.Config) func(feature string) notifier.Lookup {
	if x.reader == nil {
		return nil
	}
	all := places(c)
	return func(feature string) notifier.Lookup {
		p, ok := all[feature]
		if !ok {
			return nil
		}
		return func(ctx context.Context, customer string) (string, error) { return x.reader.Address(ctx, p, customer) }
	}
}

// warn tells of places that are not there; the database may only be away.
func (x appAddresses) warn(ctx context.Context, c *config.Config, log *slog.Logger) {
	for feature, p := range places(c) {
		if x.reader == nil {
			log.Warn("email_from_without_database", "feature", feature, "fix", "set APP_MONGODB_URI")
			continue
		}
		within, done := context.WithTimeout(ctx, 2*time.Second)
		err := x.reader.Check(within, p)
		done()
		if err != nil {
			log.Warn("email_from_not_readable", "feature", feature, "error", err)
		}
	}
}
