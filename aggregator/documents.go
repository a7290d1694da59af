package aggregator

import (
	"cmp"
	"slices"
	"sync/atomic"
	"time"

	"github.com/tidegate-io/tidegate/internal/gate"
	"github.com/tidegate-io/tidegate/internal/guard"
	"github.com/tidegate-io/tidegate/internal/records"
	"github.com/tidegate-io/tidegate/internal/stream"
	"github.com/tidegate-io/tidegate/internal/writeback"
)

// documents writes the windows' documents in rounds, with a second between two
// rounds. A round writes the documents of the customers that have changed since the
// round before began.
//
// The Processor makes a document only when the writer can take it. So while the
// store is slow or not available, a change costs one bit for its customer in
// memory, and not a document.
type documents struct {
	writer       *writeback.Writer[string, records.Window]
	changed      numberSet // customers that have changed since the round began
	remaining    []uint32  // customers of the round whose documents the writer has not been given
	handedOver   []uint32  // customers of the round whose documents the writer has not finished
	from         watermark // of the round before
	to           watermark // of the documents when this round is finished
	handedOverAt time.Time // when the writer was last given documents
	countedAt    time.Time // when publishWaiting has last counted

	changedSince time.Time    // when the first customer of changed did; zero: changed is empty
	roundSince   time.Time    // likewise for the customers of the round
	waiting      atomic.Int64 // number of customers that wait, for Documents
	since        atomic.Int64 // when the first of them changed (Unix ns), for Documents
}

// watermark says up to where documents are written: they contain every change up
// to seq, and say of each window that ended up to end (ms) that it ended.
type watermark struct {
	seq uint64
	end int64
}

const (
	roundEvery    = time.Second
	maxDocuments  = 5000 // made at a time, because the fold waits meanwhile
	handOverEvery = 50 * time.Millisecond
)

// inRound reports whether a round has begun and its documents are not all handed
// over to the writer.
func (d *documents) inRound() bool { return len(d.remaining) > 0 }

// written returns up to where documents are written.
func (d *documents) written() watermark {
	if len(d.remaining) == 0 && d.writer.Flushed() {
		return d.to
	}
	return d.from
}

// beginRound begins a round and reports whether it has any customers. It does
// nothing if the round before has just ended.
func (d *documents) beginRound(to watermark, now time.Time) bool {
	if now.Sub(d.handedOverAt) < roundEvery {
		return false
	}
	d.from, d.to = d.to, to
	d.remaining = slices.AppendSeq(d.remaining[:0], d.changed.all)
	d.changed.clear()
	d.roundSince, d.changedSince = d.changedSince, time.Time{}
	return len(d.remaining) > 0
}

// publishOldest updates since, for Documents.
func (d *documents) publishOldest(now time.Time) {
	if d.changed.nonEmpty && d.changedSince.IsZero() {
		d.changedSince = now
	}
	if d.writer.Flushed() {
		if d.handedOver = nil; !d.inRound() {
			d.roundSince = time.Time{}
		}
	}
	since := int64(0)
	if first := cmp.Or(d.roundSince, d.changedSince); !first.IsZero() {
		since = first.UnixNano()
	}
	d.since.Store(since)
}

// publishWaiting updates waiting, for Documents. While the store is not available
// many customers can wait, so it counts them at most once a second.
func (d *documents) publishWaiting(now time.Time) {
	waits := d.changed.nonEmpty || d.inRound() || d.handedOver != nil
	if waits && now.Sub(d.countedAt).Abs() < time.Second {
		return
	}
	d.countedAt = now
	n := d.changed.len()
	for _, number := range d.handedOver {
		if !d.changed.has(number) {
			n++
		}
	}
	for _, number := range d.remaining {
		if !d.changed.has(number) {
			n++
		}
	}
	d.waiting.Store(int64(n))
}

// Documents implements stream.Documenter. Waiting is the number of customers, each
// of which has one document or more.
func (p *Processor) Documents() stream.Documents {
	out := stream.Documents{Collection: "usage", Waiting: int(p.docs.waiting.Load())}
	if since := p.docs.since.Load(); since != 0 && out.Waiting > 0 {
		out.Oldest = max(0, p.opt.Now().Sub(time.Unix(0, since)))
	}
	return out
}

// needsWrite reports whether this round must write the window's document.
func (d *documents) needsWrite(u *usage) bool {
	return u.seq > d.from.seq || u.beginsOrEndsIn(d.from.end, d.to.end)
}

// beginsOrEndsIn reports whether the window begins or ends in (from, to]. A window
// can begin after its first event was folded if the sender's clock was ahead.
func (u *usage) beginsOrEndsIn(from, to int64) bool {
	return u.end > from && u.end <= to || u.start > from && u.start <= to
}

// tickDocuments looks for windows that have ended, once a second, continues the
// round, and returns when to call it again. It begins a round only if there is
// nothing to commit, because Commit begins one as well.
func (p *Processor) tickDocuments(now time.Time) time.Time {
	if at := now.UnixMilli(); p.nextEnd <= at && p.endedTo+1000 <= at {
		p.findEnded(at)
	}
	if p.docs.inRound() || !p.dirty.nonEmpty {
		p.handOver(now)
	}
	p.docs.publishOldest(now)
	p.docs.publishWaiting(now)
	if p.docs.inRound() {
		return now.Add(handOverEvery)
	}
	return now.Add(time.Second)
}

