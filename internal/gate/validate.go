package gate

import (
	"errors"
	"fmt"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/tidegate-io/tidegate/events"
)

// Bounds of what a catalog and an override hold.
const (
	MaxName      = 128       // bytes of a feature's or plan's name
	MaxDays      = 3660      // of a window
	MaxReason    = 500       // bytes of an override's reason
	MaxUniqueCap = 1_000_000 // different values that a unique meter tells apart: they are in memory
	MaxOverrides = 1000      // in one change of a customer
)

// Validate returns why the fold cannot count by the catalog, or nil. Package config
// explains a mistake by its line; this also holds catalogs that come from elsewhere.
func (c *Catalog) Validate() error {
	plans, defaults := map[string]bool{}, 0
	for _, p := range c.Plans {
		if err := newName("plan", p.Name, plans); err != nil {
			return err
		}
		if p.Default {
			defaults++
		}
	}
	if defaults != 1 {
		return fmt.Errorf("%d plans, %d of them the default", len(c.Plans), defaults)
	}
	features := map[string]bool{}
	for i := range c.Gates {
		g := &c.Gates[i]
		if err := newName("feature", g.Feature, features); err != nil {
			return err
		}
		if err := g.validate(plans); err != nil {
			return fmt.Errorf("gate %q: %w", g.Feature, err)
		}
	}
	return nil
}

// ValidFeature returns nil when a feature can have the name.
func ValidFeature(name string) error { return validName("feature", name) }

// ValidPlanName returns nil when a plan can have the name, or for "", the default plan.
func ValidPlanName(name string) error {
	if name == "" {
		return nil
	}
	return validName("plan", name)
}

func validName(what, name string) error {
	if name == "" || len(name) > MaxName || !utf8.ValidString(name) || strings.ContainsFunc(name, unicode.IsControl) {
		return fmt.Errorf("a %s cannot be named %.80q", what, name)
	}
	return nil
}

func newName(what, name string, seen map[string]bool) error {
	if err := validName(what, name); err != nil {
		return err
	}
	if seen[name] {
		return fmt.Errorf("the %s %q stands twice", what, name)
	}
	seen[name] = true
	return nil
}

func (g *Gate) validate(plans map[string]bool) error {
	if err := g.Meter.validate(); err != nil {
		return err
	}
	if err := g.Window.validate(); err != nil {
		return err
	}
	for plan, l := range g.Limits {
		switch {
		case !plans[plan]:
			return fmt.Errorf("it has a limit for %.80q, but there is no plan of that name", plan)
		case l.Value.Sign() < 0:
			return fmt.Errorf("the limit of the plan %q is negative", plan)
		case l.Value.Nanos != 0 && g.Meter.Aggregate.Whole():
			return fmt.Errorf("the limit of the plan %q has a fraction, but %s counts whole uses", plan, g.Meter.Aggregate)
		}
	}
	last := 0
	for _, w := range g.WarnAt {
		if w <= last || w > 99 {
			return fmt.Errorf("warning levels %v do not ascend from 1 to 99", g.WarnAt)
		}
		last = w
	}
	return nil
}

func (m *Meter) validate() error {
	switch {
	case m.Event == "" || len(m.Event) > events.MaxIDBytes || strings.HasPrefix(m.Event, events.ControlPrefix):
		return fmt.Errorf("an event cannot be called %.80q", m.Event)
	case m.Cap < 0 || m.Cap > MaxUniqueCap:
		return fmt.Errorf("the cap %d is not between 0 and %d", m.Cap, MaxUniqueCap)
	}
	switch m.Aggregate {
	case Count:
		return nil
	case Sum, Max, Unique:
		if m.Value == "" {
			return fmt.Errorf("%s needs a value", m.Aggregate)
		}
		return nil
	}
	return fmt.Errorf("there is no aggregate %.80q", string(m.Aggregate))
}

func (s *WindowSpec) validate() error {
	switch s.Kind {
	case Calendar:
		return nil
	case Anniversary, Rolling:
		if s.Days < 1 || s.Days > MaxDays {
			return fmt.Errorf("a window has 1 to %d days, not %d", MaxDays, s.Days)
		}
		return nil
	}
	return fmt.Errorf("there is no window %.80q", string(s.Kind))
}

// Validate returns why nothing can be decided by the override, or nil, also for none.
func (o *Override) Validate() error {
	switch {
	case o == nil:
		return nil
	case o.Limit == nil && o.Grant == nil && !o.Unlimited:
		return errors.New("neither a limit nor a grant")
	case o.Unlimited && (o.Limit != nil || o.Grant != nil):
		return errors.New("no limit at all, and a limit or a grant")
	case o.Limit != nil && o.Limit.Sign() < 0:
		return errors.New("the limit is negative")
	case o.Grant != nil && o.Grant.Sign() < 0:
		return errors.New("the grant is negative")
	case len(o.Reason) > MaxReason:
		return fmt.Errorf("the reason has %d bytes, at most %d are allowed", len(o.Reason), MaxReason)
	case o.Until != nil:
		return ValidMoment(*o.Until)
	}
	return nil
}

// ValidReason returns nil for a reason that can be kept and shown: of at most MaxReason
// bytes, without control characters and those that reverse the direction of text.
func ValidReason(s string) error {
	if len(s) > MaxReason {
		return fmt.Errorf("the reason has %d bytes, at most %d are allowed", len(s), MaxReason)
	}
	for _, r := range s {
		if unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r) {
			return fmt.Errorf("the reason has the character %U, which is not shown as text: leave it out", r)
		}
	}
	return nil
}

// ValidMoment returns nil for a moment with which windows can be computed, in the
// years 1970 to 2200.
func ValidMoment(t time.Time) error {
	if y := t.UTC().Year(); y < 1970 || y > 2200 {
		return fmt.Errorf("%s lies outside the years 1970 to 2200", t.UTC().Format(time.RFC3339))
	}
	return nil
}
