package aggregator

import (
	"cmp"
	"slices"
	"sync/atomic"
	"time"

	"github.com/tidegate-io/tidegate/internal/gate"
	"github.com/tidegate-io/tidegate/internal/records"
	"github.com/tidegate-io/tidegate/internal/stream"
	"github.com/tidegate-io/tidegate/internal/writeback"
)

// documents are written in rounds with a second between them: of what changed
// since the one before began. A document is drawn up when the store can take it, so that a
// store that is slow or away costs a bit a customer, and not a document a change.
type documents struct {
	writer  *writeback.Writer[string, records.Window]
	changed numbers   // customers, since the round began
	left    []uint32  // customers whose documents are still to be handed over in this round
	handed  []uint32  // customers whose documents the writer has and has not written all of
	from    reach     // of the round before
	to      reach     // of this round
	last    time.Time // when the last were handed over
	counted time.Time // when count last counted

	changedSince, roundSince time.Time    // when the first of them changed; zero: there is none
	waiting, since           atomic.Int64 // customers, and the earlier of both (Unix ns), for other goroutines
}

// reach is how far documents are written: they hold every change up to seq, and
// say of every window that ended up to end (ms) that it did.
type reach struct {
	seq uint64
	end int64
}

const (
	roundAfter = time.Second
	// part is how many documents are drawn up at a time: folding waits for it.
	part      = 5000
	partEvery = 50 * time.Millisecond
)

// begun says whether a round has begun and is not handed over yet.
func (d *documents) begun() bool { return len(d.left) > 0 }

// written is how far documents have been written.
func (d *documents) written() reach {
	if len(d.left) == 0 && d.writer.Flushed() {
		return d.to
	}
	return d.from
}

// next begins a new round, unless one has just ended.
func (d *documents) next(to reach, now time.Time) bool {
	if now.Sub(d.last) < roundAfter {
		return false
	}
	d.from, d.to = d.to, to
	d.left = slices.AppendSeq(d.left[:0], d.changed.all)
	d.changed.clear()
	d.roundSince, d.changedSince = d.changedSince, time.Time{}
	return len(d.left) > 0
}

// note keeps since when something waits where other goroutines see it.
func (d *documents) note(now time.Time) {
	if d.changed.some && d.changedSince.IsZero() {
		d.changedSince = now
	}
	if d.writer.Flushed() {
		if d.handed = nil; !d.begun() {
			d.roundSince = time.Time{}
		}
	}
	since := int64(0)
	if first := cmp.Or(d.roundSince, d.changedSince); !first.IsZero() {
		since = first.UnixNano()
	}
	d.since.Store(since)
}

// count keeps how many wait where other goroutines see it: once a second, for
// while the store is away there may be many.
func (d *documents) count(now time.Time) {
	waits := d.changed.some || d.begun() || d.handed != nil
	if waits && now.Sub(d.counted).Abs() < time.Second {
		return
	}
	d.counted = now
	n := d.changed.len()
	for _, number := range d.handed {
		if !d.changed.has(number) {
			n++
		}
	}
	for _, number := range d.left {
		if !d.changed.has(number) {
			n++
		}
	}
	d.waiting.Store(int64(n))
}

// Documents implements stream.Documenter. The customers are counted, each of
// whom has one document or more.
func (p *Processor) Documents() stream.Documents {
	out := stream.Documents{Collection: "usage", Waiting: int(p.docs.waiting.Load())}
	if since := p.docs.since.Load(); since != 0 && out.Waiting > 0 {
		out.Oldest = max(0, p.opt.Now().Sub(time.Unix(0, since)))
	}
	return out
}

// lacks says whether a window is to be written in this round.
func (d *documents) lacks(u *usage) bool {
	return u.seq > d.from.seq || u.turns(d.from.end, d.to.end)
}

// turns says whether a window begins or ends in (from, to]: it begins after its
// first event if a sender's clock ran ahead.
func (u *usage) turns(from, to int64) bool {
	return u.end > from && u.end <= to || u.start > from && u.start <= to
}

// tendDocuments looks for ends, once a second, goes on with a round, and says
// when it is to be called again. A round begins with a commit, unless there is
// nothing to commit.
func (p *Processor) tendDocuments(now time.Time) time.Time {
	if at := now.UnixMilli(); p.nextEnd <= at && p.flipped+1000 <= at {
		p.flip(at)
	}
	if p.docs.begun() || !p.dirty.some {
		p.handOver(now)
	}
	p.docs.note(now)
	p.docs.count(now)
	if p.docs.begun() {
		return now.Add(partEvery)
	}
	return now.Add(time.Second)
}

