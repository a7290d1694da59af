package enforcer

import (
	"encoding/json"
	"slices"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/gate"
	"github.com/tidegate-io/tidegate/internal/records"
	"github.com/tidegate-io/tidegate/internal/stream"
)

// evaluate decides about one feature of a customer, publishes the decision if it
// differs from the published one, and emits the limits that were crossed. byUsage
// is true when new usage is the reason. Otherwise, for instance after a change of
// the configuration, a block sends no mail.
func (p *Processor) evaluate(c *customer, feature string, byUsage bool) error {
	g, ok := p.catalog.Gate(feature)
	e := c.features[feature]
	if !ok {
		return p.withdraw(c, feature, e)
	}
	if e == nil {
		e = &entitlement{} // stored only if something is published
	}
	now := p.opt.Now()
	d, w := p.decide(c, g, e, now)
	if e.Published != nil && !e.Published.Allowed && d.Allowed {
		if err := p.emitLimit(limitOf(records.LimitKindUnblocked, e.Published, e.Reached, d.DecidedAt)); err != nil {
			return err
		}
	}
	if err := p.emitCrossings(c, g, e, &d, w, byUsage); err != nil {
		return err
	}
	p.addLink(e, &d)
	changed, err := p.publishDecision(c, e, d)
	if err != nil {
		return err
	}
	if changed {
		c.features[feature] = e
		p.changed(c)
	}
	p.schedule(c, feature, e, g, &d, now)
	return nil
}

// decide returns the decision about a customer at now, and the window that it
// counts.
func (p *Processor) decide(c *customer, g *gate.Gate, e *entitlement, now time.Time) (events.Decision, *records.WindowTotal) {
	o := c.override(g.Feature)
	// The first decision finds the limit, which depends on the window (for grants)
	// but not on the total. A block of a rolling window then needs the limit to work
	// out when it ends.
	u, w := e.usage(g, events.NullValue{}, now)
	d := gate.Decide(p.catalog, g, c.doc.ID, c.planName(), o, u, now)
	if w != nil && g.Window.Kind == gate.Rolling && d.UnblocksAt == nil && (!d.Allowed || d.WouldBlock) {
		u, _ = e.usage(g, d.Limit, now)
		d = gate.Decide(p.catalog, g, c.doc.ID, c.planName(), o, u, now)
	}
	return d, w
}

// linkLife is how long the address in a decision works after the decision's end.
const linkLife = 30 * 24 * time.Hour

// addLink gives a blocked decision the customer's own address to upgrade at.
func (p *Processor) addLink(e *entitlement, d *events.Decision) {
	if p.opt.Link == nil || d.Allowed && !d.WouldBlock || d.Reason == events.NoDecision {
		return
	}
	ends := d.DecidedAt.Truncate(linkLife).Add(linkLife) // changes once in linkLife
	if d.UnblocksAt != nil {
		ends = *d.UnblocksAt
	}
	if own := p.opt.Link(d.Customer, d.Feature, e.Reached, ends.Add(linkLife)); own != "" {
		d.UpgradeURL = own
	}
}

// publishDecision puts d into the bucket and returns true, unless the published
// decision is the same or d needs no key: apps take an absent key for a customer
// of the default plan who is far from every limit.
func (p *Processor) publishDecision(c *customer, e *entitlement, d events.Decision) (bool, error) {
	if e.Published == nil {
		ordinary := d.Allowed && !d.WouldBlock && d.Plan == p.catalog.Default().Name && len(c.doc.Overrides) == 0 &&
			(d.Reason == events.WithinLimit || d.Reason == events.Unlimited)
		if ordinary {
			return false, nil
		}
	} else if sameDecision(e.Published, &d) {
		return false, nil
	}
	d.Position = p.nextPosition()
	b, err := json.Marshal(&d)
	if err != nil {
		return false, err
	}
	e.Published = &d
	return true, p.putDecision(events.DecisionKey(d.Customer, d.Feature), b, nil)
}

// sameDecision reports whether an app would do the same with a and b. How much was
// used matters only near a limit.
func sameDecision(a, b *events.Decision) bool {
	return a.Allowed == b.Allowed && a.Reason == b.Reason && a.WouldBlock == b.WouldBlock && a.Plan == b.Plan &&
		a.Limit == b.Limit && a.Message == b.Message && a.UpgradeURL == b.UpgradeURL &&
		sameTime(a.UnblocksAt, b.UnblocksAt) && sameTime(a.WindowEnd, b.WindowEnd) &&
		(a.WindowEnd == nil || sameTime(a.WindowStart, b.WindowStart)) && // the start of a rolling window moves all the time
		(a.Remaining == b.Remaining || a.Reason == events.Unlimited || a.Reason == events.WithinLimit)
}

func sameTime(a, b *time.Time) bool {
	return a == b || a != nil && b != nil && a.Equal(*b)
}

// withdraw deletes the decision of a gate that is not configured. It keeps the
// totals of windows that still run: the aggregator may have a newer configuration,
// with the gate, and emits each total once.
func (p *Processor) withdraw(c *customer, feature string, e *entitlement) error {
	if e == nil {
		return nil
	}
	published := e.Published
	e.Published = nil
	p.changed(c)
	now := p.opt.Now()
	e.Windows = slices.DeleteFunc(e.Windows, func(w records.WindowTotal) bool { return !w.End.IsZero() && !w.End.After(now) })
	if len(e.Windows) == 0 {
		delete(c.features, feature)
	}
	if published == nil {
		return nil
	}
	return p.deleteKey(events.DecisionKey(c.doc.ID, feature))
}

