package records

import (
	"encoding/json"
	"strconv"
	"time"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/gate"
)

// The types of control events, which are published to usage.p.<p>.~control as
// CloudEvents JSON. Their source is ControlSource. Their id is derived from their
// cause, so that a repeated event counts once.
const (
	ControlConfig   = events.ControlPrefix + "config"   // data: the catalog of plans and gates
	ControlPlan     = events.ControlPrefix + "plan"     // data: PlanControl
	ControlAnchor   = events.ControlPrefix + "anchor"   // data: AnchorControl
	ControlOverride = events.ControlPrefix + "override" // data: OverrideControl
)

// ControlSource is the source of control events.
const ControlSource = "tidegate"

// PlanControl says that a customer's plan changed at From. With Cut a new window
// begins there.
type PlanControl struct {
	Plan string    `json:"plan"`
	From time.Time `json:"from"`
	Cut  bool      `json:"cut,omitempty"`
	// Position is the sequence of the cause in ACCOUNT. It orders control events: a
	// retry may store an older one after a newer one.
	Position uint64 `json:"position,omitempty"`
}

// AnchorControl begins a new window at From. Later windows are computed from Anchor.
type AnchorControl struct {
	Anchor time.Time `json:"anchor"`
	From   time.Time `json:"from"`
}

// OverrideControl sets a customer's override, or removes it with nil.
type OverrideControl struct {
	Feature  string         `json:"feature"`
	Override *gate.Override `json:"override"`
	Position uint64         `json:"position,omitempty"` // as in PlanControl
}

// Control returns the JSON of a control event.
func Control(typ, customer, id string, data any) ([]byte, error) {
	b, err := json.Marshal(data)
	if err != nil {
		return nil, err
	}
	e := events.Event{ID: id, Source: ControlSource, Type: typ, Subject: customer, Data: b}
	return e.AppendJSON(nil), nil
}

// FenceKey returns the key in the decisions bucket that protects a partition's
// decisions from a stale owner.
func FenceKey(p int) string { return FencePrefix + strconv.Itoa(p) }

// FencePrefix is what all keys of FenceKey begin with. No customer's token does.
const FencePrefix = "=own."
