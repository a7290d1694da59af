package aggregator

import (
	"cmp"
	"context"
	"time"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/plan"
	"github.com/tidegate-io/tidegate/internal/stream"
)

// bucketsAtOnce bounds the documents of rolling windows that are in memory for
// one write of them.
const bucketsAtOnce = 50_000

// writeDocuments writes windows as they are by the time of writing: while the
// store is away, nothing but which ones waits.
func (p *Processor) writeDocuments(ctx context.Context, windows []emission) error {
	for len(windows) > 0 {
		var docs []events.Window
		err := p.o.Do(ctx, func() {
			now := p.opt.Now()
			for buckets := 0; len(docs) < len(windows) && buckets < bucketsAtOnce; {
				w := windows[len(docs)]
				docs = append(docs, p.document(w.c, w.u, now))
				buckets += len(docs[len(docs)-1].Buckets)
			}
		})
		if err != nil {
			return err
		}
		if err := p.opt.Store.WriteUsage(ctx, docs); err != nil {
			return err
		}
		windows = windows[len(docs):]
	}
	return nil
}

// Documents implements stream.Documenter.
func (p *Processor) Documents() stream.Documents {
	l := p.docs.Lag()
	return stream.Documents{Collection: "usage", Waiting: l.Waiting, Oldest: l.Oldest}
}

// rewriteDocuments writes again what the former owner may not have written.
func (p *Processor) rewriteDocuments() {
	now := p.opt.Now()
	var docs []emission
	for _, c := range p.f.customers {
		for _, u := range c.windows {
			if u.seq > p.saved.documents || u.end > p.saved.flipped && u.end <= now.UnixMilli() {
				docs = append(docs, emission{c, u})
			}
		}
	}
	p.docs.Add(docs, p.f.position)
	p.flipped = now.UnixMilli()
	p.flip(now) // finds the next end
}

// flip writes the documents of windows that have ended, and finds the next end.
func (p *Processor) flip(now time.Time) {
	var docs []emission
	at := now.UnixMilli()
	p.nextEnd = 0
	for _, c := range p.f.customers {
		for _, u := range c.windows {
			switch {
			case u.end == 0 || u.closed:
			case u.end > at:
				if p.nextEnd == 0 || u.end < p.nextEnd {
					p.nextEnd = u.end
				}
			case u.end > p.flipped:
				docs = append(docs, emission{c, u})
			}
		}
	}
	p.docs.Add(docs, 0)
	p.flipped = at
}

// document is the window as it is written.
func (p *Processor) document(c *customer, u *usage, now time.Time) events.Window {
	w := p.f.window(c, u, p.o.Partition, now)
	w.Epoch = p.o.Epoch
	return w
}

// window is a window as others see it at now, without the epoch.
func (s *state) window(c *customer, u *usage, partition int, now time.Time) events.Window {
	name := cmp.Or(u.plan, c.plan)
	w := events.Window{Customer: c.id, Feature: u.feature, Plan: s.catalog.Plan(name).Name,
		Start: ms(u.start), End: ms(u.end), Used: u.used, Events: u.events, FirstAt: ms(u.firstAt), LastAt: ms(u.lastAt),
		Partition: partition, Seq: u.seq}
	g := s.byFeature[u.feature]
	if g == nil {
		return w
	}
	if u.end == 0 {
		w.Buckets, w.Used, w.Current = u.rolling(), u.total(g, c.segments, now), true
		w.End = now.UTC().Truncate(time.Millisecond)
	} else {
		w.Current = u.start <= now.UnixMilli() && now.UnixMilli() < u.end
	}
	var o *events.Override
	if own, ok := c.overrides[u.feature]; ok {
		o = &own
	}
	w.Limit = plan.Decide(&s.catalog, g.Gate, c.id, name, o, plan.Usage{Start: w.Start, End: w.End}, now).Limit
	return w
}
