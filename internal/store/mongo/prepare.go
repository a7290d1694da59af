package mongo

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"go.mongodb.org/mongo-driver/bson"
	driver "go.mongodb.org/mongo-driver/mongo"
	"go.mongodb.org/mongo-driver/mongo/options"
)

// The mark of Tidegate's database: its id in tidegate_meta, and the version of the
// documents' form.
const (
	markID = "tidegate"
	schema = 1
)

type mark struct {
	ID     string `bson:"_id"`
	Schema int64  `bson:"schema"`
}

// adapt sets the bulk size for the server. On FerretDB 1, each update of a command
// keeps a connection to SQLite until all updates have one. With about 100 updates,
// of one or of several commands, all of them wait forever.
func (s *Store) adapt(ctx context.Context) error {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	info, err := s.meta.Database().RunCommand(ctx, bson.D{{Key: "buildInfo", Value: 1}}).Raw()
	if err != nil {
		return s.fail("ask for the server's version", err)
	}
	bulk := 1000
	if _, err := info.LookupErr("ferretdbVersion"); err == nil {
		bulk = 20
		s.updates = make(chan struct{}, 1)
	}
	s.bulk = cmp.Or(s.bulk, bulk)
	return nil
}

// beginUpdate waits until an update command may be sent. The caller must call done
// after the command.
func (s *Store) beginUpdate(ctx context.Context) (done func(), err error) {
	if s.updates == nil {
		return func() {}, ctx.Err()
	}
	select {
	case s.updates <- struct{}{}:
		return func() { <-s.updates }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// markDatabase returns nil when the database has the mark. It adds the mark when no
// collection with one of our names has documents, and else returns ErrForeign.
func (s *Store) markDatabase(ctx context.Context) error {
	marked, err := s.marked(ctx)
	if err != nil || marked {
		return err
	}
	foreign, err := s.occupied(ctx)
	if err != nil {
		return err
	}
	if foreign != "" {
		// Another process of ours may have marked and filled it meanwhile.
		if marked, err := s.marked(ctx); err != nil || marked {
			return err
		}
		return fmt.Errorf("%s: %w: database %q has a collection %q without Tidegate's mark in %s, choose another one with MONGODB_DATABASE",
			s.where(), ErrForeign, s.meta.Database().Name(), foreign, collMeta)
	}
	ctx, cancel := s.bound(ctx)
	defer cancel()
	_, err = s.meta.InsertOne(ctx, mark{ID: markID, Schema: schema})
	if driver.IsDuplicateKeyError(err) { // marked by another process
		return nil
	}
	return s.fail("mark the database", err)
}

func (s *Store) marked(ctx context.Context) (bool, error) {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	var m mark
	err := s.meta.FindOne(ctx, byID(markID)).Decode(&m)
	switch {
	case errors.Is(err, driver.ErrNoDocuments):
		return false, nil
	case err != nil:
		return false, s.fail("read the mark of the database", err)
	case m.Schema > schema:
		return false, fmt.Errorf("%s: database %q has documents of form %d, this Tidegate knows %d: use the newer version that wrote them",
			s.where(), s.meta.Database().Name(), m.Schema, schema)
	}
	return true, nil
}

// occupied returns the name of one of our collections that has documents, or "".
func (s *Store) occupied(ctx context.Context) (string, error) {
	for _, c := range []*driver.Collection{s.usage, s.subscriptions, s.customers, s.notifications, s.conversions} {
		err := s.anyDocument(ctx, c)
		if errors.Is(err, driver.ErrNoDocuments) {
			continue
		}
		return c.Name(), s.fail("look into "+c.Name(), err)
	}
	return "", nil
}

func (s *Store) anyDocument(ctx context.Context, c *driver.Collection) error {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	return c.FindOne(ctx, bson.D{}, options.FindOne().SetProjection(bson.D{{Key: "_id", Value: 1}})).Err()
}

// index creates the indexes for the store's finds. Ids need none.
func (s *Store) index(ctx context.Context) error {
	for _, want := range []struct {
		in   *driver.Collection
		keys []bson.D
	}{
		{s.usage, []bson.D{ascending("customer", "feature", "window_start"), ascending("current", "_id")}},
		{s.subscriptions, []bson.D{ascending("stripe_customer")}},
		{s.customers, []bson.D{ascending("stripe_customer")}},
		{s.notifications, []bson.D{ascending("customer", "reached_at"), ascending("state", "next_at"), ascending("reached_at")}},
		{s.conversions, []bson.D{ascending("customer", "converted_at"), ascending("converted_at")}},
	} {
		for _, keys := range want.keys {
			_, err := want.in.Indexes().CreateOne(ctx, driver.IndexModel{Keys: keys})
			if err != nil && !hasCode(err, codeIndexOptionsConflict) {
				return s.fail("make an index of "+want.in.Name(), err)
			}
		}
	}
	return nil
}

// ascending returns a sort order or the keys of an index.
func ascending(fields ...string) bson.D {
	d := make(bson.D, 0, len(fields))
	for _, f := range fields {
		d = append(d, bson.E{Key: f, Value: 1})
	}
	return d
}

func byID(id string) bson.D { return bson.D{{Key: "_id", Value: id}} }
