package stream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidegate-io/tidegate/events"
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
// again, there is one letter.
func (o *Owner) Reject(m *Message, index int, body []byte, why error) error {
	origin := o.inputs[m.Input].Stream + "/" + strconv.FormatUint(m.Seq, 10) + "/" + strconv.Itoa(index)
	written, err := o.letters.have(o, m, origin)
	if err != nil || written {
		return err
	}
	b, err := json.Marshal(records.Dead{Origin: origin, Reason: why.Error(), At: m.Time, Body: body})
	if err != nil {
		return err
	}
	return o.Publish(&nats.Msg{Subject: o.Names.Dead(o.Partition), Data: b}, jetstream.WithMsgID(origin))
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
	if err != nil {
		return nil, err
	}
	filter := o.Names.Subject("dead.*")
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
