// Package mongo implements store.Store in MongoDB, for production. People and
// programs may query its documents. It also reads the app's own collections (see
// Reader). It is the only package that imports MongoDB's driver. Store and Reader
// are safe for concurrent use.
//
// Field names are documented; ids are readable; dates are BSON dates; amounts are
// int64 or, with a fraction, decimal strings, so that no reader rounds them.
//
// The package needs only operations that every server of the protocol has: insert
// with a unique _id, filtered replace of one document, find. It uses no
// transactions and no upserts by filter, because some servers lose one of two
// concurrent upserts.
//
// When the server is absent, a call returns after its context or Options.Timeout
// at the latest. The store works again by itself when the server is back.
package mongo

import (
	"cmp"
	"context"
	"errors"
	"strings"
	"sync/atomic"
	"time"

	"go.mongodb.org/mongo-driver/event"
	driver "go.mongodb.org/mongo-driver/mongo"
	"go.mongodb.org/mongo-driver/mongo/options"
	"go.mongodb.org/mongo-driver/mongo/readpref"
	"go.mongodb.org/mongo-driver/mongo/writeconcern"
)

// DefaultDatabase is the name of the database when none is given.
const DefaultDatabase = "tidegate"

// The collections.
const (
	collUsage         = "usage"
	collCustomers     = "customers"
	collSubscriptions = "subscriptions"
	collNotifications = "notifications"
	collConversions   = "conversions"
	collMeta          = "tidegate_meta"
)

// Options configures a Store. The zero value is right for production.
type Options struct {
	// BulkSize is how many documents one command writes at most. Below 1 means
	// 1000, or 20 on FerretDB 1, which hangs forever on about 100 updates.
	BulkSize int
	// Timeout is the time-out of one command, and so how long a call waits for an
	// absent server at most. 0 means 10 s.
	Timeout time.Duration
}

// Store implements store.Store in a MongoDB database.
type Store struct {
	client  *driver.Client
	hosts   []string
	setting string // name of the setting with the URI, for errors
	role    string // that the user needs, for errors
	bulk    int
	page    int // documents that AllUsage reads with one command
	timeout time.Duration
	updates chan struct{} // limits update commands to one at a time; nil: no limit

	prepared  atomic.Bool
	preparing chan struct{} // has an element while a call prepares

	usage, customers, subscriptions, notifications, conversions, meta *driver.Collection
}

// New returns the store in a database of the server of uri. An empty name means
// DefaultDatabase; a database in the URI is for authentication only. The server
// may be absent. Errors of this package never contain the password of uri.
func New(uri, database string, o Options) (*Store, error) { return create(uri, database, o, nil) }

// Open calls New and Prepare.
func Open(ctx context.Context, uri, database string, o Options) (*Store, error) {
	return open(ctx, uri, database, o, nil)
}

// open is Open with a monitor of all commands.
func open(ctx context.Context, uri, database string, o Options, monitor *event.CommandMonitor) (*Store, error) {
	s, err := create(uri, database, o, monitor)
	if err != nil {
		return nil, err
	}
	if err := s.Prepare(ctx); err != nil {
		return nil, errors.Join(err, s.Close(context.WithoutCancel(ctx)))
	}
	return s, nil
}

func create(uri, database string, o Options, monitor *event.CommandMonitor) (*Store, error) {
	s := &Store{setting: "MONGODB_URI", role: "readWrite", bulk: max(o.BulkSize, 0), page: 1000, timeout: cmp.Or(o.Timeout, 10*time.Second), preparing: make(chan struct{}, 1)}
	// ApplyURI comes last, so that options of the URI win.
	opts := options.Client().SetAppName("tidegate").
		SetConnectTimeout(s.timeout).SetServerSelectionTimeout(s.timeout).
		SetWriteConcern(writeconcern.Majority()).SetMonitor(monitor).
		ApplyURI(uri)
	if err := opts.Validate(); err != nil {
		return nil, uriError(s.setting, uri, err)
	}
	s.hosts = opts.Hosts
	client, err := driver.Connect(context.Background(), opts) // does not wait for the server
	if err != nil {
		return nil, uriError(s.setting, uri, err)
	}
	s.client = client
	db := client.Database(cmp.Or(database, DefaultDatabase))
	for name, c := range map[string]**driver.Collection{
		collUsage: &s.usage, collCustomers: &s.customers, collSubscriptions: &s.subscriptions,
		collNotifications: &s.notifications, collConversions: &s.conversions, collMeta: &s.meta,
	} {
		*c = db.Collection(name)
	}
	return s, nil
}