// deleteKey deletes a key of the decisions bucket.
func (p *Processor) deleteKey(key string) error {
	return p.putDecision(key, nil, nats.Header{"KV-Operation": {"DEL"}})
}

// putDecision writes a key of the decisions bucket with the fence, so that the
// server refuses the puts of a stale owner.
func (p *Processor) putDecision(key string, value []byte, h nats.Header) error {
	bucket := p.o.Names.Bucket(events.BucketDecisions)
	prefix := "$KV." + bucket + "."
	return p.o.PublishFenced(&nats.Msg{Subject: prefix + key, Data: value, Header: h},
		stream.Fence{Stream: "KV_" + bucket, Subject: prefix + records.FenceKey(p.o.Partition), Seq: p.fence})
}

// nextPosition returns the next number for a decision. It begins with the epoch, so
// that it is greater than all numbers of former owners, and has at most 53 bits,
// which readers of JSON keep exactly.
func (p *Processor) nextPosition() int64 {
	p.counter++
	return p.lastPosition()
}

// lastPosition returns the number of the last decision of this owner.
func (p *Processor) lastPosition() int64 { return int64(p.o.Epoch)<<32 | p.counter }

// noticePeriod is how long a crossing of a rolling window is not emitted again.
const noticePeriod = 30 * 24 * time.Hour

// noticeStart returns the start of the window of a crossing. For a rolling window
// that is the notice period, which began at last or begins with w.
func noticeStart(g *gate.Gate, w *records.WindowTotal, last time.Time) time.Time {
	switch {
	case g.Window.Kind != gate.Rolling:
		return w.Start
	case w.StoredAt.Before(last.Add(noticePeriod)):
		return last
	}
	return w.StoredAt.Truncate(time.Millisecond)
}

// emitCrossings emits the warning levels and the limit that d shows as reached, each
// once a window.
func (p *Processor) emitCrossings(c *customer, g *gate.Gate, e *entitlement, d *events.Decision, w *records.WindowTotal, byUsage bool) error {
	if w == nil || !d.Limit.Valid || d.Reason == events.NotInPlan || d.Limit.Sign() <= 0 {
		return nil
	}
	start := noticeStart(g, w, e.WarnedIn)
	silent := !byUsage || w.Silent || !p.o.Recovered.IsZero() && !w.StoredAt.After(p.o.Recovered)
	for _, percent := range g.WarnAt {
		level := d.Limit.Percent(percent)
		if level.Sign() <= 0 || d.Used.Cmp(level) < 0 || e.WarnedIn.Equal(start) && slices.Contains(e.Warned, percent) {
			continue
		}
		if !e.WarnedIn.Equal(start) {
			e.Warned, e.WarnedIn = nil, start
		}
		e.Warned = append(e.Warned, percent)
		p.store(c, g.Feature, e)
		l := limitOf(records.LimitKindThreshold, d, start, w.StoredAt)
		l.Percent, l.Silent = percent, silent
		if err := p.emitLimit(l); err != nil {
			return err
		}
	}
	if start = noticeStart(g, w, e.Reached); d.Used.Cmp(d.Limit.Value) < 0 || e.Reached.Equal(start) {
		return nil
	}
	e.Reached = start
	p.store(c, g.Feature, e)
	l := limitOf(records.LimitKindReached, d, start, w.StoredAt)
	l.Percent, l.Silent = 100, silent
	return p.emitLimit(l)
}

// store makes e the entitlement to a feature, which may be new.
func (p *Processor) store(c *customer, feature string, e *entitlement) {
	c.features[feature] = e
	p.changed(c)
}

// limitOf returns the record of a crossing that a decision shows.
func limitOf(kind records.LimitKind, d *events.Decision, start, at time.Time) records.Limit {
	l := records.Limit{Kind: kind, Customer: d.Customer, Feature: d.Feature, Plan: d.Plan, Limit: d.Limit.Value, Used: d.Used.Value,
		WindowStart: start, UnblocksAt: d.UnblocksAt, At: at, Shadow: d.WouldBlock}
	if d.WindowEnd != nil {
		l.WindowEnd = *d.WindowEnd
	}
	return l
}

func (p *Processor) emitLimit(l records.Limit) error {
	b, err := json.Marshal(&l)
	if err != nil {
		return err
	}
	return p.o.Publish(&nats.Msg{Subject: p.o.Names.Limits(p.o.Partition), Data: b})
}

// gates returns the list of gates for apps.
func (p *Processor) gates() events.Gates {
	gs := events.Gates{Partitions: p.opt.Partitions, DefaultPlan: p.catalog.Default().Name, Gates: []events.Gate{}, UpdatedAt: p.opt.Now().UTC()}
	for i := range p.catalog.Gates {
		g := &p.catalog.Gates[i]
		off := p.gatesOff[g.Feature]
		public := p.catalog.Public(g, off.Off)
		public.OffUntil = off.Until
		gs.Gates = append(gs.Gates, public)
	}
	return gs
}

// publishGates puts the gates into the decisions bucket, for apps. Only the owner
// of partition 0 does so.
func (p *Processor) publishGates() error {
	if p.o.Partition != 0 {
		return nil
	}
	gs := p.gates()
	p.gatesAt = gs.UpdatedAt
	b, err := json.Marshal(&gs)
	if err != nil {
		return err
	}
	return p.putDecision(events.GatesKey, b, nil)
}
