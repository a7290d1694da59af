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

// folder folds messages into a state. It calls the functions below as it goes on;
// the calls are a function of the state and the messages.
type folder struct {
	*state
	partition, partitions int
	horizon               time.Duration
	fixedCatalog          bool // ignore the configurations in the stream

	onChange  func(*customer, *usage) // called after a change of a window, or of the customer (usage is nil)
	emitNow   func(*customer, *usage) // emits the total that a window has now
	onCounted func(fingerprint.Entry) // called after each event that counts
	reject    rejectFunc
	archived  archiveLookup // nil: all fingerprints are in the state

	failed      error     // not nil: the state cannot be used any more
	now         time.Time // when the message was stored
	seq         uint64    // of the message
	changes     uint32    // number of changes of windows by the message so far
	isImport    bool      // of the message
	silentUntil time.Time // messages that were stored up to then cause no mail
	part        int       // index of the event that is being counted; -1: no event of a batch is
	segmentBuf  [1]gate.Segment

	prefetched  [stream.PrefetchMax]pendingEvent
	cursor, end int   // prefetched[cursor:end] are not folded yet
	sink        int64 // keeps the compiler from removing the loads of loadPlaces
}

var errDuplicate = errors.New("duplicate")

// archiveLookup reports whether a fingerprint that is no longer in the state was
// added in the hour oldest or later. After an error the fold cannot continue.
type archiveLookup func(fp uint64, oldest uint32) (bool, error)

// rejectFunc takes the part of a message that cannot be counted, and why. index is
// that of an event in the message, or -1 for the rest of a broken message. After an
// error the fold cannot continue.
type rejectFunc func(m *stream.Message, index int, raw []byte, why error) error

// fold folds one message of USAGE. Its errors are those of archived and reject;
// after one, the caller must discard the state.
func (f *folder) fold(m *stream.Message) error {
	f.now, f.seq, f.changes, f.part = m.Time, m.Seq, 0, -1
	f.expire()
	kind, token := kindOf(m.Subject)
	f.isImport = kind == events.ImportToken
	switch kind {
	case events.BatchToken, events.ImportToken:
		f.rejectOnError(m, -1, m.Data, f.foldBatch(m))
	case events.ControlToken:
		f.rejectOnError(m, 0, m.Data, f.foldControl(m.Data))
	default:
		f.rejectOnError(m, 0, m.Data, f.foldSingle(m, token))
	}
	f.position, f.storedAt = m.Seq, m.Time
	return f.failed
}

// kindOf returns what a message of USAGE holds: one of the ~ tokens, or "" for a single
// event, with the token that it was published under. The first versions stored single
// events at usage.p.<p>.<token>, where the ~ tokens are.
func kindOf(subject string) (kind, token string) {
	token, app := events.FromApp(subject)
	if !app {
		switch token {
		case events.BatchToken, events.ImportToken, events.ControlToken:
			return token, ""
		}
	}
	return "", token
}

// rejectOnError rejects a part of a message, unless err is nil, or the event is a
// duplicate, or the fold has failed.
func (f *folder) rejectOnError(m *stream.Message, index int, raw []byte, err error) {
	if err == nil || errors.Is(err, errDuplicate) || f.failed != nil {
		return
	}
	f.failed = f.reject(m, index, raw, err)
}

