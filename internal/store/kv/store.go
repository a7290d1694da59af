// Package kv implements store.Store with JSON documents in JetStream key-value
// buckets. `tidegate dev`, tests and small installations without a second server
// use it. A Store is safe for concurrent use.
//
// Every collection has its own bucket. Keys consist of tokens, so that a customer's
// windows are found by key (`<customer>.<feature>.<start>`). Other documents of a
// customer, and mails that are due, are found by index entries beside the
// documents. An index entry is written before its document; readers ignore an entry
// without a document, as a crash leaves it. Listings by time or of all customers
// read the whole bucket.
//
// Conditional writes depend on the revision that was read, so they are safe with
// any number of writers.
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
	"github.com/tidegate-io/tidegate/internal/guard"
	"github.com/tidegate-io/tidegate/internal/store"
)

// The names of the buckets without the namespace.
const (
	bucketUsage         = "store_usage"
	bucketCustomers     = "store_customers"
	bucketSubscriptions = "store_subscriptions"
	bucketNotifications = "store_notifications"
	bucketConversions   = "store_conversions"
)

const (
	idleTimeout = 10 * time.Second // of a listing, between two documents
	workers     = 8                // concurrent requests of one batch
)

// Store implements store.Store in key-value buckets.
type Store struct {
	usage, customers, subscriptions, notifications, conversions *bucket
}

// Open returns the store in the buckets of names. It creates missing buckets with
// the number of replicas (at least 1). The caller must close js's connection after
// the store.
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

// Ping implements store.Store.
func (s *Store) Ping(ctx context.Context) error {
	_, err := s.usage.kv.Status(ctx)
	return s.usage.fail("ping", err)
}

// Close implements store.Store. It does nothing: the caller closes the connection.
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

// fail adds the bucket and the operation to err, and what to do when the server
// does not answer.
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

// parallel calls f with 0 to n-1, in several goroutines. It collects the errors of
// store.Refuse. After any other error it calls f no more, and returns the first one.
func parallel(ctx context.Context, n int, f func(ctx context.Context, i int) error) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	next := make(chan int)
	var (
		wg      sync.WaitGroup
		mu      sync.Mutex
		first   error
		refused store.RefusedError
	)
	for range min(workers, n) {
		wg.Go(func() {
			for i := range next {
				err := guard.Do(func() error { return f(ctx, i) })
				mu.Lock()
				if err = refused.Collect(err); err != nil && first == nil {
					first = err
					cancel()
				}
				mu.Unlock()
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
	if err := ctx.Err(); err != nil {
		return err
	}
	return refused.OrNil()
}
