package audit

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidegate-io/tidegate/internal/guard"
)

// ErrNotRead is returned when NATS does not deliver the entries now.
var ErrNotRead = errors.New("the audit log cannot be read now")

// Query selects entries.
type Query struct {
	Customer string    // "": of all
	Actor    string    // the whole actor, or the name before the brackets; "": of all
	From, To time.Time // From is inclusive, To is not; zero: no bound
	Limit    int       // at most so many
	Before   uint64    // the position that Page.Next named; 0: from the newest
}

// Page is an answer to a Query. It may be short while there is a next one: one query
// looks at a bounded number of entries.
type Page struct {
	Entries []Entry // newest first
	Next    uint64  // position of the next page; 0: there is none
}

const (
	scanMost      = 20_000 // entries that one query looks at
	smallestBlock = 256    // sequences that are read at a time
	detailReaders = 16     // details that are asked for at a time
	// resultDelay is how long after its entry a result may be stored.
	resultDelay = time.Minute
)

// Read returns the entries of a query, newest first.
func (l *Log) Read(ctx context.Context, q Query) (Page, error) {
	s, err := l.js.Stream(ctx, l.stream())
	if err != nil {
		return Page{}, fmt.Errorf("%w: stream %s: %w", ErrNotRead, l.stream(), err)
	}
	state := s.CachedInfo().State
	r := reading{l: l, q: q, stream: s, token: "*", first: max(state.FirstSeq, 1), end: state.LastSeq + 1}
	if q.Customer != "" {
		r.token = (&Entry{Customer: q.Customer}).token()
	}
	if q.Before > 0 {
		r.end = min(r.end, q.Before)
	}
	if err := r.bound(ctx); err != nil {
		return Page{}, err
	}
	if err := r.backwards(ctx); err != nil {
		return Page{}, err
	}
	if err := r.results(ctx); err != nil {
		return Page{}, err
	}
	return r.page(ctx)
}

// reading is the state of one query.
type reading struct {
	l      *Log
	q      Query
	stream jetstream.Stream
	token  string
	first  uint64 // sequence of the stream
	end    uint64 // entries from here on have been read, or are not asked for
	found  []found
	next   uint64
}

// found is an entry with its position.
type found struct {
	record
	seq uint64
}

// bound moves the end before q.To.
func (r *reading) bound(ctx context.Context) error {
	if r.q.To.IsZero() {
		return nil
	}
	return r.l.scan(ctx, r.l.names.Audit(kindEntry, r.token), jetstream.ConsumerConfig{DeliverPolicy: jetstream.DeliverByStartTimePolicy, OptStartTime: &r.q.To}, func(m message) bool {
		r.end = min(r.end, m.seq)
		return false
	})
}

// backwards reads blocks of the stream from the end, each forwards. Entries of one
// customer may be rare, so blocks with few entries grow.
func (r *reading) backwards(ctx context.Context) error {
	width, budget := uint64(max(smallestBlock, 2*r.q.Limit)), scanMost
	for r.end > r.first {
		from := r.first
		if r.end-r.first > width {
			from = r.end - width
		}
		list, err := r.block(ctx, from)
		if err != nil {
			return err
		}
		for i := len(list) - 1; i >= 0; i-- {
			m := list[i]
			if budget--; budget < 0 {
				r.next = m.seq + 1
				return nil
			}
			if m.at.Before(r.q.From) {
				return nil
			}
			if err := r.consider(m); err != nil {
				return err
			}
			if len(r.found) > r.q.Limit {
				r.found = r.found[:r.q.Limit]
				r.next = r.found[r.q.Limit-1].seq
				return nil
			}
		}
		r.end = from
		if len(list) == scanMost { // there may be older ones in the block
			r.end = list[0].seq
		}
		if len(list) < smallestBlock/4 {
			width *= 2
		}
	}
	return nil
}

// block returns the entries from a sequence up to the end: the last of them, if there
// are very many.
func (r *reading) block(ctx context.Context, from uint64) (list []message, err error) {
	err = r.l.scan(ctx, r.l.names.Audit(kindEntry, r.token), jetstream.ConsumerConfig{DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: from}, func(m message) bool {
		if m.seq >= r.end {
			return false
		}
		if list = append(list, m); len(list) >= 2*scanMost {
			list = append(list[:0], list[scanMost:]...)
		}
		return true
	})
	if len(list) > scanMost {
		list = list[len(list)-scanMost:]
	}
	return list, err
}

// consider takes a message if the query asks for it.
func (r *reading) consider(m message) error {
	f := found{seq: m.seq}
	if err := decode(m.data, &f.record, &f.Format); err != nil {
		return err
	}
	f.At = m.at
	if f.Action != "" && by(f.Actor, r.q.Actor) { // without an action: the first configuration
		r.found = append(r.found, f)
	}
	return nil
}

func decode(data []byte, into any, was *int) error {
	if err := json.Unmarshal(data, into); err != nil {
		return fmt.Errorf("a record of the audit log cannot be read: %w", err)
	}
	if *was > format {
		return fmt.Errorf("a record of the audit log has format %d, this version reads up to %d: use a newer tidegate", *was, format)
	}
	return nil
}

// results joins the results of the changes, which were stored soon after them.
func (r *reading) results(ctx context.Context) error {
	if len(r.found) == 0 {
		return nil
	}
	byID := map[string]Result{}
	newest, oldest := r.found[0].At, r.found[len(r.found)-1].seq
	var wrong error
	err := r.l.scan(ctx, r.l.names.Audit(kindResult, r.token), jetstream.ConsumerConfig{DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: oldest}, func(m message) bool {
		var res result
		wrong = decode(m.data, &res, &res.Format)
		byID[res.ID] = res.Result
		return wrong == nil && m.at.Before(newest.Add(resultDelay))
	})
	for i := range r.found {
		r.found[i].Result = byID[r.found[i].ID]
	}
	return errors.Join(err, wrong)
}

// page reads the details and returns the entries.
func (r *reading) page(ctx context.Context) (Page, error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	var wg sync.WaitGroup
	slots := make(chan struct{}, detailReaders)
	for i := range r.found {
		if r.found[i].Detail == 0 || ctx.Err() != nil {
			continue
		}
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			if err := guard.Do(func() error { return r.detail(ctx, &r.found[i]) }); err != nil {
				cancel(err)
			}
		})
	}
	wg.Wait()
	p := Page{Entries: make([]Entry, 0, len(r.found)), Next: r.next}
	for i := range r.found {
		p.Entries = append(p.Entries, r.found[i].Entry)
	}
	return p, context.Cause(ctx)
}

func (r *reading) detail(ctx context.Context, f *found) error {
	m, err := r.stream.GetMsg(ctx, f.Detail)
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		f.Erased = true
		return nil
	}
	if err != nil {
		return fmt.Errorf("%w: %w", ErrNotRead, err)
	}
	var d detail
	if err := decode(m.Data, &d, &d.Format); err != nil {
		return err
	}
	if d.ID == f.ID {
		f.Before, f.After, f.Reason = d.Before, d.After, d.Reason
	}
	return nil
}
