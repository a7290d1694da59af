package records

import (
	"encoding/json"
	"strconv"
	"time"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/gate"
)

// The types of control events, published to usage.p.<p>.~control as CloudEvents
// JSON. Their source is ControlSource and their id is derived from what caused
// them, so that a repetition counts once.
const (
	ControlConfig   = events.ControlPrefix + "config"   // data: the catalog of plans and gates
	ControlPlan     = events.ControlPrefix + "plan"     // data: PlanControl
	ControlAnchor   = events.ControlPrefix + "anchor"   // data: AnchorControl
	ControlOverride = events.ControlPrefix + "override" // data: OverrideControl
)

// ControlSource is the source of control events.
const ControlSource = "tidegate"

// PlanControl says that a customer's plan changed at From; Cut begins a new
// window there.
type PlanControl struct {
	Plan string    `json:"plan"`
	From time.Time `json:"from"`
	Cut  bool      `json:"cut,omitempty"`
	// Position is the sequence in ACCOUNT of what caused it: one that a retry
	// has put behind a newer one is older all the same.
	Position uint64 `json:"position,omitempty"`
}

// AnchorControl begins a new window at From; windows follow from Anchor.
type AnchorControl struct {
	Anchor time.Time `json:"anchor"`
	From   time.Time `json:"from"`
}

// OverrideControl sets, or with nil removes, a customer's override.
type OverrideControl struct {
	Feature  string         `json:"feature"`
	Override *gate.Override `json:"override"`
	Position uint64         `json:"position,omitempty"` // as in PlanControl
}

// Control is the JSON of a control event.
func Control(typ, customer, id string, data any) ([]byte, error) {
	b, err := json.Marshal(data)
	if err != nil {
		return nil, err
	}
	e := events.Event{ID: id, Source: ControlSource, Type: typ, Subject: customer, Data: b}
	return e.AppendJSON(nil), nil
}

// FenceKey is the key in the decisions bucket that guards a partition's puts.
func FenceKey(p int) string { return "=own." + strconv.Itoa(p) }
