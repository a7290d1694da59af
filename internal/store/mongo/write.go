package mongo

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"

	"go.mongodb.org/mongo-driver/bson"
	driver "go.mongodb.org/mongo-driver/mongo"
	"go.mongodb.org/mongo-driver/mongo/options"

	"github.com/tidegate-io/tidegate/internal/store"
)

const codeDuplicateKey = 11000

// maxRounds is after how many rounds a batch gives up. One round is enough unless
// another process writes the same documents at the same time.
const maxRounds = 10

// item is a document that is written unless the stored one is newer.
type item struct {
	id  string
	doc any // bson.Raw from writeNewest on
	at  version
}

// version orders the states of a document.
type version struct{ epoch, seq int64 }

func (v version) compare(o version) int {
	return cmp.Or(cmp.Compare(v.epoch, o.epoch), cmp.Compare(v.seq, o.seq))
}

// ordering names the fields that hold a document's version.
type ordering struct{ epoch, seq string } // epoch may be ""

var (
	byEpochAndSeq = ordering{"epoch", "seq"}
	byPosition    = ordering{"", "position"}
)

// notNewer returns the filter of the item's document unless that has a greater version. A
// document without a version, written by hand, is older than all others.
func (o ordering) notNewer(it item) bson.D {
	newer := bson.A{bson.D{{Key: o.seq, Value: bson.D{{Key: "$gt", Value: it.at.seq}}}}}
	if o.epoch != "" {
		newer = bson.A{
			bson.D{{Key: o.epoch, Value: bson.D{{Key: "$gt", Value: it.at.epoch}}}},
			bson.D{{Key: o.epoch, Value: it.at.epoch}, {Key: o.seq, Value: bson.D{{Key: "$gt", Value: it.at.seq}}}},
		}
	}
	return append(byID(it.id), bson.E{Key: "$nor", Value: newer})
}

func (o ordering) of(doc bson.Raw) (v version) {
	v.seq, _ = doc.Lookup(o.seq).AsInt64OK()
	if o.epoch != "" {
		v.epoch, _ = doc.Lookup(o.epoch).AsInt64OK()
	}
	return v
}

// writeNewest writes each item unless the stored one is newer. Of several items
// with one id it writes the newest; of equal ones the last.
func (s *Store) writeNewest(ctx context.Context, c *driver.Collection, o ordering, items []item) error {
	if err := s.Prepare(ctx); err != nil {
		return err
	}
	var refused store.RefusedError
	kept := newest(items)
	good := kept[:0]
	for _, it := range kept {
		raw, err := encode(it.id, it.doc)
		if err := refused.Collect(err); err != nil {
			return err
		}
		if err == nil {
			it.doc = raw
			good = append(good, it)
		}
	}
	for batch := range slices.Chunk(good, s.bulk) {
		if err := refused.Collect(s.writeApart(ctx, c, o, batch)); err != nil {
			return err
		}
	}
	return refused.OrNil()
}

// writeApart is writeBatch for a batch of which the server may refuse some documents: it
// halves the batch until it has found them.
func (s *Store) writeApart(ctx context.Context, c *driver.Collection, o ordering, batch []item) error {
	err := s.writeBatch(ctx, c, o, batch)
	if !isForGood(err) {
		return err
	}
	if len(batch) == 1 {
		return store.Refuse(batch[0].id, err)
	}
	var refused store.RefusedError
	for _, half := range [][]item{batch[:len(batch)/2], batch[len(batch)/2:]} {
		if err := refused.Collect(s.writeApart(ctx, c, o, half)); err != nil {
			return err
		}
	}
	return refused.OrNil()
}

func newest(items []item) []item {
	at := make(map[string]int, len(items))
	kept := make([]item, 0, len(items))
	for _, it := range items {
		i, there := at[it.id]
		switch {
		case !there:
			at[it.id] = len(kept)
			kept = append(kept, it)
		case kept[i].at.compare(it.at) <= 0:
			kept[i] = it
		}
	}
	return kept
}

