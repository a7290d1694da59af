// Package mongo is the store of production: the documents that people and
// programs query, in MongoDB. It is the only package that imports MongoDB's
// driver.
//
// Field names are those of the documentation; ids are readable; dates are
// BSON dates; amounts are int64, or decimal strings when they have a
// fraction, since no reader may round them.
//
// The package uses what every server of the protocol has: the insert of a
// unique _id, the filtered replace of one document, find. It never opens a
// transaction and never upserts by filter: the racing upserts of some servers
// lose one.
//
// An absent server costs a caller no more than its context or Options.Timeout,
// and the store works again by itself when the server is back.
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

// DefaultDatabase is the database when none is named.
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

// Options are what Open can be told; the zero value is right for production.
type Options struct {
	// BulkSize is how many documents one command writes at most. Below 1 it is
	// 1000, or 20 on FerretDB 1, which hangs for good on about 100 updates.
	BulkSize int
	// Timeout is how long one command may take, and so how long a call waits
	// for an absent server whose context would allow more; 10 s when zero.
	Timeout time.Duration
}

// Store is the store in a MongoDB database. store.Store is its contract.
type Store struct {
	client  *driver.Client
	hosts   []string
	setting string // what holds the URI, for errors
	role    string // that the user needs, for errors
	bulk    int
	page    int // documents that AllUsage reads with one command
	timeout time.Duration
	turns   chan struct{} // lets one update command at a time; nil for any number

	prepared  atomic.Bool
	preparing chan struct{} // has an element while somebody prepares

	usage, customers, subscriptions, notifications, conversions, meta *driver.Collection
}

// New returns the store in a database (DefaultDatabase when empty; one in the
// URI is for authentication only) of the server of uri, which need not be there
// yet. No error of this package shows the password of uri.
func New(uri, database string, o Options) (*Store, error) { return create(uri, database, o, nil) }

// Open is New and Prepare.
func Open(ctx context.Context, uri, database string, o Options) (*Store, error) {
	return open(ctx, uri, database, o, nil)
}

// open is Open with a witness of all commands.
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
	// What the URI says comes after, and wins.
	opts := options.Client().SetAppName("tidegate").
		SetConnectTimeout(s.timeout).SetServerSelectionTimeout(s.timeout).
		SetWriteConcern(writeconcern.Majority()).SetMonitor(monitor).
		ApplyURI(uri)
	if err := opts.Validate(); err != nil {
		return nil, uriError(s.setting, uri, err)
	}
	s.hosts = opts.Hosts
	client, err := driver.Connect(context.Background(), opts) // waits for nobody
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

// Prepare is what every method does first until it has worked once: it marks
// the database as Tidegate's, and makes the indexes that are missing, which
// takes as long as ctx allows. It returns ErrForeign when a collection of one
// of our names is there already without the mark.
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
	if err := s.claim(ctx); err != nil {
		return err
	}
	return s.index(ctx)
}

// Ping asks the server whether it is there, and the database ours.
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

// Close ends all connections. It waits for commands under way until ctx ends.
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

// begin bounds a command, and prepares the store for it.
func (s *Store) begin(ctx context.Context) (context.Context, context.CancelFunc, error) {
	ctx, cancel := s.bound(ctx)
	return ctx, cancel, s.Prepare(ctx)
}

// find reads the documents that filter matches, as T's.
func find[D interface{ event() T }, T any](ctx context.Context, s *Store, c *driver.Collection, filter any, opts *options.FindOptions) ([]T, error) {
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
		found = append(found, d.event())
	}
	return found, nil
}

// get reads the document of an id.
func get[D interface{ event() T }, T any](ctx context.Context, s *Store, c *driver.Collection, id string) (found T, ok bool, err error) {
	all, err := find[D, T](ctx, s, c, byID(id), options.Find().SetLimit(1))
	if err != nil || len(all) == 0 {
		return found, false, err
	}
	return all[0], true, nil
}

// limited is a sorted find; a limit below 1 is none, as for the server.
func limited(limit int, sort any) *options.FindOptions {
	return options.Find().SetSort(sort).SetLimit(int64(max(limit, 0)))
}

// where names the server in errors, without the rest of the URI.
func (s *Store) where() string { return "mongodb at " + strings.Join(s.hosts, ",") }
