package notifier

import (
	"time"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/gate"
	"github.com/tidegate-io/tidegate/internal/records"
)

const (
	// keyLife is how long after the first try another one is made: the provider
	// remembers an idempotency key for 24 hours, after which it would be a second
	// mail. What is left is for clocks that differ and requests that wait.
	keyLife = 24*time.Hour - 10*time.Minute
	// behindFor is how long a decision may be older than the crossing that the
	// mail is about; behindWait, how soon it is read again.
	behindFor  = time.Minute
	behindWait = 2 * time.Second
	// blindWait is when an address is looked up again that could not be.
	blindWait = time.Minute
	// lookAgainFirst and lookAgainLast bound how often one is looked for that was
	// not there: the older the mail, the less often.
	lookAgainFirst = time.Minute
	lookAgainLast  = time.Hour
)

// action is what is to be done with a pending mail now.
type action string

const (
	actSend   action = "send"
	actLater  action = "later"  // at verdict.at
	actBehind action = "behind" // later, because the decision does not know of the crossing yet
	actWait   action = "wait"   // for an address; verdict.at: when to look for one, zero: it is told
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
	n        *records.Notification
	customer *customer
	catalog  *gate.Catalog
	template string // "": there is none any more
	address  string
	lookup   bool             // there is a place where an address may appear
	blind    bool             // the address could not be looked up
	waits    bool             // an address that comes will be told
	decision *events.Decision // nil: none
	lastMail time.Time        // to this customer before; zero: none
	coolDown time.Duration
	quiet    *Quiet
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
	case s.address == "" && s.blind:
		return verdict{do: actWait, at: s.now.Add(blindWait)}
	case s.address == "" && s.lookup:
		return verdict{do: actWait, at: s.now.Add(min(max(s.now.Sub(n.ReachedAt)/10, lookAgainFirst), lookAgainLast))}
	case s.address == "" && s.waits:
		return verdict{do: actWait}
	case s.address == "":
		return verdict{do: actCancel, why: "the address was withdrawn"}
	}
	if at := s.notBefore(); at.After(s.now) {
		return verdict{do: actLater, at: at}
	}
	return verdict{do: actSend}
}

// notBefore is when the mail may go out: not too soon after another one, and
// not in quiet hours, except for a try that would then come too late.
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

// behind says whether the decision was made before the crossing was stored.
func behind(s *situation) bool {
	d := s.decision
	return d == nil || d.AsOf.Before(s.n.ReachedAt) && d.DecidedAt.Before(s.n.ReachedAt)
}
