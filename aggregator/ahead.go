package aggregator

import (
	"fmt"
	"strconv"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/fingerprint"
	"github.com/tidegate-io/tidegate/internal/stream"
)

// What an event needs of memory (its customer, the customer's window, its
// fingerprint's place) is in no cache of the processor when there are many
// customers, and waiting for it was more than half of what an event cost. Looked
// up in loops of their own, stream.PrefetchMax of them at a time, the misses of many
// events overlap. The events are then folded one after another as ever: what was
// looked up says where things are, not what they are.

// upcoming is an event before it is folded.
type upcoming struct {
	e    events.Event
	raw  []byte
	err  error
	fp   uint64
	hash uint32    // of the customer
	c    *customer // if it was known then
	seq  uint64    // of its message, if it is one of its own
}

var errNoID = fmt.Errorf("%w: `id` is missing, an event in a batch needs one", events.ErrInvalid)

// batch folds the events of a packed message, one after another. The error says
// where the message is broken.
func (f *folder) batch(m *stream.Message) error {
	f.at, f.expected = 0, 0
	defer func() { clear(f.next[:]) }() // they are parts of the message
	b := events.NewBatch(m.Data)
	for index := 0; ; {
		n := f.unpack(&b)
		f.lookUp(f.next[:n])
		for i := range f.next[:n] {
			u := &f.next[i]
			if u.err == nil {
				u.err = f.event(u)
			}
			f.outcome(m, index, u.raw, u.err)
			index++
		}
		if n < len(f.next) {
			return b.Err()
		}
	}
}

// unpack reads the next events of a packed message.
func (f *folder) unpack(b *events.Batch) (n int) {
	for ; n < len(f.next); n++ {
		u := &f.next[n]
		var more bool
		if u.raw, more, u.err = b.Next(&u.e); !more {
			break
		}
		if u.err == nil && u.e.ID == "" {
			u.err = errNoID
		}
		u.fp = fingerprint.Of(u.e.Subject, u.e.Source, u.e.ID)
	}
	return n
}

// expect reads messages that are folded next.
func (f *folder) expect(ms []stream.Message) {
	n := 0
	for i := range ms {
		if last := lastToken(ms[i].Subject); last != "" && last[0] != '~' {
			f.next[n].read(&ms[i], last)
			n++
		}
	}
	f.at, f.expected = 0, n
	f.lookUp(f.next[:n])
}

// single is a message that an app published to usage.in.<token>.
func (f *folder) single(m *stream.Message, token string) error {
	for f.at < f.expected && f.next[f.at].seq < m.Seq {
		f.at++
	}
	if f.at == f.expected || f.next[f.at].seq != m.Seq { // not expected, or overwritten
		f.at, f.expected = 0, 1
		f.next[0].read(m, token)
	}
	u := &f.next[f.at]
	if u.err != nil {
		return u.err
	}
	return f.event(u)
}

func (u *upcoming) read(m *stream.Message, token string) {
	*u = upcoming{seq: m.Seq}
	if u.e, u.err = events.Decode(m.Data); u.err != nil {
		return
	}
	e := &u.e
	if e.Subject == "" {
		if e.Subject, u.err = events.ParseToken(token); u.err != nil {
			return
		}
	}
	if events.Token(e.Subject) != token {
		u.err = fmt.Errorf("%w: published under %q, but its subject is the customer %q", events.ErrInvalid, token, e.Subject)
		return
	}
	if e.ID == "" { // its retry is a new event
		e.ID = "~" + strconv.FormatUint(m.Seq, 10)
	}
	u.fp = fingerprint.Of(e.Subject, e.Source, e.ID)
}

// lookUp brings into the processor's cache what events need. It changes nothing.
func (f *folder) lookUp(us []upcoming) {
	for i := range us {
		us[i].hash = f.customers.hash(us[i].e.Subject)
		f.loaded += int64(f.customers.slot(us[i].hash))
	}
	for i := range us {
		us[i].c = f.customers.look(us[i].hash, us[i].e.Subject)
	}
	for i := range us {
		if c := us[i].c; c != nil {
			f.loaded += c.first.start + c.first.events // the second and third line of a customer
		}
		if f.seen.Has(us[i].fp, 0) {
			f.loaded++
		}
	}
}
