// Package questions declares what the owners of the aggregator's and the
// enforcer's partitions are asked. Roles do not import each other, so what one
// asks another stands here; what only commands and the edge ask of a role stands
// in its own package.
package questions

import (
	"time"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/gate"
	"github.com/tidegate-io/tidegate/internal/records"
	"github.com/tidegate-io/tidegate/internal/stream"
)

// UsageOf asks the aggregator for a customer's windows, by the customer's id.
// Ask the customer's partition.
var UsageOf = stream.Question[string, Usage]{Role: stream.RoleAggregator, Kind: "usage", Fresh: true}

// Usage is the answer to UsageOf.
type Usage struct {
	Windows []records.Window `json:"windows"` // without buckets
	AsOf    time.Time        `json:"as_of"`   // when the last message was stored that is counted in them
}

// StandingOf asks the enforcer what it knows of a customer, by the customer's
// id. Ask the customer's partition.
var StandingOf = stream.Question[string, Standing]{Role: stream.RoleEnforcer, Kind: "standing", Fresh: true}

// Standing is the answer to StandingOf.
type Standing struct {
	Known     bool              `json:"known"` // by usage or by an account record
	Customer  records.Customer  `json:"customer"`
	Decisions []events.Decision `json:"decisions"` // one for each gate
}

// UsersOf and ProfilesOf ask the aggregator and the enforcer which of some customers
// they do not know, by their ids. Ask the partition of all of them. The answer does not
// wait for what is stored and not handled yet.
var (
	UsersOf    = stream.Question[[]string, Customers]{Role: stream.RoleAggregator, Kind: "customers"}
	ProfilesOf = stream.Question[[]string, Customers]{Role: stream.RoleEnforcer, Kind: "customers"}
)

// Customers is the answer to UsersOf and ProfilesOf.
type Customers struct {
	Total   int   `json:"total"`             // that the partition's owner holds
	Unknown []int `json:"unknown,omitempty"` // of those in the question, by index
}

// Resend has the aggregator emit the totals of all open windows again: the
// enforcer has missed some.
var Resend = stream.Question[stream.None, stream.None]{Role: stream.RoleAggregator, Kind: "resend"}

// SettingsOf asks the enforcer what an operator has set for customers, by their
// ids. Ask the partition that all of them belong to.
var SettingsOf = stream.Question[[]string, []Settings]{Role: stream.RoleEnforcer, Kind: "settings", Fresh: true}

// Settings are an answer to SettingsOf about one customer, in the place of its id.
type Settings struct {
	Plan           string                   `json:"plan"`             // in force
	Pinned         string                   `json:"pinned,omitempty"` // set by an operator; "": Stripe decides
	Anchor         *time.Time               `json:"anchor,omitempty"`
	Overrides      map[string]gate.Override `json:"overrides,omitempty"`
	StripeCustomer string                   `json:"stripe_customer,omitempty"`
}

// SwitchedOff asks the enforcer which gates are switched off, by feature, and until
// when. Ask partition 0.
var SwitchedOff = stream.Question[stream.None, map[string]records.GateSwitch]{Role: stream.RoleEnforcer, Kind: "switches", Fresh: true}
