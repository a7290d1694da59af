package notifier

import (
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/gate"
	"github.com/tidegate-io/tidegate/internal/records"
)

// blockedNow is a mail that is to be sent.
func blockedNow() *situation {
	c := catalog()
	return &situation{
		n: &records.Notification{Customer: "acme", Feature: "api", Kind: records.LimitKindReached, Percent: 100, Plan: "free", Limit: events.Count(100),
			WindowStart: noon.AddDate(0, 0, -1), WindowEnd: noon.AddDate(0, 0, 29), ReachedAt: noon},
		customer: &customer{Email: "ada@acme.example"}, catalog: &c, template: DefaultTemplate, address: "ada@acme.example",
		decision: &events.Decision{Limit: events.Some(events.Count(100)), Used: events.Some(events.Count(100)), AsOf: noon, DecidedAt: noon},
		coolDown: 24 * time.Hour, patient: true, now: noon.Add(time.Second),
	}
}

func warned() *situation {
	s := blockedNow()
	s.n.Kind, s.n.Percent = records.LimitKindThreshold, 80
	s.decision.Allowed, s.decision.Used = true, events.Some(events.Count(85))
	return s
}

func TestJudge(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		from   func() *situation
		change func(s *situation)
		do     action
		why    string
	}{
		"blocked":                   {blockedNow, func(*situation) {}, actSend, ""},
		"suppressed":                {blockedNow, func(s *situation) { s.customer.Suppressed = "complained" }, actCancel, "complained"},
		"window over":               {blockedNow, func(s *situation) { s.now = s.n.WindowEnd }, actCancel, "window is over"},
		"window without an end":     {blockedNow, func(s *situation) { s.n.WindowEnd, s.now = time.Time{}, noon.AddDate(1, 0, 0) }, actSend, ""},
		"block has ended by itself": {blockedNow, func(s *situation) { s.decision.UnblocksAt = new(s.now) }, actCancel, "no longer blocked"},
		"block will end by itself":  {blockedNow, func(s *situation) { s.decision.UnblocksAt = new(s.now.Add(1)) }, actSend, ""},
		"allowed":                   {blockedNow, func(s *situation) { s.decision.Allowed = true }, actCancel, "no longer blocked"},
		"allowed before":            {blockedNow, func(s *situation) { s.decision.Allowed = true; s.n.ReachedAt = s.now }, actBehind, ""},
		"allowed before, for long":  {blockedNow, func(s *situation) { s.decision.Allowed = true; s.n.ReachedAt = s.now; s.patient = false }, actCancel, "no longer blocked"},
		"blocked before":            {blockedNow, func(s *situation) { s.n.ReachedAt = s.now }, actSend, ""},
		"no decision":               {blockedNow, func(s *situation) { s.decision = nil }, actBehind, ""},
		"no decision, for long":     {blockedNow, func(s *situation) { s.decision, s.patient = nil, false }, actCancel, "not blocked"},
		"mail removed":              {blockedNow, func(s *situation) { s.template = "" }, actCancel, "removed"},
		"upgraded":                  {blockedNow, func(s *situation) { s.customer.Plan = "pro" }, actCancel, "upgraded to pro"},
		"pinned to a higher plan":   {blockedNow, func(s *situation) { s.customer.Pinned = "pro" }, actCancel, "upgraded to pro"},
		"downgraded":                {blockedNow, func(s *situation) { s.n.Plan = "pro" }, actSend, ""},
		"plan of no configuration":  {blockedNow, func(s *situation) { s.customer.Plan = "gold" }, actCancel, "upgraded to gold"},
		"no address, may come":      {blockedNow, func(s *situation) { s.address, s.awaited = "", true }, actWait, ""},
		"no address any more":       {blockedNow, func(s *situation) { s.address = "" }, actCancel, "withdrawn"},
		"address not to be found":   {blockedNow, func(s *situation) { s.address, s.lookup, s.lookupFailed, s.awaited = "", true, true, true }, actWait, ""},
		"address may appear":        {blockedNow, func(s *situation) { s.address, s.lookup = "", true }, actWait, ""},
		"cooling down":              {blockedNow, func(s *situation) { s.lastMail = s.now.Add(-23 * time.Hour) }, actLater, ""},
		"cooled down":               {blockedNow, func(s *situation) { s.lastMail = s.now.Add(-24 * time.Hour) }, actSend, ""},
		"tried while cooling down":  {blockedNow, func(s *situation) { s.lastMail = s.now; s.n.Body = []byte("{}") }, actSend, ""},
		"in quiet hours":            {blockedNow, func(s *situation) { s.quiet = night() }, actLater, ""},
		"cooling down until then":   {blockedNow, func(s *situation) { s.quiet, s.lastMail = evening(), s.now.Add(-time.Hour) }, actLater, ""},
		"quiet hours elsewhere":     {blockedNow, func(s *situation) { s.quiet = evening() }, actSend, ""},
		"tried before quiet hours":  {blockedNow, func(s *situation) { s.quiet, s.n.Body, s.n.FirstTryAt = night(), []byte("{}"), new(s.now) }, actLater, ""},
		"key would die meanwhile": {blockedNow, func(s *situation) {
			s.quiet, s.n.Body, s.n.FirstTryAt = night(), []byte("{}"), new(s.now.Add(-23*time.Hour))
		}, actSend, ""},
		"tried, key lives":    {blockedNow, func(s *situation) { s.n.FirstTryAt = new(s.now.Add(-keyLife + 1)) }, actSend, ""},
		"tried, key has died": {blockedNow, func(s *situation) { s.n.FirstTryAt = new(s.now.Add(-keyLife)) }, actFail, "the answer was lost"},
		"tried, key died, suppressed": {blockedNow, func(s *situation) {
			s.n.FirstTryAt, s.customer.Suppressed = new(s.now.Add(-keyLife)), "bounced"
		}, actCancel, "bounced"},
		"warned":                      {warned, func(*situation) {}, actSend, ""},
		"warned, then blocked":        {warned, func(s *situation) { s.decision.Allowed = false }, actCancel, "limit was reached"},
		"warned, then unlimited":      {warned, func(s *situation) { s.decision.Limit = events.NullValue{} }, actCancel, "no limit"},
		"warned, then a higher limit": {warned, func(s *situation) { s.decision.Limit = events.Some(events.Count(200)) }, actCancel, "below"},
		"warned, use not known":       {warned, func(s *situation) { s.decision.Used = events.NullValue{} }, actSend, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := c.from()
			c.change(s)
			v := judge(s)
			if v.do != c.do || !strings.Contains(v.why, c.why) {
				t.Errorf("got %+v, want %s because of %q", v, c.do, c.why)
			}
			if (v.do == actLater || v.do == actBehind || v.do == actWait && (s.lookup || s.lookupFailed)) != v.at.After(s.now) {
				t.Errorf("%s at %v, now %v", v.do, v.at, s.now)
			}
			if (v.do == actCancel || v.do == actFail) != (v.why != "") {
				t.Errorf("%s without a reason", v.do)
			}
		})
	}
}

