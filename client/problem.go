package client

import (
	"encoding/json"
	"net/http"
	"time"

	"github.com/tidegate-io/tidegate/events"
)

// problem is an answer in the form of RFC 9457.
type problem struct {
	Type       string            `json:"type"`
	Title      string            `json:"title"`
	Status     int               `json:"status"`
	Detail     string            `json:"detail"`
	Feature    string            `json:"feature"`
	Limit      *events.NullValue `json:"limit,omitempty"`
	Used       *events.NullValue `json:"used,omitempty"`
	UnblocksAt *time.Time        `json:"unblocks_at"`
	UpgradeURL string            `json:"upgrade_url"`
}

// The types of problems.
const (
	typeLimit     = "urn:tidegate:limit-reached"
	typeNotInPlan = "urn:tidegate:not-in-plan"
	typeUnknown   = "urn:tidegate:no-decision"
	typeNobody    = "urn:tidegate:no-customer"
)

// Blocked answers a request whose customer is blocked: 402, 403 for a feature
// that is not in the plan, or 503 when the fail policy refused. The body is
// application/problem+json with what an app's front end shows.
func Blocked(w http.ResponseWriter, d events.Decision) {
	p := problem{Feature: d.Feature, Detail: d.Message, UpgradeURL: d.UpgradeURL, UnblocksAt: d.UnblocksAt}
	switch d.Reason {
	case events.NotInPlan:
		p.Type, p.Title, p.Status = typeNotInPlan, "Not in your plan", http.StatusForbidden
		p.Detail = or(p.Detail, "Your plan does not include this feature.")
		p.Limit, p.Used = &d.Limit, &d.Used
	case events.NoDecision:
		p.Type, p.Title, p.Status = typeUnknown, "Usage cannot be checked now", http.StatusServiceUnavailable
		p.Detail = or(p.Detail, "Try again in a moment.")
		w.Header().Set("Retry-After", "1")
	default:
		p.Type, p.Title, p.Status = typeLimit, "Limit reached", http.StatusPaymentRequired
		p.Detail = or(p.Detail, "The limit of your plan is reached.")
		p.Limit, p.Used = &d.Limit, &d.Used
	}
	p.write(w)
}

func (p *problem) write(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/problem+json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(p.Status)
	_ = json.NewEncoder(w).Encode(p) // the visitor may be gone
}

func or(s, instead string) string {
	if s == "" {
		return instead
	}
	return s
}