// writeBatch replaces the stored documents that are not newer with one command;
// mostly these are all. It reads the versions of the rest, inserts the missing
// documents, and repeats this for those that another process inserted meanwhile.
func (s *Store) writeBatch(ctx context.Context, c *driver.Collection, o ordering, rest []item) error {
	for range maxRounds {
		replaced, err := s.replace(ctx, c, o, rest)
		if err != nil || replaced == len(rest) {
			return err
		}
		stored, err := s.versions(ctx, c, o, rest)
		if err != nil {
			return err
		}
		var missing, older []item
		for _, it := range rest {
			v, there := stored[it.id]
			switch {
			case !there:
				missing = append(missing, it)
			case v.compare(it.at) < 0:
				older = append(older, it)
			}
		}
		raced, err := s.insert(ctx, c, missing)
		if err != nil {
			return err
		}
		if rest = append(older, raced...); len(rest) == 0 {
			return nil
		}
	}
	return fmt.Errorf("%s: write to %s: %d documents were changed by another writer %d times: is another Tidegate writing to this database?", s.where(), c.Name(), len(rest), maxRounds)
}

func (s *Store) replace(ctx context.Context, c *driver.Collection, o ordering, items []item) (matched int, err error) {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	models := make([]driver.WriteModel, len(items))
	for i, it := range items {
		models[i] = driver.NewReplaceOneModel().SetFilter(o.notNewer(it)).SetReplacement(it.doc)
	}
	done, err := s.beginUpdate(ctx)
	if err != nil {
		return 0, s.fail("write to "+c.Name(), err)
	}
	defer done()
	result, err := c.BulkWrite(ctx, models, options.BulkWrite().SetOrdered(false))
	if err != nil {
		return 0, s.fail("write to "+c.Name(), err)
	}
	return int(result.MatchedCount), nil
}

func (s *Store) versions(ctx context.Context, c *driver.Collection, o ordering, items []item) (map[string]version, error) {
	ctx, cancel := s.bound(ctx)
	defer cancel()
	ids := make(bson.A, len(items))
	for i, it := range items {
		ids[i] = it.id
	}
	fields := ascending("_id", o.seq)
	if o.epoch != "" {
		fields = ascending("_id", o.epoch, o.seq)
	}
	cursor, err := c.Find(ctx, bson.D{{Key: "_id", Value: bson.D{{Key: "$in", Value: ids}}}}, options.Find().SetProjection(fields))
	if err != nil {
		return nil, s.fail("find in "+c.Name(), err)
	}
	var docs []bson.Raw
	if err := cursor.All(ctx, &docs); err != nil {
		return nil, s.fail("find in "+c.Name(), err)
	}
	stored := make(map[string]version, len(docs))
	for _, d := range docs {
		stored[d.Lookup("_id").StringValue()] = o.of(d)
	}
	return stored, nil
}

// insert inserts the items. It returns those whose ids exist by now.
func (s *Store) insert(ctx context.Context, c *driver.Collection, items []item) (raced []item, err error) {
	if len(items) == 0 {
		return nil, nil
	}
	ctx, cancel := s.bound(ctx)
	defer cancel()
	docs := make([]any, len(items))
	for i, it := range items {
		docs[i] = it.doc
	}
	_, err = c.InsertMany(ctx, docs, options.InsertMany().SetOrdered(false))
	var bulk driver.BulkWriteException
	if !errors.As(err, &bulk) || bulk.WriteConcernError != nil {
		return nil, s.fail("write to "+c.Name(), err)
	}
	for _, e := range bulk.WriteErrors {
		if !e.HasErrorCode(codeDuplicateKey) || breaksUniqueIndex(e) {
			return nil, s.fail("write to "+c.Name(), err)
		}
		raced = append(raced, items[e.Index])
	}
	return raced, nil
}