// handOver gives the writer the next documents, if it has written all it was given.
// At the end of a round it begins the next one.
func (p *Processor) handOver(now time.Time) {
	d := &p.docs
	d.publishOldest(now)
	if !d.writer.Flushed() || !d.inRound() && !d.beginRound(watermark{p.f.position, p.endedTo}, now) {
		return
	}
	docs, n := make([]records.Window, 0, min(maxDocuments, len(d.remaining))), 0
	// A document must say that its window has ended, even if the clock was set back
	// since: findEnded does not find the window again.
	at := time.UnixMilli(max(now.UnixMilli(), p.endedTo))
	for ; n < len(d.remaining) && len(docs) < maxDocuments; n++ {
		c := p.f.customers.at(d.remaining[n])
		closed := false
		for u := range c.windows {
			if d.needsWrite(u) {
				docs = p.appendDocument(docs, c, u, at)
			}
			closed = closed || u.closed
		}
		if closed {
			d.removeClosed(c)
		}
	}
	d.handedOver, d.remaining, d.handedOverAt = d.remaining[:n], d.remaining[n:], now
	d.writer.Add(docs, 0)
}

// removeClosed removes the customer's closed windows if the round before has
// written their documents, with the end. The next round examines the others again.
func (d *documents) removeClosed(c *customer) {
	c.removeWindows(func(u *usage) bool { return u.closed && !u.changed && u.seq <= d.from.seq && u.end <= d.from.end })
	for u := range c.windows {
		if u.closed {
			d.changed.add(c.number)
		}
	}
}

// resumeDocuments notes the documents that the former owner may not have written.
func (p *Processor) resumeDocuments() {
	if p.o.Restored {
		p.logged.written = watermark{}
	}
	p.docs.to = p.logged.written
	p.endedTo = p.opt.Now().UnixMilli()
	p.endings = schedule{next: uint32(p.endedTo / hourMillis)}
	p.nextEnd = p.endedTo
	for c := range p.f.customers.all {
		for u := range c.windows {
			u.endsAt = 0
			p.scheduleEnd(c, u)
			if u.closed || u.seq > p.logged.written.seq || u.beginsOrEndsIn(p.logged.written.end, p.endedTo) {
				p.docs.changed.add(c.number)
			}
		}
	}
}

// scheduleEnd enters the end of the window in the schedule, or its beginning if
// that is still to come.
func (p *Processor) scheduleEnd(c *customer, u *usage) {
	if u.end <= p.endedTo || u.closed {
		return
	}
	at := u.end
	if u.start > p.endedTo {
		at = u.start
	}
	p.nextEnd = min(p.nextEnd, at)
	if hour := uint32(at / hourMillis); hour != u.endsAt {
		u.endsAt = p.endings.add(hour, c.number)
	}
}

// findEnded finds the windows that have begun or ended up to at and notes that
// their documents must be written. It sets nextEnd to the next end in this hour, or
// else to the beginning of the next hour.
func (p *Processor) findEnded(at int64) {
	hour, before := uint32(at/hourMillis), p.endedTo
	p.endedTo, p.nextEnd = at, (int64(hour)+1)*hourMillis
	look := func(number uint32) {
		c := p.f.customers.at(number)
		for u := range c.windows {
			if u.beginsOrEndsIn(before, at) {
				p.docs.changed.add(number)
			}
			p.scheduleEnd(c, u)
		}
	}
	p.endings.takeUntil(hour-1, look)
	for _, number := range p.endings.hours[hour] {
		look(number)
	}
}

// appendDocument appends the window's document. The windows of other customers must
// not wait for one that cannot be written down.
func (p *Processor) appendDocument(docs []records.Window, c *customer, u *usage, now time.Time) []records.Window {
	err := guard.Do(func() error {
		docs = append(docs, p.document(c, u, now))
		return nil
	})
	if err != nil {
		w := records.Window{Customer: c.id(), Feature: u.feature.name, Start: fromMillis(u.start)}
		p.o.RejectDocument("usage", w.ID(), nil, err)
	}
	return docs
}

// document returns the window's document.
func (p *Processor) document(c *customer, u *usage, now time.Time) records.Window {
	w := p.f.window(c, u, p.o.Partition, now)
	w.Epoch = p.o.Epoch
	return w
}

// window returns the window's document at now, without the owner's epoch.
func (s *state) window(c *customer, u *usage, partition int, now time.Time) records.Window {
	name := cmp.Or(u.planName(), c.planName())
	w := records.Window{Customer: c.id(), Feature: u.feature.name, Plan: s.catalog.Plan(name).Name,
		Start: fromMillis(u.start), End: fromMillis(u.end), Used: u.used, Events: u.events, FirstAt: fromMillis(u.firstAt), LastAt: fromMillis(u.lastAt),
		Partition: partition, Seq: u.seq}
	g := u.feature.gate
	if g == nil {
		return w
	}
	if u.end == 0 {
		var one [1]gate.Segment
		w.Buckets, w.Used, w.Current = u.gateBuckets(), u.total(g, c.segments(&one), now), true
		w.End = now.UTC().Truncate(time.Millisecond)
	} else {
		w.Current = u.start <= now.UnixMilli() && now.UnixMilli() < u.end
	}
	var o *gate.Override
	if own, ok := c.override(u.feature.name); ok {
		o = &own
	}
	w.Limit = gate.Decide(&s.catalog, g.Gate, w.Customer, name, o, gate.Usage{Start: w.Start, End: w.End}, now).Limit
	return w
}
