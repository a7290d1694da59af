package aggregator

import (
	"errors"
	"fmt"
	"strconv"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/fingerprint"
	"github.com/tidegate-io/tidegate/internal/stream"
)

// This file reads messages and loads what their events need from memory.
//
// An event needs its customer, the customer's first window, and the place of its
// fingerprint. With many customers none of them is in the processor's cache, and
// waiting for memory takes more than half of the time of an event. So loadPlaces
// loads them in loops of their own, for up to stream.PrefetchMax events at a time, and
// the waits overlap. The fold then handles one event after another. The loads
// give it addresses only, so they cannot change its result.

// pendingEvent is an event that was read and is not folded yet.
type pendingEvent struct {
	event    events.Event
	raw      []byte // in a batch
	err      error  // why it cannot be read
	fp       uint64
	hash     uint32    // of the customer's id
	customer *customer // nil: there was none when loadPlaces ran
	seq      uint64    // of the message, if it is not in a batch
}

var errNoID = fmt.Errorf("%w: `id` is missing, an event in a batch needs one", events.ErrInvalid)

// foldBatch folds the events of a batch, one after another. The error says where
// the batch is broken.
func (f *folder) foldBatch(m *stream.Message) error {
	f.cursor, f.end = 0, 0
	defer func() { clear(f.prefetched[:]) }() // they would keep the message in memory
	if err := events.CheckBatch(m.Data); err != nil {
		return err
	}
	b := events.NewBatch(m.Data)
	rest := restOfBad{}
	for index := 0; ; {
		n := f.readBatch(&b)
		f.loadPlaces(f.prefetched[:n])
		for i := range f.prefetched[:n] {
			p := &f.prefetched[i]
			if m.Dead != nil {
				if why, dead := m.Dead[index]; dead {
					p.err = errors.New(why)
				}
			}
			if p.err == nil {
				f.part = index
				p.err = f.countEvent(p)
			}
			if p.err != nil && rest.letter(p.err) {
				f.rejectOnError(m, index, p.raw, p.err)
			}
			index++
		}
		f.part = -1
		if n < len(f.prefetched) {
			return rest.err(b.Err())
		}
	}
}

// maxLetters is how many events of one message have a dead letter of their own. The
// others have one together, which holds the message: a small message must not make many
// large ones.
const maxLetters = 100

// restOfBad counts the events of a message that cannot be counted.
type restOfBad struct {
	bad   int
	first error // of those without a letter of their own
}

// letter reports whether an event that cannot be counted for that reason gets a letter.
func (r *restOfBad) letter(why error) bool {
	if errors.Is(why, errDuplicate) {
		return false
	}
	if r.bad++; r.bad == maxLetters+1 {
		r.first = why
	}
	return r.bad <= maxLetters
}

// err returns why the message needs a letter of its own, or nil. broken is why it cannot
// be read to its end.
func (r *restOfBad) err(broken error) error {
	if r.first == nil {
		return broken
	}
	why := fmt.Errorf("%w: %d more events of this message cannot be counted, the first because of: %w", events.ErrInvalid, r.bad-maxLetters, r.first)
	if broken != nil {
		why = fmt.Errorf("%w; %w", why, broken)
	}
	return why
}

// readBatch reads the next events of a batch into prefetched, and returns how many.
func (f *folder) readBatch(b *events.Batch) (n int) {
	for ; n < len(f.prefetched); n++ {
		p := &f.prefetched[n]
		e := &p.event
		var more bool
		if p.raw, more, p.err = b.Next(e); !more {
			break
		}
		if p.err == nil && e.ID == "" {
			p.err = errNoID
		}
		p.fp = fingerprint.Of(e.Subject, e.Source, e.ID)
	}
	return n
}

// prefetch reads those of the next messages that contain a single event.
func (f *folder) prefetch(ms []stream.Message) {
	f.cursor, f.end = 0, 0 // nothing is, if this panics
	n := 0
	for i := range ms {
		if kind, token := kindOf(ms[i].Subject); kind == "" {
			f.prefetched[n].decode(&ms[i], token)
			n++
		}
	}
	f.loadPlaces(f.prefetched[:n])
	f.end = n
}

// foldSingle folds a message that an app published to usage.in.<token>.
func (f *folder) foldSingle(m *stream.Message, token string) error {
	for f.cursor < f.end && f.prefetched[f.cursor].seq < m.Seq {
		f.cursor++
	}
	if f.cursor == f.end || f.prefetched[f.cursor].seq != m.Seq { // it was not prefetched, or a batch has overwritten it
		f.cursor, f.end = 0, 1
		f.prefetched[0].decode(m, token)
	}
	p := &f.prefetched[f.cursor]
	if p.err != nil {
		return p.err
	}
	return f.countEvent(p)
}

// decode reads the event of a message that an app published to usage.in.<token>.
func (p *pendingEvent) decode(m *stream.Message, token string) {
	*p = pendingEvent{seq: m.Seq}
	if p.event, p.err = events.Decode(m.Data); p.err != nil {
		return
	}
	e := &p.event
	if e.Subject == "" {
		var err error
		if e.Subject, err = events.ParseToken(token); err != nil {
			p.err = fmt.Errorf("%w: published under %.80q, which is not a customer's token: %w", events.ErrInvalid, token, err)
			return
		}
	}
	if events.Token(e.Subject) != token {
		p.err = fmt.Errorf("%w: published under %q, but its subject is the customer %q", events.ErrInvalid, token, e.Subject)
		return
	}
	if e.ID == "" { // a retry of it counts as a new event
		e.ID = "~" + strconv.FormatUint(m.Seq, 10)
	}
	p.fp = fingerprint.Of(e.Subject, e.Source, e.ID)
}

// loadPlaces loads what the events need into the processor's cache. It does not
// change the state.
func (f *folder) loadPlaces(ps []pendingEvent) {
	for i := range ps {
		ps[i].hash = f.customers.hash(ps[i].event.Subject)
		f.sink += int64(f.customers.firstSlot(ps[i].hash))
	}
	for i := range ps {
		ps[i].customer = f.customers.findHashed(ps[i].hash, ps[i].event.Subject)
	}
	for i := range ps {
		if c := ps[i].customer; c != nil {
			f.sink += c.first.start + c.first.events // they are in the second and third cache line of a customer
		}
		if f.seen.Has(ps[i].fp, 0) {
			f.sink++
		}
	}
}
