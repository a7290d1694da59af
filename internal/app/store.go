package app

import (
	"context"
	"errors"
	"time"

	"github.com/tidegate-io/tidegate/internal/store/kv"
	"github.com/tidegate-io/tidegate/internal/store/mongo"
)

// openStore opens MongoDB, or without its URI the embedded store.
func (a *App) openStore(ctx context.Context) error {
	if a.set.MongoURI == "" {
		return a.patiently(ctx, "NATS JetStream", func(ctx context.Context) error {
			s, err := kv.Open(ctx, a.js, a.names, a.set.Replicas)
			if err == nil {
				a.store = s
			}
			return err
		})
	}
	s, err := mongo.New(a.set.MongoURI, a.set.MongoDatabase, mongo.Options{BulkSize: a.set.MongoBulk})
	if err != nil {
		return err
	}
	a.store = s
	a.onStop("mongodb", func(ctx context.Context) error {
		ctx, cancel := context.WithTimeout(ctx, storeClose)
		defer cancel()
		return s.Close(ctx)
	})
	return a.awaitMongoDB(ctx, s)
}

// storeGrace is how long a start waits for MongoDB, to refuse one that is
// someone else's.
const storeGrace = 5 * time.Second

// storeClose is how long the end may wait for a MongoDB that does not answer.
const storeClose = 500 * time.Millisecond

// awaitMongoDB goes on without a MongoDB that is away: no commit and no decision
// depends on it. The store itself checks that the database is ours before it
// writes to it.
func (a *App) awaitMongoDB(ctx context.Context, s *mongo.Store) error {
	background, cancel := context.WithCancel(context.WithoutCancel(ctx))
	ended := make(chan error, 1)
	go func() { ended <- a.patiently(background, "MongoDB", s.Prepare, mongo.ErrForeign) }()
	select {
	case err := <-ended:
		cancel()
		return err
	case <-ctx.Done():
		cancel()
		return errors.Join(ctx.Err(), <-ended)
	case <-time.After(storeGrace):
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		switch err := <-ended; {
		case err == nil:
			a.log.Info("mongodb_reached")
		case background.Err() == nil:
			a.log.Error("no_document_is_written", "error", err)
		}
	}()
	a.onStop("waiting for mongodb", func(context.Context) error { cancel(); <-done; return nil })
	return nil
}
