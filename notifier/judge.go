package notifier

import (
	"time"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/gate"
	"github.com/tidegate-io/tidegate/internal/records"
)

const (
	// keyLife is how long after the first attempt others are made. The provider
	// remembers an idempotency key for 24 hours; a later attempt would send a second
	// mail. The margin is for clocks that differ and for requests that wait.
	keyLife = 24*time.Hour - 10*time.Minute
	// behindFor is how long the notifier waits for a decision that knows of the
	// crossing; behindWait is the pause between two reads of it.
	behindFor  = time.Minute
	behindWait = 2 * time.Second
	// lookupPause is the pause after a lookup of an address that failed.
	lookupPause = time.Minute
	// minLookupPause and maxLookupPause bound the pause after a lookup that found no
	// address: the older the mail, the longer.
	minLookupPause = time.Minute
	maxLookupPause = time.Hour
)

// action is the next step for a pending mail.
type action string

const (
	actSend   action = "send"
	actLater  action = "later"  // judge again at verdict.at
	actBehind action = "behind" // as actLater: the decision does not know of the crossing yet
	actWait   action = "wait"   // for an address: look it up at verdict.at, or zero: a record will bring it
	actCancel action = "cancel"
	actFail   action = "fail"
)

// verdict is an action and its reason.
type verdict struct {
	do  action
	why string
	at  time.Time
}

// situation holds everything that a verdict depends on.
type situation struct {
	n            *records.Notification
	customer     *customer
	catalog      *gate.Catalog
	template     string // "": it was removed
	address      string
	lookup       bool             // the feature has a place to look addresses up
	lookupFailed bool             // the lookup returned an error
	awaited      bool             // an address in a later record makes the mail pending
	decision     *events.Decision // nil: none
	lastMail     time.Time        // when the customer got another mail; zero: never
	coolDown     time.Duration
	quiet        *Quiet
	patient      bool // the decision may still be older than the crossing
	now          time.Time
}

// judge returns the next step for a pending mail. It is a pure function.
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
	case n.Body != nil: // the address is part of the stored bytes
	case s.address == "" && s.lookupFailed:
		return verdict{do: actWait, at: s.now.Add(lookupPause)}
	case s.address == "" && s.lookup:
		return verdict{do: actWait, at: s.now.Add(min(max(s.now.Sub(n.ReachedAt)/10, minLookupPause), maxLookupPause))}
	case s.address == "" && s.awaited:
		return verdict{do: actWait}
	case s.address == "":
		return verdict{do: actCancel, why: "the address was withdrawn"}
	}
	if at := s.notBefore(); at.After(s.now) {
		return verdict{do: actLater, at: at}
	}
	return verdict{do: actSend}
}

// notBefore returns when the mail may be sent: not too soon after another one, and
// not in quiet hours, unless their end is too late for another attempt.
func (s *situation) notBefore() time.Time {
	at := s.now
	if s.n.Body == nil && !s.lastMail.IsZero() && s.lastMail.Add(s.coolDown).After(at) {
		at = s.lastMail.Add(s.coolDown)
	}
	if end, quiet := s.quiet.until(at); quiet && (s.n.FirstTryAt == nil || end.Before(s.n.FirstTryAt.Add(keyLife))) {
		return end
	}
	return at
}

// upgraded reports whether the customer's plan has a higher limit than the one that
// was reached. The notifier may know of the plan before the decision does.
func upgraded(s *situation) bool {
	g, ok := s.catalog.Gate(s.n.Feature)
	now := s.catalog.Plan(s.customer.plan()).Name
	if !ok || now == s.catalog.Plan(s.n.Plan).Name {
		return false
	}
	l := g.LimitOf(now)
	return l.Unlimited || !l.None && l.Value.Cmp(s.n.Limit) > 0
}

// unwanted returns why the decision makes the mail pointless, or "".
func unwanted(s *situation) string {
	d := s.decision
	if d == nil {
		return "the customer is not blocked"
	}
	blocked := !d.Allowed && (d.UnblocksAt == nil || s.now.Before(*d.UnblocksAt))
	if s.n.Kind != records.LimitKindThreshold {
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

// behind reports whether the decision was made before the crossing was stored.
func behind(s *situation) bool {
	d := s.decision
	return d == nil || d.AsOf.Before(s.n.ReachedAt) && d.DecidedAt.Before(s.n.ReachedAt)
}
