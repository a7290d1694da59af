package kv

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidegate-io/tidegate/internal/guard"
	"github.com/tidegate-io/tidegate/internal/store"
)

// bucket is a key-value bucket of JSON documents.
type bucket struct {
	name   string
	kv     jetstream.KeyValue
	stream jetstream.Stream // of the bucket, to remove entries without a delete marker
}

// answerTimeout is the time-out for one document. An answer can be lost when the
// stream's leader changes; without the time-out, a call would wait for it as long as
// its context allows.
const answerTimeout = 5 * time.Second

// maxKey bounds a key. A server closes the connection of a client whose subject is
// longer than a line of the protocol, 4 KiB.
const maxKey = 3 << 10

// check returns nil for a key that a document can have.
func check(key string) error {
	switch {
	case key == "", strings.HasPrefix(key, "."), strings.HasSuffix(key, "."), strings.Contains(key, ".."):
		return errors.New("its id is empty")
	case len(key) > maxKey:
		return fmt.Errorf("its id is too long: %d bytes as a key, at most %d", len(key), maxKey)
	}
	return nil
}

// encode returns the document. The error is of store.Refuse.
func encode(key, id string, v any) ([]byte, error) {
	if err := check(key); err != nil {
		return nil, store.Refuse(id, err)
	}
	var data []byte
	err := guard.Do(func() (err error) { data, err = json.Marshal(v); return err })
	if err != nil {
		return nil, store.Refuse(id, err)
	}
	return data, nil
}

// codeMessageTooLarge is what a server answers about a value that is larger than the
// bucket's limit.
const codeMessageTooLarge = 10054

// refused returns the error of store.Refuse if another attempt to write the document
// would end in the same way, else err.
func (b *bucket) refused(id string, err error) error {
	var api *jetstream.APIError
	if errors.Is(err, nats.ErrMaxPayload) || errors.Is(err, jetstream.ErrInvalidKey) || errors.As(err, &api) && api.ErrorCode == codeMessageTooLarge {
		return store.Refuse(id, err)
	}
	return b.fail("write", err)
}

// get reads the document of key into v. ok reports whether there is one.
func (b *bucket) get(ctx context.Context, key string, v any) (ok bool, err error) {
	if check(key) != nil {
		return false, nil
	}
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	e, err := b.kv.Get(ctx, key)
	if errors.Is(err, jetstream.ErrKeyNotFound) {
		return false, nil
	}
	if err != nil {
		return false, b.fail("read", err)
	}
	return true, b.decode(key, e.Value(), v)
}

func (b *bucket) decode(key string, value []byte, v any) error {
	if err := checkFormat(value); err != nil {
		return fmt.Errorf("embedded store, bucket %s: key %s: %w", b.name, key, err)
	}
	if err := json.Unmarshal(value, v); err != nil {
		return fmt.Errorf("embedded store, bucket %s: key %s does not hold a document: %w", b.name, key, err)
	}
	return nil
}

// put stores v, the document id, under key and replaces an existing one.
func (b *bucket) put(ctx context.Context, key, id string, v any) error {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	data, err := encode(key, id, v)
	if err != nil {
		return err
	}
	_, err = b.kv.Put(ctx, key, data)
	return b.refused(id, err)
}

// create stores v, the document id, under key unless there is a document. created
// reports whether it did.
func (b *bucket) create(ctx context.Context, key, id string, v any) (created bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	data, err := encode(key, id, v)
	if err != nil {
		return false, err
	}
	_, err = b.kv.Create(ctx, key, data)
	if conflict(err) {
		return false, nil
	}
	return err == nil, b.refused(id, err)
}

// write stores v, the document id, under key if there is no document or replaces
// returns true for the old one. A document that cannot be read is older than every
// other. It repeats this when another writer wrote meanwhile.
func (b *bucket) write(ctx context.Context, key, id string, v any, replaces func(old []byte) (bool, error)) error {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	data, err := encode(key, id, v)
	if err != nil {
		return err
	}
	for round := 0; ; round++ {
		e, err := b.kv.Get(ctx, key)
		switch {
		case errors.Is(err, jetstream.ErrKeyNotFound):
			_, err = b.kv.Create(ctx, key, data)
		case err == nil:
			if yes, bad := replaces(e.Value()); bad == nil && !yes {
				return nil
			}
			_, err = b.kv.Update(ctx, key, data, e.Revision())
		}
		if !conflict(err) {
			return b.refused(id, err)
		}
		if err := pause(ctx, round); err != nil {
			return b.fail("write", err)
		}
	}
}

// conflict reports whether a write failed because the document exists or has
// changed.
func conflict(err error) bool {
	return errors.Is(err, jetstream.ErrKeyExists) || errors.Is(err, jetstream.ErrKeyRevisionMismatch)
}

// pause waits for another writer, or for a replica that lags behind: not at all
// before the first repetition, then longer each time, up to 100 ms.
func pause(ctx context.Context, round int) error {
	if round == 0 {
		return ctx.Err()
	}
	t := time.NewTimer(min(time.Duration(round)*5*time.Millisecond, 100*time.Millisecond))
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// remove removes key without a delete marker.
func (b *bucket) remove(ctx context.Context, key string) error {
	if check(key) != nil {
		return nil
	}
	return b.fail("remove", b.stream.Purge(ctx, jetstream.WithPurgeSubject("$KV."+b.name+"."+key)))
}

// each calls f with all entries whose keys match filter, in any order, until f
// returns an error. With keysOnly the values are empty.
func (b *bucket) each(ctx context.Context, filter string, keysOnly bool, f func(key string, value []byte) error) error {
	if check(filter) != nil {
		return nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	opts := []jetstream.WatchOpt{jetstream.IgnoreDeletes()}
	if keysOnly {
		opts = append(opts, jetstream.MetaOnly())
	}
	w, err := b.kv.Watch(ctx, filter, opts...)
	if err != nil {
		return b.fail("list", err)
	}
	defer stop(w)
	idle := time.NewTimer(idleTimeout)
	defer idle.Stop()
	for {
		select {
		case e, open := <-w.Updates():
			if !open {
				return b.fail("list", errors.Join(jetstream.ErrConnectionClosed, ctx.Err()))
			}
			if e == nil { // all entries were delivered
				return nil
			}
			if err := f(e.Key(), e.Value()); err != nil {
				return err
			}
			idle.Reset(idleTimeout)
		case <-ctx.Done():
			return b.fail("list", ctx.Err())
		case <-idle.C:
			return b.fail("list", context.DeadlineExceeded)
		}
	}
}

// stop ends a watch. The watch's callback may be blocked on sending an entry, so
// stop receives entries until the channel is closed.
func stop(w jetstream.KeyWatcher) {
	_ = w.Stop()
	late := time.NewTimer(time.Second) // a closed connection does not close the channel
	defer late.Stop()
	for {
		select {
		case _, open := <-w.Updates():
			if !open {
				return
			}
		case <-late.C:
			return
		}
	}
}

// documents returns all documents whose keys match filter.
func documents[T any](ctx context.Context, b *bucket, filter string) ([]T, error) {
	var all []T
	err := b.each(ctx, filter, false, func(key string, value []byte) error {
		var v T
		if err := b.decode(key, value, &v); err != nil {
			return err
		}
		all = append(all, v)
		return nil
	})
	return all, err
}

// keys returns all keys that match filter.
func (b *bucket) keys(ctx context.Context, filter string) ([]string, error) {
	var all []string
	err := b.each(ctx, filter, true, func(key string, _ []byte) error {
		all = append(all, key)
		return nil
	})
	return all, err
}