// countEvent counts one event. An error says why it does not count.
func (f *folder) countEvent(p *pendingEvent) error {
	e, c := &p.event, p.customer
	if err := e.Validate(); err != nil {
		return err
	}
	if c == nil { // an earlier event may have added the customer
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
	if err := f.checkNew(p.fp); err != nil {
		return err
	}
	if err := f.countInWindows(e, c, at); err != nil {
		return err
	}
	hour := fingerprint.Hour(f.now)
	f.seen.Add(p.fp, hour)
	f.onCounted(fingerprint.Entry{FP: p.fp, Hour: hour})
	return nil
}

// checkNew returns errDuplicate for a fingerprint that was added within the horizon.
func (f *folder) checkNew(fp uint64) error {
	if f.failed != nil {
		return f.failed
	}
	known := f.seen.Has(fp, f.oldestHour())
	if !known && f.archived != nil {
		if known, f.failed = f.archived(fp, f.oldestHour()); f.failed != nil {
			f.failed = stream.Outage(fmt.Errorf("fingerprints: %w", f.failed))
		}
	}
	if known {
		return errDuplicate
	}
	return f.failed
}

// oldestHour returns the first hour within the horizon.
func (f *folder) oldestHour() uint32 {
	return fingerprint.Hour(f.now) - uint32(f.horizon/time.Hour)
}

// change is the change of one window by an event.
type change struct {
	g      *preparedGate
	start  int64 // of the window; of the bucket if the window is rolling
	end    int64
	u      *usage // nil: the window does not exist yet
	value  events.Value
	member uint64 // of a unique meter
	total  events.Value
}

// countInWindows counts an event in the windows of all gates that meter it. After
// an error it has changed none.
func (f *folder) countInWindows(e *events.Event, c *customer, at time.Time) error {
	gates := f.gates[e.Type]
	if len(gates) == 0 {
		return nil
	}
	var segments []gate.Segment
	if c != nil && c.known {
		segments = c.segments(&f.segmentBuf)
	} else {
		segments = gate.FirstSegment(at)
	}
	var buf [4]change
	changes := buf[:0]
	for _, g := range gates {
		changes = append(changes, change{g: g, value: events.Count(1)})
		if err := f.prepareChange(e, c, &changes[len(changes)-1], segments, at.UnixMilli()); err != nil {
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
		f.applyChange(c, &changes[i], segments, at.UnixMilli())
	}
	return nil
}

// prepareChange fills in ch without changing the window. An error says why the
// window cannot count the event.
func (f *folder) prepareChange(e *events.Event, c *customer, ch *change, segments []gate.Segment, at int64) (err error) {
	g := ch.g
	ch.start, ch.end = g.Window.Span(segments, at)
	start := ch.start
	if g.Window.Kind == gate.Rolling {
		start = 0
	}
	if c != nil {
		ch.u = c.find(g.feature, start)
		if ch.u != nil && ch.u.closed || ch.u == nil && start != 0 && start < c.closedUntil(g.feature) {
			return fmt.Errorf("%w: the window of %s that began at %s is closed for good",
				events.ErrInvalid, g.Feature, fromMillis(ch.start).Format(time.RFC3339))
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

// valueOf returns the number that the event adds to a sum or maximum.
func valueOf(e *events.Event, g *preparedGate) (events.Value, error) {
	raw, ok := events.Lookup(e.Data, g.Meter.Value)
	if !ok {
		return events.Value{}, fmt.Errorf("%w: %s needs a number at $.%s of `data`, there is none", events.ErrInvalid, g.Feature, g.Meter.Value)
	}
	v, err := events.RoundValue(strings.Trim(string(raw), `"`))
	if err != nil {
		return v, fmt.Errorf("%w: %s: $.%s of `data` is %w", events.ErrInvalid, g.Feature, g.Meter.Value, err)
	}
	if v.Sign() < 0 {
		return v, fmt.Errorf("%w: %s: $.%s of `data` is negative", events.ErrInvalid, g.Feature, g.Meter.Value)
	}
	return v, nil
}

// memberOf returns the hash of the value that a unique meter counts.
func memberOf(e *events.Event, g *preparedGate) (uint64, error) {
	raw, ok := events.Lookup(e.Data, g.Meter.Value)
	if !ok || string(raw) == "null" {
		return 0, fmt.Errorf("%w: %s needs a value at $.%s of `data`, there is none", events.ErrInvalid, g.Feature, g.Meter.Value)
	}
	return xxhash.Sum64(raw), nil
}

// applyChange makes a change that prepareChange has prepared, and marks the window
// to be emitted if that can change a decision.
func (f *folder) applyChange(c *customer, ch *change, segments []gate.Segment, at int64) {
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
	f.emitBefore(c, u, f.isSilent())
	moved := u.end != 0 && u.end != ch.end // a cut had ended it where it begins: see endAfterCut
	if moved {
		u.end = ch.end
	}
	before, ends := u.total(g, segments, f.now), f.blockEndSum(c, u, g, segments)
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
	f.markChanged(c, u, opened || moved || f.canChangeDecision(c, g, before, u.total(g, segments, f.now)) || f.blockEndSum(c, u, g, segments) != ends)
}