// night are quiet hours around noon; evening begin later, and contain tomorrow's
// noon less an hour.
func night() *Quiet { return &Quiet{From: 11 * time.Hour, To: 14 * time.Hour, Zone: time.UTC} }
func evening() *Quiet {
	return &Quiet{From: 20 * time.Hour, To: 11*time.Hour + 30*time.Minute, Zone: time.UTC}
}

// Whatever the situation: no mail to who is suppressed, has upgraded, is not
// blocked, has no address, or might get it a second time.
func TestJudgeNeverSendsWrongly(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		s := blockedNow()
		s.customer.Suppressed = rapid.SampledFrom([]string{"", "bounced"}).Draw(t, "suppressed")
		s.customer.Plan = rapid.SampledFrom([]string{"", "free", "pro"}).Draw(t, "plan")
		s.address = rapid.SampledFrom([]string{"", "ada@acme.example"}).Draw(t, "address")
		s.awaited, s.lookupFailed, s.patient = rapid.Bool().Draw(t, "waits"), rapid.Bool().Draw(t, "lookupFailed"), rapid.Bool().Draw(t, "patient")
		s.decision.Allowed = rapid.Bool().Draw(t, "allowed")
		s.now = noon.Add(time.Duration(rapid.Int64Range(0, 31*24).Draw(t, "hours")) * time.Hour)
		if rapid.Bool().Draw(t, "tried") {
			s.n.FirstTryAt = new(noon.Add(time.Duration(rapid.Int64Range(0, 31*24).Draw(t, "first")) * time.Hour))
			s.n.Body = []byte("{}")
		}
		if rapid.Bool().Draw(t, "quiet hours") {
			s.quiet = night()
		}
		_, quiet := s.quiet.until(s.now)
		quiet = quiet && (s.n.FirstTryAt == nil || s.now.Sub(*s.n.FirstTryAt) < 20*time.Hour)
		wrong := quiet || s.customer.Suppressed != "" || s.customer.Plan == "pro" || s.decision.Allowed || !s.now.Before(s.n.WindowEnd) ||
			s.n.Body == nil && s.address == "" || s.n.FirstTryAt != nil && s.now.Sub(*s.n.FirstTryAt) >= keyLife
		if v := judge(s); (v.do == actSend) == wrong {
			t.Fatalf("%+v in %+v", v, s)
		}
	})
}

