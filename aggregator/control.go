package aggregator

import (
	"cmp"
	"encoding/json"
	"fmt"
	"time"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/fingerprint"
	"github.com/tidegate-io/tidegate/internal/gate"
	"github.com/tidegate-io/tidegate/internal/records"
)

// foldControl folds a control event, which changes the configuration, or a
// customer's plan, anchor or override. It counts once, like usage.
func (f *folder) foldControl(data []byte) error {
	e, err := events.DecodeControl(data)
	if err != nil {
		return err
	}
	change, err := f.decodeControl(&e)
	if err != nil {
		return fmt.Errorf("%w: %w", events.ErrInvalid, err)
	}
	fp, hour := fingerprint.Of(e.Subject, e.Source, e.ID), fingerprint.Hour(f.now)
	if err := f.checkNew(fp); err != nil {
		return err
	}
	change()
	f.seen.Add(fp, hour)
	f.onCounted(fingerprint.Entry{FP: fp, Hour: hour})
	return nil
}

// decodeControl returns the change that a control event makes, which cannot fail: what
// a control event says is checked like a configuration.
func (f *folder) decodeControl(e *events.Event) (change func(), err error) {
	if e.Source != records.ControlSource || e.ID == "" {
		return nil, fmt.Errorf("a control event has the source %q and an id", records.ControlSource)
	}
	if e.Type == records.ControlConfig {
		var c gate.Catalog
		if e.Subject != "" {
			return nil, fmt.Errorf("a configuration concerns no customer, but this one names %.80q", e.Subject)
		}
		if err := json.Unmarshal(e.Data, &c); err != nil {
			return nil, err
		}
		if f.fixedCatalog {
			return func() {}, nil
		}
		return func() { f.configure(c) }, c.Validate()
	}
	if err := f.ours(e.Subject); err != nil {
		return nil, err
	}
	switch e.Type {
	case records.ControlPlan:
		var p records.PlanControl
		if err := json.Unmarshal(e.Data, &p); err != nil {
			return nil, err
		}
		return func() { f.changePlan(f.customer(e.Subject), p) }, cmp.Or(gate.ValidPlanName(p.Plan), f.validFrom(p.From))
	case records.ControlAnchor:
		var a records.AnchorControl
		if err := json.Unmarshal(e.Data, &a); err != nil {
			return nil, err
		}
		return func() { f.cut(f.customer(e.Subject), a.From, a.Anchor) }, cmp.Or(f.validFrom(a.From), gate.ValidMoment(a.Anchor))
	case records.ControlOverride:
		var o records.OverrideControl
		if err := json.Unmarshal(e.Data, &o); err != nil {
			return nil, err
		}
		return func() { f.setOverride(f.customer(e.Subject), o) }, cmp.Or(gate.ValidFeature(o.Feature), o.Override.Validate())
	}
	return nil, fmt.Errorf("unknown control event %.80q", e.Type)
}

// validFrom returns nil for a moment at which a window can have been cut. One in the
// future would end windows that have not begun.
func (f *folder) validFrom(at time.Time) error {
	return cmp.Or(gate.ValidMoment(at), events.CheckTime(at, f.now, 0))
}

// ours returns nil for a customer of this partition.
func (f *folder) ours(customer string) error {
	if err := events.ValidateCustomer(customer); err != nil {
		return err
	}
	if events.PartitionOf(customer, f.partitions) != f.partition {
		return fmt.Errorf("customer %q does not belong to partition %d of %d", customer, f.partition, f.partitions)
	}
	return nil
}

// configure puts a catalog in force. It ends the running windows of gates whose
// period has changed, and emits again the totals whose thresholds have changed.
func (f *folder) configure(c gate.Catalog) {
	old := map[*feature]*preparedGate{}
	for _, ft := range f.features {
		old[ft] = ft.gate
	}
	f.setCatalog(c)
	for cu := range f.customers.all {
		for u := range cu.windows {
			if u.detail != nil {
				u.detail.sums.valid = false
			}
			g, before := u.feature.gate, old[u.feature]
			if g == nil {
				continue
			}
			if before != nil && before.Window != g.Window && u.end > f.now.UnixMilli() {
				f.endForNewPeriod(cu, u, g)
			}
			if before == nil || !sameThresholds(before, g) {
				f.emitAgain(cu, u)
			}
		}
	}
}

func sameThresholds(a, b *preparedGate) bool {
	if len(a.thresholds) != len(b.thresholds) {
		return false
	}
	for i := range a.thresholds {
		if a.thresholds[i] != b.thresholds[i] {
			return false
		}
	}
	return true
}