// handOver gives the writer the next documents once it has written the last.
func (p *Processor) handOver(now time.Time) {
	d := &p.docs
	d.note(now)
	if !d.writer.Flushed() || !d.begun() && !d.next(reach{p.f.position, p.flipped}, now) {
		return
	}
	docs, n := make([]records.Window, 0, min(part, len(d.left))), 0
	// A window whose end was found is not found again when the clock is set back.
	at := time.UnixMilli(max(now.UnixMilli(), p.flipped))
	for ; n < len(d.left) && len(docs) < part; n++ {
		c := p.f.customers.at(d.left[n])
		closed := false
		for u := range c.windows {
			if d.lacks(u) {
				docs = append(docs, p.document(c, u, at))
			}
			closed = closed || u.closed
		}
		if closed {
			d.letGo(c)
		}
	}
	d.handed, d.left, d.last = d.left[:n], d.left[n:], now
	d.writer.Add(docs, 0)
}

// letGo forgets closed windows whose documents were written by the round before,
// and say that they ended. The next round asks again about the others.
func (d *documents) letGo(c *customer) {
	c.forget(func(u *usage) bool { return u.closed && !u.changed && u.seq <= d.from.seq && u.end <= d.from.end })
	for u := range c.windows {
		if u.closed {
			d.changed.add(c.number)
		}
	}
}

// rewriteDocuments writes again what the former owner may not have written.
func (p *Processor) rewriteDocuments() {
	p.docs.to = p.saved.written
	p.flipped = p.opt.Now().UnixMilli()
	p.ends = calendar{next: uint32(p.flipped / hourLength)}
	p.nextEnd = p.flipped
	for c := range p.f.customers.all {
		for u := range c.windows {
			u.endsAt = 0
			p.scheduleEnd(c, u)
			if u.closed || u.seq > p.saved.written.seq || u.turns(p.saved.written.end, p.flipped) {
				p.docs.changed.add(c.number)
			}
		}
	}
}

// scheduleEnd sees to it that flip finds the end of a window, and before it a
// beginning that is still to come.
func (p *Processor) scheduleEnd(c *customer, u *usage) {
	if u.end <= p.flipped || u.closed {
		return
	}
	at := u.end
	if u.start > p.flipped {
		at = u.start
	}
	p.nextEnd = min(p.nextEnd, at)
	if hour := uint32(at / hourLength); hour != u.endsAt {
		u.endsAt = p.ends.add(hour, c.number)
	}
}

// flip finds the windows that have ended, whose documents are to say so, and
// when to look again: at the next end within the hour, or in the next hour.
func (p *Processor) flip(at int64) {
	hour, before := uint32(at/hourLength), p.flipped
	p.flipped, p.nextEnd = at, (int64(hour)+1)*hourLength
	look := func(number uint32) {
		c := p.f.customers.at(number)
		for u := range c.windows {
			if u.turns(before, at) {
				p.docs.changed.add(number)
			}
			p.scheduleEnd(c, u)
		}
	}
	p.ends.take(hour-1, look)
	for _, number := range p.ends.hours[hour] {
		look(number)
	}
}

// document is the window as it is written.
func (p *Processor) document(c *customer, u *usage, now time.Time) records.Window {
	w := p.f.window(c, u, p.o.Partition, now)
	w.Epoch = p.o.Epoch
	return w
}

// window is a window as others see it at now, without the epoch.
func (s *state) window(c *customer, u *usage, partition int, now time.Time) records.Window {
	name := cmp.Or(u.planName(), c.planName())
	w := records.Window{Customer: c.id(), Feature: u.feature.name, Plan: s.catalog.Plan(name).Name,
		Start: ms(u.start), End: ms(u.end), Used: u.used, Events: u.events, FirstAt: ms(u.firstAt), LastAt: ms(u.lastAt),
		Partition: partition, Seq: u.seq}
	g := u.feature.gate
	if g == nil {
		return w
	}
	if u.end == 0 {
		var one [1]gate.Segment
		w.Buckets, w.Used, w.Current = u.rolling(), u.total(g, c.segments(&one), now), true
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
