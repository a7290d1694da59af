package gate

import (
	"cmp"
	"net/http"
	"time"

	"github.com/tidegate-io/tidegate/events"
)

// The types of the answers to visitors who may not pass.
const (
	TypeLimitReached = "urn:tidegate:limit-reached" // 402: the limit of the plan is reached
	TypeNotInPlan    = "urn:tidegate:not-in-plan"   // 403: the plan does not include the feature
	TypeNoDecision   = "urn:tidegate:no-decision"   // 503: usage is not known yet, and the gate fails closed
	TypeBlocked      = "urn:tidegate:blocked"       // 403: for a reason that this version does not know
	TypeNoCustomer   = "urn:tidegate:no-customer"   // 401: the request names no customer
	TypeUnreadable   = "urn:tidegate:unreadable"    // 400: the path of the request cannot be read in one way
)

// Answer is what a visitor who may not pass is answered: a problem document of
// RFC 9457, sent as application/problem+json with Cache-Control: no-store.
type Answer struct {
	Type       string           `json:"type"`
	Title      string           `json:"title"`
	Status     int              `json:"status"`
	Detail     string           `json:"detail"`
	Feature    string           `json:"feature"`
	Limit      events.NullValue `json:"limit"`
	Used       events.NullValue `json:"used"`
	UnblocksAt *time.Time       `json:"unblocks_at"`
	UpgradeURL string           `json:"upgrade_url"`

	RetryAfter int `json:"-"` // seconds, for the header Retry-After; 0: none
}

// DefaultMessage is what a gate without a message of its own says at its limit.
const DefaultMessage = "You've reached the limit of your plan. Upgrade to continue."

const notInPlan = "Your plan does not include this feature."

// messageOf returns what a gate with this message says of a block. The built-in one
// speaks of a limit, and a feature outside of the plan has none.
func messageOf(why events.Reason, message string) string {
	if why == events.NotInPlan && message == DefaultMessage {
		return notInPlan
	}
	return message
}

// Blocked returns the answer to a request whose customer d blocks.
func Blocked(d *events.Decision) Answer {
	a := Answer{Feature: d.Feature, Limit: d.Limit, Used: d.Used, UnblocksAt: d.UnblocksAt, UpgradeURL: d.UpgradeURL}
	switch d.Reason {
	case events.LimitReached:
		a.Type, a.Status, a.Title = TypeLimitReached, http.StatusPaymentRequired, "Limit reached"
		a.Detail = "The limit of your plan is reached."
	case events.NotInPlan:
		a.Type, a.Status, a.Title = TypeNotInPlan, http.StatusForbidden, "Not in your plan"
		a.Detail = notInPlan
	case events.NoDecision: // nothing that paying would help
		a.Type, a.Status, a.Title = TypeNoDecision, http.StatusServiceUnavailable, "Usage cannot be checked now"
		a.Detail, a.RetryAfter = "Try again in a moment.", 1
	default:
		a.Type, a.Status, a.Title = TypeBlocked, http.StatusForbidden, "Blocked"
		a.Detail = "This feature is blocked."
	}
	a.Detail = cmp.Or(messageOf(d.Reason, d.Message), a.Detail)
	return a
}

// NoCustomer returns the answer to a request for a gated feature that names no
// customer.
func NoCustomer(feature string) Answer {
	return Answer{Type: TypeNoCustomer, Status: http.StatusUnauthorized, Title: "No customer", Feature: feature,
		Detail: "This feature is metered, and the request names no customer."}
}

// Unreadable returns the answer to a request for which Match returns ErrTarget.
func Unreadable() Answer {
	return Answer{Type: TypeUnreadable, Status: http.StatusBadRequest, Title: "Unreadable address",
		Detail: "The address of this request cannot be read in one way. Send it as plain UTF-8, without control characters."}
}
