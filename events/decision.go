package events

import "time"

// Reason is the reason of a decision.
type Reason string

// The reasons.
const (
	WithinLimit  Reason = "within_limit"
	NearLimit    Reason = "near_limit" // allowed, at or above the gate's first warning level
	LimitReached Reason = "limit_reached"
	Unlimited    Reason = "unlimited"
	Overridden   Reason = "override"    // an override of the customer decided
	Shadow       Reason = "shadow"      // allowed; WouldBlock reports whether enforcement would block
	NotInPlan    Reason = "not_in_plan" // the plan does not include the feature
	GateOff      Reason = "gate_off"    // the emergency switch allows all
	NoDecision   Reason = "no_decision" // not yet synced, or an unknown feature: the gate's fail policy decided
)

// Decision says whether a customer may use a feature now. It is a value of the
// decisions bucket, and the answer of GET /v1/check and of client.Check.
type Decision struct {
	Customer    string     `json:"customer"`
	Feature     string     `json:"feature"`
	Allowed     bool       `json:"allowed"`
	Reason      Reason     `json:"reason"`
	WouldBlock  bool       `json:"would_block,omitempty"` // with Shadow
	Plan        string     `json:"plan"`
	Limit       NullValue  `json:"limit"`     // null: unlimited
	Used        NullValue  `json:"used"`      // null: unknown here
	Remaining   NullValue  `json:"remaining"` // never negative; null: unlimited or unknown here
	WindowStart *time.Time `json:"window_start"`
	WindowEnd   *time.Time `json:"window_end"`
	UnblocksAt  *time.Time `json:"unblocks_at"` // when a block ends by itself; null: not blocked, or it never ends
	Message     string     `json:"message,omitempty"`
	UpgradeURL  string     `json:"upgrade_url,omitempty"`
	DecidedAt   time.Time  `json:"decided_at"`
	AsOf        time.Time  `json:"as_of"`    // when the newest usage in it was stored; without usage, DecidedAt
	Position    int64      `json:"position"` // grows with every decision of the customer's partition
}

// Gates is the value of the key _gates. An app needs it to decide for a customer
// without a decision, and to find the gate of a request.
type Gates struct {
	Partitions  int       `json:"partitions"`
	DefaultPlan string    `json:"default_plan"`
	Gates       []Gate    `json:"gates"`
	UpdatedAt   time.Time `json:"updated_at"`
}

// Gate is one gate as apps get it.
type Gate struct {
	Feature     string     `json:"feature"`
	Event       string     `json:"event"`     // the type of the usage events that it meters
	Aggregate   string     `json:"aggregate"` // count, sum, max or unique
	ValueKey    string     `json:"value,omitempty"`
	Triggers    []Trigger  `json:"triggers,omitempty"`
	Limit       NullValue  `json:"limit"`            // of the default plan; null: unlimited
	Near        int        `json:"near,omitempty"`   // percent of a limit from which the reason is near_limit; 0: unknown
	InPlan      bool       `json:"in_plan"`          // whether the default plan includes the feature
	Period      string     `json:"period"`           // such as 30d, month, day
	Window      string     `json:"window"`           // anniversary, rolling or calendar
	Shadow      bool       `json:"shadow,omitempty"` // decides, but blocks no customer
	EnforceFrom *time.Time `json:"enforce_from,omitempty"`
	Off         bool       `json:"off,omitempty"`       // the emergency switch: allow all
	OffUntil    *time.Time `json:"off_until,omitempty"` // when the server turns it on by itself; nil: never
	FailClosed  bool       `json:"fail_closed,omitempty"`
	Message     string     `json:"message,omitempty"`
	UpgradeURL  string     `json:"upgrade_url,omitempty"`
}

// Trigger says which requests are uses of a gate's feature.
type Trigger struct {
	// Endpoint is a path. {name} and * match one segment; * at the end matches the
	// rest.
	Endpoint   string `json:"endpoint"`
	Method     string `json:"method,omitempty"`      // upper-case; empty: any
	IgnoreCase bool   `json:"ignore_case,omitempty"` // of the path
}
