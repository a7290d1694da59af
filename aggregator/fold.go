package aggregator

import (
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/cespare/xxhash/v2"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/fingerprint"
	"github.com/tidegate-io/tidegate/internal/gate"
	"github.com/tidegate-io/tidegate/internal/stream"
)

// folder folds messages into a state. What it finds out on the way goes to the
// callbacks; the state alone decides what they are given.
type folder struct {
	*state
	partition, partitions int
	horizon               time.Duration
	fixed                 bool                    // ignore the stream's configurations
	touched               func(*customer, *usage) // a window, or with nil only the customer, changed
	tell                  func(*customer, *usage) // what is to be told of a window must be told as it is now
	reject                rejecter                // an event cannot be counted
	counted               func(fingerprint.Entry) // an event was counted
	older                 older                   // fingerprints that left the state; nil: none did
	failed                error                   // the state is worth nothing any more
	now                   time.Time               // storing time of the message
	seq                   uint64
	changes               uint32 // of windows, by the message so far
	isImport              bool
	one                   [1]gate.Segment // room that need not be allocated for each event
	next                  [stream.PrefetchMax]upcoming
	at, expected          int   // of next: the messages to come
	loaded                int64 // means nothing: it is there for what was read to be needed
}

var errDuplicate = errors.New("duplicate")

// older says whether a fingerprint was added from the hour oldest on and has
// left memory since. After an error the fold cannot go on.
type older func(fp uint64, oldest uint32) (bool, error)

// rejecter takes what cannot be counted: the part of a message at an index, or at
// -1 what remains of a broken one, and why. After an error the fold cannot go on.
type rejecter func(m *stream.Message, index int, raw []byte, why error) error

// fold processes one message of USAGE. After an error, which only older and
// reject give, the state is to be thrown away.
func (f *folder) fold(m *stream.Message) error {
	f.now, f.seq, f.changes = m.Time, m.Seq, 0
	f.sweep()
	last := lastToken(m.Subject)
	f.isImport = last == events.ImportToken
	switch last {
	case events.BatchToken, events.ImportToken:
		f.outcome(m, -1, m.Data, f.batch(m))
	case events.ControlToken:
		f.outcome(m, 0, m.Data, f.control(m.Data))
	default:
		f.outcome(m, 0, m.Data, f.single(m, last))
	}
	f.position, f.storedAt = m.Seq, m.Time
	return f.failed
}

func lastToken(subject string) string { return subject[strings.LastIndexByte(subject, '.')+1:] }

func (f *folder) outcome(m *stream.Message, index int, raw []byte, err error) {
	if err == nil || errors.Is(err, errDuplicate) || f.failed != nil {
		return
	}
	f.failed = f.reject(m, index, raw, err)
}

// event counts one event, or says why not.
func (f *folder) event(u *upcoming) error {
	e, c := &u.e, u.c
	if err := e.Validate(); err != nil {
		return err
	}
	if c == nil { // an event before it may have made the customer
		c = f.customers.find(e.Subject)
	}
	if c == nil && events.PartitionOf(e.Subject, f.partitions) != f.partition {
		return fmt.Errorf("%w: customer %q does not belong to partition %d of %d", events.ErrInvalid, e.Subject, f.partition, f.partitions)
	}
	at := f.now
	if !e.Time.IsZero() {
		at = e.Time
		horizon := f.horizon
		if f.isImport {
			horizon = 0
		}
		if err := events.CheckTime(at, f.now, horizon); err != nil {
			return err
		}
	}
	if err := f.isNew(u.fp); err != nil {
		return err
	}
	if err := f.count(e, c, at); err != nil {
		return err
	}
	hour := fingerprint.Hour(f.now)
	f.seen.Add(u.fp, hour)
	f.counted(fingerprint.Entry{FP: u.fp, Hour: hour})
	return nil
}

// isNew is nil for a fingerprint that was not added within the horizon.
func (f *folder) isNew(fp uint64) error {
	if f.failed != nil {
		return f.failed
	}
	known := f.seen.Has(fp, f.oldest())
	if !known && f.older != nil {
		if known, f.failed = f.older(fp, f.oldest()); f.failed != nil {
			f.failed = fmt.Errorf("fingerprints: %w", f.failed)
		}
	}
	if known {
		return errDuplicate
	}
	return f.failed
}

// oldest is the first hour whose fingerprints count.
func (f *folder) oldest() uint32 {
	return fingerprint.Hour(f.now) - uint32(f.horizon/time.Hour)
}

// change is what an event does to one window, before it is done.
type change struct {
	g      *preparedGate
	start  int64 // of its window, or of the bucket of a rolling one
	end    int64
	u      *usage // nil: to be opened
	value  events.Value
	member uint64
	total  events.Value
}

