package main

import (
	"math/rand/v2"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/gate"
)

const aboutAnswer = "What a visitor who may not pass is answered: the members of the problem document, and the seconds of the header Retry-After (0: none). " +
	"Without a decision, the answer to a request for `feature` that names no customer, or, without `feature`, to one whose path cannot be read."

type answerCase struct {
	Name       string           `json:"name,omitempty"`
	Decision   *events.Decision `json:"decision"`
	Feature    string           `json:"feature,omitempty"`
	Want       gate.Answer      `json:"want"`
	RetryAfter int              `json:"retry_after"`
}

func (c answerCase) done() any {
	switch {
	case c.Decision != nil:
		c.Want = gate.Blocked(c.Decision)
	case c.Feature != "":
		c.Want = gate.NoCustomer(c.Feature)
	default:
		c.Want = gate.Unreadable()
	}
	c.RetryAfter = c.Want.RetryAfter
	return c
}

func answerByHand() []any {
	silent := blocked(events.LimitReached, nil)
	silent.Message, silent.UpgradeURL = "", ""
	return []any{
		answerCase{Name: "a limit", Decision: ptr(blocked(events.LimitReached, hour(24)))}.done(),
		answerCase{Name: "a limit, without a message", Decision: &silent}.done(),
		answerCase{Name: "not in the plan", Decision: &events.Decision{Customer: "bob", Feature: "api", Reason: events.NotInPlan, Limit: count(0), Used: count(0)}}.done(),
		answerCase{Name: "not in the plan, with the built-in message of a limit", Decision: &events.Decision{Customer: "bob", Feature: "api", Reason: events.NotInPlan,
			Limit: count(0), Used: count(0), Message: gate.DefaultMessage}}.done(),
		answerCase{Name: "not in the plan, with a message", Decision: &events.Decision{Customer: "bob", Feature: "api", Reason: events.NotInPlan,
			Limit: count(0), Used: count(0), Message: "Only for the big ones."}}.done(),
		answerCase{Name: "nothing is known", Decision: ptr(gate.Undecided("bob", "api", false))}.done(),
		answerCase{Name: "a reason that is not known", Decision: ptr(blocked("fair_use", nil))}.done(),
		answerCase{Name: "no customer", Feature: "api"}.done(),
		answerCase{Name: "a path that cannot be read"}.done(),
	}
}

func drawAnswer(r *rand.Rand) any {
	for {
		if d := drawDecision(r); d != nil && !d.Allowed {
			return answerCase{Decision: d}.done()
		}
	}
}