// changePlan sets a customer's plan and, if the control event says so, cuts the
// windows.
func (f *folder) changePlan(c *customer, p records.PlanControl) {
	before := f.catalog.Plan(c.planName()).Name
	if p.Cut {
		f.cut(c, p.From, p.From)
	}
	if !c.acceptSetting("plan", p.Position) {
		return
	}
	c.ensureExtra().plan, c.changed = p.Plan, true
	f.onChange(c, nil)
	for u := range c.windows { // their documents contain plan and limit
		switch {
		case u.closed:
		case u.end == 0 || u.end > p.From.UnixMilli():
			f.markChanged(c, u, false)
		case u.planName() == "": // it ended under the plan before
			u.ensureDetail().plan = before
			f.markChanged(c, u, false)
		}
	}
}

// acceptSetting reports whether a control event may set key. It may not if a newer
// one has set it: a retry can put an older event behind a newer one in the stream.
func (c *customer) acceptSetting(key string, position uint64) bool {
	settings := c.ensureExtra().settings
	for i := range settings {
		if settings[i].key == key {
			newer := position >= settings[i].position
			settings[i].position = max(settings[i].position, position)
			return newer
		}
	}
	c.extra.settings = append(settings, setting{key, position})
	return true
}

// cut ends the customer's running windows at from. The next windows begin there,
// and those after it at whole periods from anchor.
func (f *folder) cut(c *customer, from, anchor time.Time) {
	c.changed, c.ensureExtra().cutAt = true, max(c.cutAt(), from.UnixMilli())
	f.onChange(c, nil)
	for u := range c.windows {
		f.emitBefore(c, u, true)
	}
	var one [1]gate.Segment
	if !c.known { // it has no windows yet
		c.setSegments(gate.FirstSegment(anchor))
		return
	}
	c.setSegments(gate.Cut(c.segments(&one), from, anchor))
	at := from.UTC().Truncate(time.Millisecond).UnixMilli()
	for u := range c.windows {
		switch {
		case u.closed:
		case u.end == 0:
			f.emitAgain(c, u)
		case u.start < at && at < u.end:
			f.endAt(c, u, at)
		case u.start >= at:
			f.endAfterCut(c, u)
		}
	}
}

// endAfterCut sets the end of a window that begins after a cut: usage had opened
// it before the control event came. If no window begins there any more, it ends
// where it begins, so that it is never the current one. It keeps its count.
func (f *folder) endAfterCut(c *customer, u *usage) {
	end := u.start
	if g := u.feature.gate; g != nil {
		var one [1]gate.Segment
		if w := g.Window.At(c.segments(&one), fromMillis(u.start)); w.Start.UnixMilli() == u.start {
			end = w.End.UnixMilli()
		}
	}
	if end != u.end {
		f.endAt(c, u, end)
	}
}

// endForNewPeriod ends a running window because its gate has a new period g. The
// window that g gives for the present time takes over, so this one ends where that
// one begins, or where that one ends if both begin at the same time.
func (f *folder) endForNewPeriod(c *customer, u *usage, g *preparedGate) {
	var one [1]gate.Segment
	current, end := g.Window.At(c.segments(&one), f.now), u.end
	if current.Start.UnixMilli() == u.start {
		end = current.End.UnixMilli()
	} else {
		end = max(u.start, min(end, current.Start.UnixMilli()))
	}
	f.emitBefore(c, u, true)
	f.endAt(c, u, end)
}

// endAt moves the end of a window, and emits it silently because the enforcer must
// have the new end.
func (f *folder) endAt(c *customer, u *usage, at int64) {
	u.end = at
	f.markChanged(c, u, false)
	u.emit, u.silent = true, true
	f.onChange(c, u)
}

// setOverride sets or deletes a customer's override of one feature.
func (f *folder) setOverride(c *customer, o records.OverrideControl) {
	if !c.acceptSetting("override/"+o.Feature, o.Position) {
		return
	}
	if o.Override == nil {
		delete(c.ensureExtra().overrides, o.Feature)
	} else {
		if c.ensureExtra().overrides == nil {
			c.extra.overrides = map[string]gate.Override{}
		}
		c.extra.overrides[o.Feature] = *o.Override
	}
	c.changed = true
	f.onChange(c, nil)
	for u := range c.windows {
		if u.feature.name == o.Feature && !u.closed {
			f.emitAgain(c, u)
		}
	}
}
