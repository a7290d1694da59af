package aggregator

import (
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/cespare/xxhash/v2"
	"github.com/nats-io/nats.go"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/fingerprint"
	"github.com/tidegate-io/tidegate/internal/plan"
	"github.com/tidegate-io/tidegate/internal/stream"
	"github.com/tidegate-io/tidegate/internal/window"
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
	reject                func(d events.Dead)     // an event cannot be counted
	counted               func(fingerprint.Entry) // an event was counted
	older                 older                   // fingerprints that left the state; nil: none did
	failed                error                   // the state is worth nothing any more
	now                   time.Time               // storing time of the message
	seq                   uint64
	changes               uint32 // of windows, by the message so far
	isImport              bool
}

var errDuplicate = errors.New("duplicate")

// older says whether a fingerprint was added from the hour oldest on and has
// left memory since. After an error the fold cannot go on.
type older func(fp uint64, oldest uint32) (bool, error)

// fold processes one message of USAGE. After an error, which only older gives,
// the state is to be thrown away.
func (f *folder) fold(m *stream.Message) error {
	f.now, f.seq, f.changes = m.Time, m.Seq, 0
	f.sweep()
	last := m.Subject[strings.LastIndexByte(m.Subject, '.')+1:]
	f.isImport = last == events.ImportToken
	switch last {
	case events.BatchToken, events.ImportToken:
		err := events.EachInBatch(m.Data, func(i int, e events.Event, raw []byte, err error) {
			if err == nil && e.ID == "" {
				err = fmt.Errorf("%w: `id` is missing, an event in a batch needs one", events.ErrInvalid)
			}
			if err == nil {
				err = f.event(&e)
			}
			f.outcome(i, raw, err)
		})
		f.outcome(-1, m.Data, err)
	case events.ControlToken:
		f.outcome(0, m.Data, f.control(m.Data))
	default:
		f.outcome(0, m.Data, f.single(last, m.Header, m.Data))
	}
	f.position, f.storedAt = m.Seq, m.Time
	return f.failed
}

func (f *folder) outcome(index int, raw []byte, err error) {
	if err == nil || errors.Is(err, errDuplicate) || f.failed != nil {
		return
	}
	f.reject(events.Dead{
		Origin: events.StreamUsage + "/" + strconv.FormatUint(f.seq, 10) + "/" + strconv.Itoa(index),
		Reason: err.Error(), At: f.now, Body: raw,
	})
}

// single is a message that an app published to usage.in.<token>.
func (f *folder) single(token string, h nats.Header, data []byte) error {
	e, err := events.Decode(data)
	if err != nil {
		return err
	}
	if e.Subject == "" {
		if e.Subject, err = events.ParseToken(token); err != nil {
			return err
		}
	}
	if events.Token(e.Subject) != token {
		return fmt.Errorf("%w: published under %q, but its subject is the customer %q", events.ErrInvalid, token, e.Subject)
	}
	if e.ID == "" { // its retry is a new event
		e.ID = "~" + strconv.FormatUint(f.seq, 10)
	}
	return f.event(&e)
}

// event counts one event, or says why not.
func (f *folder) event(e *events.Event) error {
	if err := e.Validate(); err != nil {
		return err
	}
	c := f.customers.find(e.Subject)
	if c == nil && events.PartitionOf(e.Subject, f.partitions) != f.partition {
		return fmt.Errorf("%w: customer %q does not belong to partition %d of %d", events.ErrInvalid, e.Subject, f.partition, f.partitions)
	}
	at, horizon := e.Time, f.horizon
	if at.IsZero() {
		at = f.now
	}
	if f.isImport {
		horizon = 0
	}
	if err := events.CheckTime(at, f.now, horizon); err != nil {
		return err
	}
	fp := fingerprint.Of(e.Subject, e.Source, e.ID)
	hour := fingerprint.Hour(f.now)
	if err := f.isNew(fp); err != nil {
		return err
	}
	if err := f.count(e, c, at); err != nil {
		return err
	}
	f.seen.Add(fp, hour)
	f.counted(fingerprint.Entry{FP: fp, Hour: hour})
	return nil
}

