package notifier

import (
	"time"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/plan"
)

const (
	// keyLife is how long the provider remembers an idempotency key: a try
	// after it could be a second mail.
	keyLife = 24 * time.Hour
	// behindFor is how long a decision may be older than the crossing that the
	// mail is about; behindWait, how soon it is read again.
	behindFor  = time.Minute
	behindWait = 2 * time.Second
	// blindWait is when an address is looked up again.
	blindWait = time.Minute
)

// action is what is to be done with a pending mail now.
type action string

const (
	actSend   action = "send"
	actLater  action = "later"  // at verdict.at
	actBehind action = "behind" // later, because the decision does not know of the crossing yet
	actWait   action = "wait"   // for an address
	actCancel action = "cancel"
	actFail   action = "fail"
)

type verdict struct {
	do  action
	why string
	at  time.Time
}

// situation is all that a verdict depends on.
type situation struct {
	n        *events.Notification
	customer *customer
	catalog  *plan.Catalog
	template string // "": there is none any more
	address  string
	blind    bool             // the address could not be looked up
	waits    bool             // an address that comes will be noticed
	decision *events.Decision // nil: none
	lastMail time.Time        // to this customer before; zero: none
	coolDown time.Duration
	patient  bool // the decision may still be behind
	now      time.Time
}

// judge says what is to be done with a pending mail. It is pure.
func judge(s *situation) verdict {
	n := s.n
	switch {
	case s.customer.Suppressed != "":
		return verdict{do: actCancel, why: suppressed(s.customer.Suppressed)}
	case n.FirstTryAt != nil && !s.now.Before(n.FirstTryAt.Add(keyLife)):
		return verdict{do: actFail, why: "not confirmed within 24 h of the first try: " + orElse(n.Error, "the answer was lost")}
	case s.template == "":
		return verdict{do: actCancel, why: "the gate or its mail was removed"}
	case !n.WindowEnd.IsZero() && !s.now.Before(n.WindowEnd):
		return verdict{do: actCancel, why: "the window is over"}
	case upgraded(s):
		return verdict{do: actCancel, why: "the customer has upgraded to " + s.catalog.Plan(s.customer.plan()).Name}
	}
	if why := unwanted(s); why != "" {
		if s.patient && behind(s) {
			return verdict{do: actBehind, at: s.now.Add(behindWait)}
		}
		return verdict{do: actCancel, why: why}
	}
	switch {
	case n.Body != nil: // the bytes and their address stand
		return verdict{do: actSend}
	case s.address == "" && s.blind:
		return verdict{do: actLater, at: s.now.Add(blindWait)}
	case s.address == "" && s.waits:
		return verdict{do: actWait}
	case s.address == "":
		return verdict{do: actCancel, why: "the address was withdrawn"}
	case !s.lastMail.IsZero() && s.now.Before(s.lastMail.Add(s.coolDown)):
		return verdict{do: actLater, at: s.lastMail.Add(s.coolDown)}
	}
	return verdict{do: actSend}
}

// upgraded says whether the customer's plan as we know it has a higher limit
// than the one that was reached: the decision may not have followed yet.
func upgraded(s *situation) bool {
	g, ok := s.catalog.Gate(s.n.Feature)
	now := s.catalog.Plan(s.customer.plan()).Name
	if !ok || now == s.catalog.Plan(s.n.Plan).Name {
		return false
	}
	l := g.LimitOf(now)
	return l.Unlimited || !l.None && l.Value.Cmp(s.n.Limit) > 0
}

// unwanted is why the decision makes the mail pointless, or "".
func unwanted(s *situation) string {
	d := s.decision
	if d == nil {
		return "the customer is not blocked"
	}
	blocked := !d.Allowed && (d.UnblocksAt == nil || s.now.Before(*d.UnblocksAt))
	if s.n.Kind != events.LimitKindThreshold {
		if !blocked {
			return "the customer is no longer blocked"
		}
		return ""
	}
	switch {
	case blocked:
		return "the limit was reached meanwhile"
	case !d.Limit.Valid:
		return "the customer has no limit any more"
	case d.Used.Valid && d.Used.Value.Cmp(d.Limit.Value.Percent(s.n.Percent)) < 0:
		return "the customer is below the warning level again"
	}
	return ""
}

// behind says whether the decision was made before the crossing was stored.
func behind(s *situation) bool {
	d := s.decision
	return d == nil || d.AsOf.Before(s.n.ReachedAt) && d.DecidedAt.Before(s.n.ReachedAt)
}