func TestUpgradedToAHigherLimit(t *testing.T) {
	t.Parallel()
	s := blockedNow()
	s.catalog.Plans = append(s.catalog.Plans, gate.Plan{Name: "mini", Paid: true}, gate.Plan{Name: "less", Paid: true}, gate.Plan{Name: "none", Paid: true})
	s.catalog.Gates[0].Limits["mini"] = gate.Limit{Value: events.Count(101)}
	s.catalog.Gates[0].Limits["less"] = gate.Limit{Value: events.Count(100)}
	s.catalog.Gates[0].Limits["none"] = gate.Limit{None: true}
	for name, want := range map[string]bool{"mini": true, "less": false, "none": false, "free": false, "": false} {
		if s.customer.Plan = name; upgraded(s) != want {
			t.Errorf("%q: %v", name, !want)
		}
	}
}

func TestClassify(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		status int
		name   string
		want   Class
	}{
		{0, "", Retry}, {200, "", Retry}, {500, "internal_server_error", Retry}, {503, "", Retry}, {408, "", Retry},
		{429, "rate_limit_exceeded", Retry}, {429, "", Retry}, {409, "concurrent_idempotent_requests", Retry}, {409, "", Retry},
		{429, "daily_quota_exceeded", Park}, {429, "monthly_quota_exceeded", Park},
		{401, "missing_api_key", Park}, {401, "restricted_api_key", Park}, {403, "invalid_api_key", Park}, {403, "validation_error", Park},
		{409, "invalid_idempotent_request", Permanent}, {400, "invalid_idempotency_key", Permanent},
		{422, "validation_error", Permanent}, {422, "invalid_from_address", Permanent}, {451, "security_error", Permanent}, {404, "not_found", Permanent},
	} {
		if got := classify(c.status, c.name); got != c.want {
			t.Errorf("%d %s: %s, want %s", c.status, c.name, got, c.want)
		}
	}
}

func TestRetryDelaysGrow(t *testing.T) {
	t.Parallel()
	last, sum := time.Duration(0), time.Duration(0)
	for n := 1; n < 100; n++ {
		d := retryAfter(n)
		if d < last || d > maxRetry {
			t.Fatalf("after %d tries %v, before %v", n, d, last)
		}
		if sum < keyLife {
			sum += d
		}
		last = d
	}
	if retryAfter(1) != minRetry || last != maxRetry {
		t.Errorf("from %v to %v", retryAfter(1), last)
	}
}