// count applies an event to the windows of all gates that meter it, or to none.
func (f *folder) count(e *events.Event, c *customer, at time.Time) error {
	gates := f.gates[e.Type]
	if len(gates) == 0 {
		return nil
	}
	var segments []gate.Segment
	if c != nil && c.known {
		segments = c.segments(&f.one)
	} else {
		segments = gate.FirstSegment(at)
	}
	var buf [4]change
	changes := buf[:0]
	for _, g := range gates {
		changes = append(changes, change{g: g, value: events.Count(1)})
		if err := f.plan(e, c, &changes[len(changes)-1], segments, at.UnixMilli()); err != nil {
			return err
		}
	}
	if c == nil {
		c = f.customer(e.Subject)
	}
	if !c.known {
		c.setSegments(segments)
		c.changed = true
	}
	for i := range changes {
		f.enact(c, &changes[i], segments, at.UnixMilli())
	}
	return nil
}

// plan works out a change without making it.
func (f *folder) plan(e *events.Event, c *customer, ch *change, segments []gate.Segment, at int64) (err error) {
	g := ch.g
	ch.start, ch.end = g.Window.Span(segments, at)
	start := ch.start
	if g.Window.Kind == gate.Rolling {
		start = 0
	}
	if c != nil {
		ch.u = c.find(g.feature, start)
		if ch.u != nil && ch.u.closed || ch.u == nil && start != 0 && start < c.closedAt(g.feature) {
			return fmt.Errorf("%w: the window of %s that began at %s is closed for good",
				events.ErrInvalid, g.Feature, ms(ch.start).Format(time.RFC3339))
		}
	}
	switch g.Meter.Aggregate {
	case gate.Count:
	case gate.Unique:
		ch.member, err = memberOf(e, g)
	default:
		ch.value, err = valueOf(e, g)
	}
	if err != nil {
		return err
	}
	if ch.u != nil && g.Meter.Aggregate != gate.Unique && g.Meter.Aggregate != gate.Max {
		ch.total, err = ch.u.used.Add(ch.value)
	} else {
		ch.total = ch.value
	}
	if err != nil {
		return fmt.Errorf("%w: %s: %w", events.ErrInvalid, g.Feature, err)
	}
	return nil
}

func valueOf(e *events.Event, g *preparedGate) (events.Value, error) {
	raw, ok := events.Lookup(e.Data, g.Meter.Value)
	if !ok {
		return events.Value{}, fmt.Errorf("%w: %s needs a number at $.%s of `data`, there is none", events.ErrInvalid, g.Feature, g.Meter.Value)
	}
	v, err := events.ParseValue(strings.Trim(string(raw), `"`))
	if err != nil {
		return v, fmt.Errorf("%w: %s: $.%s of `data` is %w", events.ErrInvalid, g.Feature, g.Meter.Value, err)
	}
	if v.Sign() < 0 {
		return v, fmt.Errorf("%w: %s: $.%s of `data` is negative", events.ErrInvalid, g.Feature, g.Meter.Value)
	}
	return v, nil
}

func memberOf(e *events.Event, g *preparedGate) (uint64, error) {
	raw, ok := events.Lookup(e.Data, g.Meter.Value)
	if !ok || string(raw) == "null" {
		return 0, fmt.Errorf("%w: %s needs a value at $.%s of `data`, there is none", events.ErrInvalid, g.Feature, g.Meter.Value)
	}
	return xxhash.Sum64(raw), nil
}

func (f *folder) enact(c *customer, ch *change, segments []gate.Segment, at int64) {
	g, u := ch.g, ch.u
	opened := u == nil
	if opened {
		start, end := ch.start, ch.end
		if g.Window.Kind == gate.Rolling {
			start, end = 0, 0
		}
		u = c.open(g.feature, start)
		u.end, u.firstAt, u.lastAt = end, at, at
	}
	f.settle(c, u, f.isImport)
	moved := u.end != 0 && u.end != ch.end // there was no room for it, and is again
	if moved {
		u.end = ch.end
	}
	before, ends := u.total(g, segments, f.now), f.blockEnds(c, u, g, segments)
	bucketStart := int64(0)
	if g.Window.Kind == gate.Rolling {
		bucketStart = ch.start
	}
	switch g.Meter.Aggregate {
	case gate.Unique:
		u.addMember(g, ch.member, bucketStart, f.now)
	case gate.Max:
		u.used = u.used.Max(ch.total)
		u.addBucket(g, bucketStart, ch.value)
	default:
		u.used = ch.total
		u.addBucket(g, bucketStart, ch.value)
	}
	u.events++
	u.firstAt, u.lastAt = min(u.firstAt, at), max(u.lastAt, at)
	f.touch(c, u, opened || moved || f.matters(c, g, before, u.total(g, segments, f.now)) || f.blockEnds(c, u, g, segments) != ends)
}
