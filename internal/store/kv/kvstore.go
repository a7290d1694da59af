// Package kvstore is the embedded store: documents as JSON in JetStream
// key-value buckets, for `tidegate dev`, tests and small installations that
// want no second server.
//
// Every collection has a bucket of its own. Keys are made of tokens, so that
// a customer's windows are found by key (`<customer>.<feature>.<start>`)
// without reading anyone else's; what else is looked up by customer, and the
// mails that are due, have index entries beside the documents. Index entries
// are written before the document and hold nothing that is believed without
// it: one that a crash left behind is passed over. Listings by time or across
// customers read the whole bucket.
//
// Conditional writes are guarded by the revision that was read, so they hold
// against any number of writers.
package kv

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidegate-io/tidegate/events"
)

// The buckets, before the namespace.
const (
	bucketUsage         = "store_usage"
	bucketCustomers     = "store_customers"
	bucketSubscriptions = "store_subscriptions"
	bucketNotifications = "store_notifications"
	bucketConversions   = "store_conversions"
)

const (
	idleTimeout = 10 * time.Second // how long a listing waits for its next document
	workers     = 8                // round trips in flight of one batch
)

// Store is the embedded store. store.Store is its contract.
type Store struct {
	usage, customers, subscriptions, notifications, conversions *bucket
}

// Open returns the store in the buckets of names, which it makes where they
// are missing, with so many replicas (at least 1). js stays the caller's, who
// closes its connection after the store.
func Open(ctx context.Context, js jetstream.JetStream, names events.Names, replicas int) (*Store, error) {
	s := new(Store)
	for base, at := range map[string]**bucket{
		bucketUsage: &s.usage, bucketCustomers: &s.customers, bucketSubscriptions: &s.subscriptions,
		bucketNotifications: &s.notifications, bucketConversions: &s.conversions,
	} {
		b, err := openBucket(ctx, js, names.Bucket(base), max(replicas, 1))
		if err != nil {
			return nil, err
		}
		*at = b
	}
	return s, nil
}

// Ping asks the server for one of the buckets.
func (s *Store) Ping(ctx context.Context) error {
	_, err := s.usage.kv.Status(ctx)
	return s.usage.fail("ping", err)
}

// Close does nothing: the connection is the caller's.
func (s *Store) Close(context.Context) error { return nil }

func openBucket(ctx context.Context, js jetstream.JetStream, name string, replicas int) (*bucket, error) {
	b := &bucket{name: name}
	kv, err := js.CreateOrUpdateKeyValue(ctx, jetstream.KeyValueConfig{
		Bucket: name, Description: "Tidegate's embedded store", History: 1,
		Storage: jetstream.FileStorage, Replicas: replicas, Compression: true,
	})
	if err != nil {
		return nil, b.fail("open", err)
	}
	stream, err := js.Stream(ctx, "KV_"+name)
	if err != nil {
		return nil, b.fail("open", err)
	}
	b.kv, b.stream = kv, stream
	return b, nil
}

// fail says which bucket err came from, and what to do when nobody answered.
func (b *bucket) fail(doing string, err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, context.Canceled):
		return fmt.Errorf("embedded store, bucket %s: %s: %w", b.name, doing, err)
	case errors.Is(err, nats.ErrNoResponders), errors.Is(err, nats.ErrTimeout), errors.Is(err, nats.ErrConnectionClosed),
		errors.Is(err, nats.ErrConnectionReconnecting), errors.Is(err, context.DeadlineExceeded), errors.Is(err, jetstream.ErrJetStreamNotEnabled):
		return fmt.Errorf("embedded store, bucket %s: %s: JetStream does not answer, check that the NATS server runs with JetStream: %w", b.name, doing, err)
	}
	return fmt.Errorf("embedded store, bucket %s: %s: %w", b.name, doing, err)
}

// parallel calls f for 0 to n-1, a few at a time, and returns the first error;
// after one it begins no more.
func parallel(ctx context.Context, n int, f func(ctx context.Context, i int) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	next := make(chan int)
	var (
		wg    sync.WaitGroup
		once  sync.Once
		first error
	)
	for range min(workers, n) {
		wg.Go(func() {
			for i := range next {
				if err := f(ctx, i); err != nil {
					once.Do(func() { first = err })
					cancel()
				}
			}
		})
	}
	for i := 0; i < n && ctx.Err() == nil; i++ {
		select {
		case next <- i:
		case <-ctx.Done():
		}
	}
	close(next)
	wg.Wait()
	if first != nil {
		return first
	}
	return ctx.Err()
}
