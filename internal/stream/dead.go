package stream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/guard"
	"github.com/tidegate-io/tidegate/internal/records"
)

// Reject makes an error of Handle say that the message cannot be processed: Run
// publishes it as a dead letter with the reason, and goes on.
func Reject(why error) error { return rejected{why} }

type rejected struct{ error }

func (r rejected) Unwrap() error { return r.error }

// IsRejected reports whether err is one of Reject.
func IsRejected(err error) bool {
	var r rejected
	return errors.As(err, &r)
}

// Reject publishes one part of a message that holds many as a dead letter: index
// is its place in the message, or -1 for what remains of a broken one, body its
// bytes, and why the reason. However often owners crash and read the message
// again, there is one letter. Errors are of Outage.
func (o *Owner) Reject(m *Message, index int, body []byte, why error) error {
	origin := o.inputs[m.Input].Stream + "/" + strconv.FormatUint(m.Seq, 10) + "/" + strconv.Itoa(index)
	written, err := o.letters.have(o, m, origin)
	if err != nil || written {
		return Outage(err)
	}
	return Outage(o.writeLetter(origin, origin, records.Dead{Origin: origin, Reason: why.Error(), At: m.Time, Body: body}))
}

// RejectDocument publishes a dead letter about a document that the store will never
// take, once for each document in an ownership. doc may be nil. It is safe for
// concurrent use, once Start has returned.
func (o *Owner) RejectDocument(collection, id string, doc any, why error) {
	o.role.refused(collection)
	if !o.documents.first(collection + "/" + id) {
		return
	}
	if n := o.role.throttle(time.Now()); n > 0 {
		o.Log.Error("document_refused", "collection", collection, "count", n, "error", why)
	}
	var body []byte
	if guard.Do(func() (err error) { body, err = json.Marshal(doc); return err }) != nil || doc == nil {
		body = nil // the reason may be that it has no form
	}
	place := "documents/" + collection
	origin := cut(place+"/"+id, maxOrigin)
	// An error means that the ownership has ended: the next owner writes the document.
	_ = o.writeLetter(place, events.Token(origin), records.Dead{Origin: origin, Reason: why.Error(), At: time.Now().UTC(), Body: body})
}

// Failed counts and logs what went wrong with one customer or one mail, for example,
// and must not hold up the others. It is safe for concurrent use.
func (o *Owner) Failed(doing string, err error) {
	o.role.fail(err)
	if n := o.role.throttle(time.Now()); n > 0 {
		o.Log.Error("step_failed", "doing", doing, "count", n, "error", err)
	}
}

// known holds the documents that have a letter. When it is full it forgets all: a
// document may then have a second letter.
type known struct {
	mu  sync.Mutex
	ids map[string]bool
}

const maxKnown = 10_000

// first reports whether it has not been called with id before.
func (k *known) first(id string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.ids[id] {
		return false
	}
	if k.ids == nil || len(k.ids) >= maxKnown {
		k.ids = map[string]bool{}
	}
	k.ids[id] = true
	return true
}

// The bounds of a letter. JSON makes the body a third longer.
const (
	maxReason    = 1000
	maxOrigin    = 1000
	letterMargin = 16 << 10 // for everything but the body
)

// writeLetter publishes a letter, shortened until a message can hold it: one that
// cannot be sent would stop its partition. place names it in the log; id is that of
// its message.
func (o *Owner) writeLetter(place, id string, d records.Dead) error {
	d.Reason = cut(d.Reason, maxReason)
	most := events.MaxBatchBytes
	if limit := o.JS.Conn().MaxPayload(); limit > 0 {
		most = min(most, max(0, int(limit)-letterMargin)*3/4)
	}
	if len(d.Body) > most {
		d.Body, d.Truncated = d.Body[:most], true
	}
	b, err := json.Marshal(d)
	if err != nil {
		return err
	}
	o.role.letter()
	return o.out.publishLetter(&nats.Msg{Subject: o.Names.Dead(o.Partition), Data: b}, place, id)
}

// cut shortens a text to at most n bytes, as JSON will spell it.
func cut(s string, n int) string {
	if len(s) <= n {
		return s
	}
	return strings.ToValidUTF8(s[:n], "") + "…"
}

// letters are the dead letters that former owners wrote of messages which no
// commit includes. The server itself knows the id of a letter for two minutes
// only, and a partition may be without an owner for longer.
type letters struct {
	from    time.Time // those stored from then on have been read; zero: none
	origins map[string]bool
}

// clockSkew is how far the clocks of two servers may be apart. A letter is stored
// after its message, but perhaps by another server.
const clockSkew = 5 * time.Minute

// have reports whether a former owner has written the letter of a part of m.
func (l *letters) have(o *Owner, m *Message, origin string) (bool, error) {
	if m.Seq > o.Inputs[m.Input].Last {
		return false, nil // it came after the takeover
	}
	from := m.Time.Add(-clockSkew)
	if l.origins == nil || from.Before(l.from) {
		origins, err := o.readLetters(from)
		if err != nil {
			return false, fmt.Errorf("dead letters: %w", err)
		}
		l.from, l.origins = from, origins
	}
	return l.origins[origin], nil
}

// readLetters returns the origins of the letters that were stored from a moment
// on, of messages between the committed positions and the takeover.
func (o *Owner) readLetters(from time.Time) (map[string]bool, error) {
	ctx, cancel := context.WithTimeout(o.out.ctx, time.Minute)
	defer cancel()
	origins := map[string]bool{}
	s, err := o.JS.Stream(ctx, o.Names.Stream(events.StreamDead))
	if errors.Is(err, jetstream.ErrStreamNotFound) { // the letters are lost, see letterLost
		return origins, nil
	}
	if err != nil {
		return nil, err
	}
	filter := o.Names.Dead(o.Partition)
	newest, err := lastOf(ctx, s, filter)
	if errors.Is(err, jetstream.ErrMsgNotFound) || err == nil && newest.Time.Before(from) {
		return origins, nil
	}
	if err != nil {
		return nil, err
	}
	err = readUpTo(ctx, s, jetstream.OrderedConsumerConfig{FilterSubjects: []string{filter},
		DeliverPolicy: jetstream.DeliverByStartTimePolicy, OptStartTime: &from}, newest.Sequence, func(m *Message) error {
		var d struct{ Origin string }
		if json.Unmarshal(m.Data, &d) == nil && o.uncommitted(d.Origin) {
			origins[d.Origin] = true
		}
		return nil
	})
	return origins, err
}

// uncommitted reports whether an origin lies between a committed position and
// the takeover.
func (o *Owner) uncommitted(origin string) bool {
	for i := range o.inputs {
		rest, ours := strings.CutPrefix(origin, o.inputs[i].Stream+"/")
		if !ours {
			continue
		}
		text, _, _ := strings.Cut(rest, "/")
		seq, err := strconv.ParseUint(text, 10, 64)
		return err == nil && seq > o.Inputs[i].Position && seq <= o.Inputs[i].Last
	}
	return false
}
