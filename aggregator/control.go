package aggregator

import (
	"encoding/json"
	"fmt"
	"time"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/fingerprint"
	"github.com/tidegate-io/tidegate/internal/gate"
	"github.com/tidegate-io/tidegate/internal/records"
)

// control folds a control event: what else than usage changes the windows. It
// counts once, like usage.
func (f *folder) control(data []byte) error {
	e, err := events.DecodeControl(data)
	if err != nil {
		return err
	}
	fp, hour := fingerprint.Of(e.Subject, e.Source, e.ID), fingerprint.Hour(f.now)
	if err := f.isNew(fp); err != nil {
		return err
	}
	switch e.Type {
	case records.ControlConfig:
		var c gate.Catalog
		if err = json.Unmarshal(e.Data, &c); err == nil && !f.fixed {
			f.configure(c)
		}
	case records.ControlPlan:
		var p records.PlanControl
		if err = json.Unmarshal(e.Data, &p); err == nil {
			f.changePlan(f.customer(e.Subject), p)
		}
	case records.ControlAnchor:
		var a records.AnchorControl
		if err = json.Unmarshal(e.Data, &a); err == nil {
			f.cut(f.customer(e.Subject), a.From, a.Anchor)
		}
	case records.ControlOverride:
		var o records.OverrideControl
		if err = json.Unmarshal(e.Data, &o); err == nil {
			f.override(f.customer(e.Subject), o)
		}
	default:
		err = fmt.Errorf("unknown control event %q", e.Type)
	}
	if err != nil {
		return fmt.Errorf("%w: %w", events.ErrInvalid, err)
	}
	f.seen.Add(fp, hour)
	f.counted(fingerprint.Entry{FP: fp, Hour: hour})
	return nil
}

// configure makes a catalog the one in force, and tells again all totals whose
// thresholds are other ones now.
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
				f.replace(cu, u, g)
			}
			if before == nil || !sameThresholds(before, g) {
				f.retell(cu, u)
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

// retell tells the enforcer a window's total again, without a mail.
func (f *folder) retell(c *customer, u *usage) {
	f.settle(c, u, true)
	f.touch(c, u, true)
	u.silent = true
}

func (f *folder) changePlan(c *customer, p records.PlanControl) {
	before := f.catalog.Plan(c.planName()).Name
	if p.Cut {
		f.cut(c, p.From, p.From)
	}
	if !c.newest("plan", p.Position) {
		return
	}
	c.rare().plan, c.changed = p.Plan, true
	f.touched(c, nil)
	for u := range c.windows { // their documents name plan and limit
		switch {
		case u.closed:
		case u.end == 0 || u.end > p.From.UnixMilli():
			f.touch(c, u, false)
		case u.planName() == "":
			u.detailed().plan = before
			f.touch(c, u, false)
		}
	}
}

// newest says whether a control event is not older than the one that set the
// same before: a retry may have put it behind a newer one.
func (c *customer) newest(what string, position uint64) bool {
	settings := c.rare().settings
	for i := range settings {
		if settings[i].what == what {
			newer := position >= settings[i].position
			settings[i].position = max(settings[i].position, position)
			return newer
		}
	}
	c.extra.settings = append(settings, setting{what, position})
	return true
}

// cut ends the running windows at from, where new ones begin.
func (f *folder) cut(c *customer, from, anchor time.Time) {
	c.changed, c.rare().cutAt = true, max(c.cutAt(), from.UnixMilli())
	f.touched(c, nil)
	for u := range c.windows {
		f.settle(c, u, true)
	}
	var one [1]gate.Segment
	if !c.known { // nothing to cut yet
		c.setSegments(gate.FirstSegment(anchor))
		return
	}
	c.setSegments(gate.Cut(c.segments(&one), from, anchor))
	at := from.UTC().Truncate(time.Millisecond).UnixMilli()
	for u := range c.windows {
		switch {
		case u.closed:
		case u.end == 0:
			f.retell(c, u)
		case u.start < at && at < u.end:
			f.endAt(c, u, at)
		case u.start >= at:
			f.retile(c, u)
		}
	}
}

// retile ends a window behind a cut that the cut leaves no room for: the
// control event came after usage had opened it. What was counted there stays
// there, in a window without extent.
func (f *folder) retile(c *customer, u *usage) {
	end := u.start
	if g := u.feature.gate; g != nil {
		var one [1]gate.Segment
		if w := g.Window.At(c.segments(&one), ms(u.start)); w.Start.UnixMilli() == u.start {
			end = w.End.UnixMilli()
		}
	}
	if end != u.end {
		f.endAt(c, u, end)
	}
}

// replace ends a window where that of another period begins which is the
// running one now.
func (f *folder) replace(c *customer, u *usage, g *preparedGate) {
	var one [1]gate.Segment
	w, end := g.Window.At(c.segments(&one), f.now), u.end
	if w.Start.UnixMilli() == u.start {
		end = w.End.UnixMilli()
	} else {
		end = max(u.start, min(end, w.Start.UnixMilli()))
	}
	f.settle(c, u, true)
	f.endAt(c, u, end)
}

// endAt moves the end of a window, which the enforcer must know of.
func (f *folder) endAt(c *customer, u *usage, at int64) {
	u.end = at
	f.touch(c, u, false)
	u.emit, u.silent = true, true
	f.touched(c, u)
}

func (f *folder) override(c *customer, o records.OverrideControl) {
	if !c.newest("override/"+o.Feature, o.Position) {
		return
	}
	if o.Override == nil {
		delete(c.rare().overrides, o.Feature)
	} else {
		if c.rare().overrides == nil {
			c.extra.overrides = map[string]gate.Override{}
		}
		c.extra.overrides[o.Feature] = *o.Override
	}
	c.changed = true
	f.touched(c, nil)
	for u := range c.windows {
		if u.feature.name == o.Feature && !u.closed {
			f.retell(c, u)
		}
	}
}
