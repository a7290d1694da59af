package aggregator

import (
	"fmt"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/fingerprint"
)

// ahead is how many events of a packed message are looked up together. What an
// event needs of memory (its customer, the customer's window, its fingerprint's
// place) is in no cache of the processor when there are many customers. Looked
// up one after another in loops of their own, the misses of many events overlap,
// which halves what an event costs. More than this would push the first ones
// out of the nearest cache again.
const ahead = 32

// upcoming is an event before it is folded.
type upcoming struct {
	e   events.Event
	raw []byte
	err error
	fp  uint64
	c   *customer // if it was known then
}

var errNoID = fmt.Errorf("%w: `id` is missing, an event in a batch needs one", events.ErrInvalid)

// batch folds the events of a packed message, one after another. The error says
// where the message is broken.
func (f *folder) batch(data []byte) error {
	b := events.NewBatch(data)
	for index := 0; ; {
		n := f.lookAhead(&b)
		for i := range f.next[:n] {
			u := &f.next[i]
			if u.err == nil {
				u.err = f.event(u)
			}
			f.outcome(index, u.raw, u.err)
			index++
		}
		if n < ahead {
			clear(f.next[:]) // they are parts of the message
			return b.Err()
		}
	}
}

// lookAhead reads the next events and brings into the cache what they need. It
// changes nothing.
func (f *folder) lookAhead(b *events.Batch) (n int) {
	for n < ahead {
		u := &f.next[n]
		var more bool
		if u.raw, more, u.err = b.Next(&u.e); !more {
			break
		}
		if u.err == nil && u.e.ID == "" {
			u.err = errNoID
		}
		u.fp = fingerprint.Of(u.e.Subject, u.e.Source, u.e.ID)
		n++
	}
	for i := range f.next[:n] {
		u := &f.next[i]
		u.c = f.customers.find(u.e.Subject)
	}
	oldest := f.oldest()
	for i := range f.next[:n] {
		u := &f.next[i]
		if c := u.c; c != nil {
			f.loaded += c.first.events + c.first.storedAt // mostly the window, in two lines of the cache
		}
		if f.seen.Has(u.fp, oldest) {
			f.loaded++
		}
	}
	return n
}