// isNew is nil for a fingerprint that was not added within the horizon.
func (f *folder) isNew(fp uint64) error {
	if f.failed != nil {
		return f.failed
	}
	known := f.seen.Has(fp, f.oldest())
	if !known && f.older != nil {
		known, f.failed = f.older(fp, f.oldest())
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
	g      *gate
	w      window.Window
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
	var one [1]window.Segment
	var segments []window.Segment
	if c != nil && c.known {
		segments = c.segments(&one)
	} else {
		segments = window.First(at)
	}
	var buf [4]change
	changes := buf[:0]
	for _, g := range gates {
		ch, err := f.plan(e, c, g, segments, at)
		if err != nil {
			return err
		}
		changes = append(changes, ch)
	}
	if c == nil {
		c = f.customer(e.Subject)
	}
	if !c.known {
		c.setSegments(segments)
		c.changed = true
	}
	for i := range changes {
		f.enact(c, &changes[i], segments, at)
	}
	return nil
}

// plan works out a change without making it.
func (f *folder) plan(e *events.Event, c *customer, g *gate, segments []window.Segment, at time.Time) (change, error) {
	ch := change{g: g, w: g.Window.At(segments, at), value: events.Count(1)}
	start := ch.w.Start.UnixMilli()
	if g.Window.Kind == window.Rolling {
		start = 0
	}
	if c != nil {
		ch.u = c.find(g.feature, start)
		if ch.u != nil && ch.u.closed || ch.u == nil && start != 0 && start < c.closedAt(g.feature) {
			return ch, fmt.Errorf("%w: the window of %s that began at %s is closed for good",
				events.ErrInvalid, g.Feature, ch.w.Start.Format(time.RFC3339))
		}
	}
	var err error
	switch g.Meter.Aggregate {
	case plan.Count:
	case plan.Unique:
		ch.member, err = memberOf(e, g)
	default:
		ch.value, err = valueOf(e, g)
	}
	if err != nil {
		return ch, err
	}
	if ch.u != nil && g.Meter.Aggregate != plan.Unique && g.Meter.Aggregate != plan.Max {
		ch.total, err = ch.u.used.Add(ch.value)
	} else {
		ch.total = ch.value
	}
	if err != nil {
		return ch, fmt.Errorf("%w: %s: %w", events.ErrInvalid, g.Feature, err)
	}
	return ch, nil
}

func valueOf(e *events.Event, g *gate) (events.Value, error) {
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

func memberOf(e *events.Event, g *gate) (uint64, error) {
	raw, ok := events.Lookup(e.Data, g.Meter.Value)
	if !ok || string(raw) == "null" {
		return 0, fmt.Errorf("%w: %s needs a value at $.%s of `data`, there is none", events.ErrInvalid, g.Feature, g.Meter.Value)
	}
	return xxhash.Sum64(raw), nil
}

func (f *folder) enact(c *customer, ch *change, segments []window.Segment, at time.Time) {
	g, u := ch.g, ch.u
	opened := u == nil
	if opened {
		start, end := ch.w.Start.UnixMilli(), ch.w.End.UnixMilli()
		if g.Window.Kind == window.Rolling {
			start, end = 0, 0
		}
		u = c.open(g.feature, start)
		u.end, u.firstAt, u.lastAt = end, at.UnixMilli(), at.UnixMilli()
	}
	f.settle(c, u, f.isImport)
	moved := u.end != 0 && u.end != ch.w.End.UnixMilli() // there was no room for it, and is again
	if moved {
		u.end = ch.w.End.UnixMilli()
	}
	before, ends := u.total(g, segments, f.now), f.blockEnds(c, u, g, segments)
	bucketStart := int64(0)
	if g.Window.Kind == window.Rolling {
		bucketStart = ch.w.Start.UnixMilli()
	}
	switch g.Meter.Aggregate {
	case plan.Unique:
		u.addMember(g, ch.member, bucketStart, f.now)
	case plan.Max:
		u.used = u.used.Max(ch.total)
		u.addBucket(g, bucketStart, ch.value)
	default:
		u.used = ch.total
		u.addBucket(g, bucketStart, ch.value)
	}
	u.events++
	u.firstAt, u.lastAt = min(u.firstAt, at.UnixMilli()), max(u.lastAt, at.UnixMilli())
	f.touch(c, u, opened || moved || f.matters(c, g, before, u.total(g, segments, f.now)) || f.blockEnds(c, u, g, segments) != ends)
}