// Prepare marks the database as Tidegate's and creates missing indexes, for which
// it takes as long as ctx allows. Every method calls it first until it has
// succeeded once. It returns ErrForeign when the database has a collection with
// one of our names but not the mark.
func (s *Store) Prepare(ctx context.Context) error {
	if s.prepared.Load() {
		return nil
	}
	select {
	case s.preparing <- struct{}{}:
		defer func() { <-s.preparing }()
	case <-ctx.Done():
		return s.fail("prepare", ctx.Err())
	}
	if s.prepared.Load() {
		return nil
	}
	err := s.prepare(ctx)
	s.prepared.Store(err == nil)
	return err
}

func (s *Store) prepare(ctx context.Context) error {
	if err := s.ping(ctx); err != nil {
		return err
	}
	if err := s.adapt(ctx); err != nil {
		return err
	}
	if err := s.markDatabase(ctx); err != nil {
		return err
	}
	return s.index(ctx)
}

// Ping returns nil when the server answers and the database is Tidegate's.
func (s *Store) Ping(ctx context.Context) error {
	if err := s.Prepare(ctx); err != nil {
		return err
	}
	return s.ping(ctx)
}

func (s *Store) ping(ctx context.Context) error {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	return s.fail("ping", s.client.Ping(ctx, readpref.Primary()))
}

// Close closes all connections. It waits for running commands until ctx ends.
func (s *Store) Close(ctx context.Context) error {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	err := s.client.Disconnect(ctx)
	if errors.Is(err, driver.ErrClientDisconnected) {
		return nil
	}
	return s.fail("close", err)
}

// bound limits a command to the store's time-out.
func (s *Store) bound(ctx context.Context) (context.Context, context.CancelFunc) {
	return context.WithTimeout(ctx, s.timeout)
}

// begin limits a command to the store's time-out, and prepares the store.
func (s *Store) begin(ctx context.Context) (context.Context, context.CancelFunc, error) {
	ctx, cancel := s.bound(ctx)
	return ctx, cancel, s.Prepare(ctx)
}

// find returns the documents that match filter as records.
func find[D interface{ record() T }, T any](ctx context.Context, s *Store, c *driver.Collection, filter any, opts *options.FindOptions) ([]T, error) {
	ctx, cancel, err := s.begin(ctx)
	defer cancel()
	if err != nil {
		return nil, err
	}
	doing := "find in " + c.Name()
	cursor, err := c.Find(ctx, filter, opts)
	if err != nil {
		return nil, s.fail(doing, err)
	}
	var docs []D
	if err := cursor.All(ctx, &docs); err != nil {
		return nil, s.fail(doing, err)
	}
	found := make([]T, 0, len(docs))
	for _, d := range docs {
		found = append(found, d.record())
	}
	return found, nil
}

// get returns the document with an id. ok reports whether there is one.
func get[D interface{ record() T }, T any](ctx context.Context, s *Store, c *driver.Collection, id string) (found T, ok bool, err error) {
	all, err := find[D, T](ctx, s, c, byID(id), options.Find().SetLimit(1))
	if err != nil || len(all) == 0 {
		return found, false, err
	}
	return all[0], true, nil
}

// limited returns the options of a sorted find. A limit below 1 means no limit.
func limited(limit int, sort any) *options.FindOptions {
	return options.Find().SetSort(sort).SetLimit(int64(max(limit, 0)))
}

// where returns the server's name for errors, without the rest of the URI.
func (s *Store) where() string { return "mongodb at " + strings.Join(s.hosts, ",") }
