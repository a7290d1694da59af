package notifier

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/records"
	"github.com/tidegate-io/tidegate/internal/stream"
)

// A record that deserves no mail is still recorded: the funnel counts it.
func TestNoMail(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.address()
	silent, shadow := b.reached("api"), b.reached("exports")
	silent.Silent, shadow.Shadow = true, true
	for _, l := range []records.Limit{silent, shadow, b.reached("quiet"), b.reached("removed")} {
		b.block(l.Feature)
		b.handle(inputLimits, l)
		if n := b.notification(Key(l.Kind, 100, "acme", l.Feature, l.WindowStart)); n.State != records.MailNone || n.ReachedAt != noon {
			t.Errorf("%s: %+v", l.Feature, n)
		}
	}
	b.quiet()
	if requests, _ := b.resend.counts(); requests != 0 {
		t.Errorf("%d requests", requests)
	}
}

func TestKeys(t *testing.T) {
	t.Parallel()
	seen := map[string]bool{}
	for _, k := range []string{
		Key(records.LimitKindReached, 100, "a", "b", noon),
		Key(records.LimitKindReached, 100, "a", "b", noon.Add(1)),
		Key(records.LimitKindReached, 100, "ab", "", noon),
		Key(records.LimitKindReached, 100, "", "ab", noon),
		Key(records.LimitKindReached, 100, "a", "b,", noon),
		Key(records.LimitKindThreshold, 80, "a", "b", noon),
		Key(records.LimitKindThreshold, 90, "a", "b", noon),
	} {
		if seen[k] || len(k) > 256 {
			t.Errorf("key %s", k)
		}
		seen[k] = true
	}
	if Key(records.LimitKindReached, 100, "a", "b", noon) != Key(records.LimitKindReached, 100, "a", "b", noon.In(time.FixedZone("", 3600))) {
		t.Error("the zone makes another key")
	}
}

// A mail without an address waits for one, across restarts, and goes out if the
// customer is still blocked then.
func TestWaitsForAnAddress(t *testing.T) {
	t.Parallel()
	for _, committed := range []bool{true, false} {
		b := newBench(t)
		api, exports := b.reach("api"), b.reach("exports")
		for _, key := range []string{api, exports} {
			if n := b.notification(key); n.State != records.MailWaiting {
				t.Fatalf("state %s", n.State)
			}
		}
		if committed {
			b.commit()
		}
		b.restart()
		if !committed { // the records come again
			b.reach("api")
			b.reach("exports")
		}
		b.advance(time.Hour)
		b.allow("exports")
		b.account(records.Account{Email: new("stripe@acme.example"), EmailSource: "stripe"})
		if n := b.untilState(api, records.MailSent); n.To != "stripe@acme.example" {
			t.Errorf("to %s", n.To)
		}
		b.untilState(exports, records.MailCancelled)
	}
}

func TestTheAppsAddressWins(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.account(records.Account{Email: new("app@acme.example")})
	b.account(records.Account{Email: new("stripe@acme.example"), EmailSource: "stripe"})
	if n := b.untilState(b.reach("api"), records.MailSent); n.To != "app@acme.example" {
		t.Errorf("to %s", n.To)
	}
	b.account(records.Account{Email: new("")})
	if n := b.untilState(b.reach("exports"), records.MailSent); n.To != "stripe@acme.example" {
		t.Errorf("to %s", n.To)
	}
}

// lookups answers lookups with what it is given.
func lookups(found chan string) func(o *Options) {
	return func(o *Options) {
		o.Lookup = func(feature string) Lookup {
			if feature != "api" {
				return nil
			}
			return func(context.Context, string) (string, error) {
				if a := <-found; a != "away" {
					return a, nil
				}
				return "", errors.New("the collection is away")
			}
		}
	}
}

// An address that is in the app's collection is found when the mail is due,
// and one that appears there later is found then.
func TestAddressIsLookedUp(t *testing.T) {
	t.Parallel()
	found := make(chan string, 10)
	b := newBench(t, lookups(found))
	found <- "away"
	api := b.reach("api")
	looked := func(d time.Duration) {
		t.Helper()
		at := b.clock().Add(d)
		n := b.until(api, "put off", func(n *records.Notification) bool { return n.NextAt != nil && n.NextAt.Equal(at) })
		if n.State != records.MailWaiting {
			t.Errorf("state %s", n.State)
		}
	}
	looked(lookupPause)
	for _, step := range []struct {
		age, again time.Duration
		found      string
	}{{lookupPause, minLookupPause, ""}, {2 * time.Hour, 12 * time.Minute, "no address"}, {20 * time.Hour, maxLookupPause, ""}} {
		found <- step.found
		b.advance(step.age - b.clock().Sub(noon))
		looked(step.again)
	}
	if exports := b.reach("exports"); b.notification(exports).NextAt != nil { // nowhere to look
		t.Error("looked for without a place")
	}
	b.commit()
	b.restart()
	found <- "found@acme.example"
	b.advance(time.Hour)
	if n := b.untilState(api, records.MailSent); n.To != "found@acme.example" {
		t.Errorf("to %s", n.To)
	}
	if w := b.waiting("acme"); len(w) != 1 {
		t.Errorf("still waits: %v", w)
	}
}

// A place to look that the configuration gets later is used for what waits.
func TestPlaceToLookComesLater(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	api := b.reach("api")
	b.quiet()
	found := make(chan string, 1)
	found <- "found@acme.example"
	o := b.options
	lookups(found)(&o)
	b.must(b.p.Configure(o.Settings))
	b.untilState(api, records.MailSent)
}

// One look that fails is enough for a while: others would hold up the mail that
// needs none.
func TestLookedUpInVainOnce(t *testing.T) {
	t.Parallel()
	found := make(chan string, 3)
	b := newBench(t, lookups(found))
	found <- "away"
	first := b.reach("api")
	b.until(first, "put off", func(n *records.Notification) bool { return n.NextAt != nil && n.NextAt.After(noon) })
	l := b.reached("api")
	l.WindowStart = l.WindowStart.Add(time.Hour)
	b.handle(inputLimits, l) // nothing is given to answer with
	second := Key(l.Kind, 100, "acme", "api", l.WindowStart)
	b.until(second, "put off", func(n *records.Notification) bool { return n.NextAt != nil && n.NextAt.After(noon) })
	found <- "found@acme.example"
	found <- "found@acme.example"
	b.advance(lookupPause)
	b.untilState(first, records.MailSent)
	b.untilState(second, records.MailSent)
}

// What waits for an address to appear is given up as soon as it is pointless.
func TestLookedForNoLonger(t *testing.T) {
	t.Parallel()
	found := make(chan string, 1)
	b := newBench(t, lookups(found))
	found <- ""
	api := b.reach("api")
	b.until(api, "looked for", func(n *records.Notification) bool { return n.NextAt != nil && n.NextAt.After(noon) })
	b.allow("api")
	found <- "found@acme.example"
	b.advance(minLookupPause)
	b.untilState(api, records.MailCancelled)
	if w := b.waiting("acme"); len(w) != 0 {
		t.Errorf("still waits: %v", w)
	}
}

func (b *bench) waiting(customer string) []string {
	b.p.mu.Lock()
	defer b.p.mu.Unlock()
	return b.p.known(customer).Waiting
}

// An address that no mail can go to is none.
func TestUselessAddress(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.account(records.Account{Email: new("ada at acme")})
	key := b.reach("api")
	if n := b.notification(key); n.State != records.MailWaiting {
		t.Errorf("state %s", n.State)
	}
	b.account(records.Account{Email: new("stripe@acme.example"), EmailSource: "stripe"})
	b.untilState(key, records.MailSent)
}

func TestSuppressed(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	waiting := b.reach("api")
	b.account(records.Account{Suppress: new("bounced")})
	later := b.reach("exports")
	for _, key := range []string{waiting, later} {
		if n := b.notification(key); n.State != records.MailCancelled || n.Error != "suppressed: bounced" {
			t.Errorf("document %+v", n)
		}
	}
	b.account(records.Account{Suppress: new("")})
	b.address()
	b.quiet()
	if requests, _ := b.resend.counts(); requests != 0 {
		t.Errorf("%d requests", requests)
	}
}

func TestErase(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.account(records.Account{Email: new("ada@acme.example"), Locale: new("de")})
	sent := b.reach("api")
	b.untilState(sent, records.MailSent)
	b.account(records.Account{Email: new("")})
	waiting := b.reach("exports")
	b.account(records.Account{Erase: true})
	if n := b.notification(sent); n.State != records.MailSent || n.To != "" || n.Subject != "" || n.Body != nil {
		t.Errorf("sent: %+v", n)
	}
	if n := b.notification(waiting); n.State != records.MailCancelled {
		t.Errorf("waiting: %+v", n)
	}
	b.commit()
	snapshot, err := b.p.Snapshot()
	b.must(err)
	if strings.Contains(string(snapshot), "@") || b.p.known("acme").Locale != "" {
		t.Errorf("remembered: %+v", b.p.known("acme"))
	}
}

func TestWarnings(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		file       string
		text       string
		isTemplate bool
	}{
		"the gate's template": {"nudge_warning.txt", "80 of 100", false},
		"its own":             {DefaultTemplate + "_warning.txt", "80% of warned used: 80", true},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir := t.TempDir()
			write(t, dir, c.file, "{{.Percent}}% of {{.Feature}} used: {{.Used}}")
			b := newBench(t, func(o *Options) { o.TemplateDir, o.CoolDown = dir, 24*time.Hour })
			b.address()
			key := b.warn("warned")
			if !strings.HasPrefix(key, "threshold-80/") {
				t.Errorf("key %s", key)
			}
			b.untilState(key, records.MailSent)
			if m := b.resend.inbox[0]; !strings.Contains(m.Text, c.text) || !strings.Contains(m.Subject, "80%") || (m.Text == c.text) != c.isTemplate {
				t.Errorf("mail %q: %q", m.Subject, m.Text)
			}
			if !c.isTemplate && !strings.Contains(b.resend.inbox[0].Text, "pauses until 30 March 2026") {
				t.Errorf("mail %q", b.resend.inbox[0].Text)
			}
			b.advance(time.Minute)
			b.untilState(b.reach("warned"), records.MailSent) // the warning does not keep it back
		})
	}
	b := newBench(t)
	b.warn("api")
	if len(b.store.notifications) != 0 {
		t.Error("a warning was recorded that nobody wants to send")
	}
}

// warn says that acme has used 80% of feature; it returns the notification's key.
func (b *bench) warn(feature string) string {
	b.t.Helper()
	l := b.reached(feature)
	l.Kind, l.Percent, l.Used = records.LimitKindThreshold, 80, events.Count(80)
	now := b.clock()
	b.decisions.put(events.Decision{Customer: "acme", Feature: feature, Allowed: true, Reason: events.NearLimit, Plan: "free",
		Limit: events.Some(l.Limit), Used: events.Some(l.Used), AsOf: now, DecidedAt: now})
	b.handle(inputLimits, l)
	return Key(l.Kind, 80, "acme", feature, l.WindowStart)
}

func TestUnblockedSparesWhatCameLater(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	key := b.reach("api") // waits for an address
	l := b.reached("api")
	l.Kind, l.At = records.LimitKindUnblocked, noon.Add(-time.Hour)
	b.handle(inputLimits, l) // a repeat from before
	l.WindowStart, l.At = l.WindowStart.AddDate(0, 0, -30), noon.Add(time.Hour)
	b.handle(inputLimits, l) // of the window before
	other := b.reached("exports")
	other.Kind, other.At = records.LimitKindUnblocked, noon.Add(time.Hour)
	b.handle(inputLimits, other)
	if n := b.notification(key); n.State != records.MailWaiting {
		t.Errorf("state %s: %s", n.State, n.Error)
	}
}

func TestClickWithoutAMail(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	key := b.reach("api")
	b.account(records.Account{Click: &records.Click{Feature: "api", WindowStart: noon.AddDate(0, 0, -1)}})
	b.account(records.Account{Click: &records.Click{Feature: "nothing"}})
	if n := b.notification(key); !at(n.ClickedAt).Equal(noon) {
		t.Errorf("document %+v", n)
	}
}

// The position passes a record only when its document is stored.
func TestStoreAwayWhileHandling(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	failures := 0
	b.store.breakWith(func(call string) error {
		if call == "insert" && failures < 3 {
			failures++
			return errAway
		}
		return nil
	})
	if key := b.reach("api"); b.notification(key).Key != key || failures != 3 {
		t.Errorf("%d failures", failures)
	}
	b.store.breakWith(func(string) error { return errAway })
	done, m := make(chan error), b.message(inputLimits, b.reached("exports"))
	go func() { done <- b.p.Handle(m) }()
	b.stop()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("stopped with %v", err)
	}
}

func TestRejected(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	for _, m := range []*stream.Message{
		{Input: inputLimits, Data: []byte("{"), Seq: 7},
		{Input: inputLimits, Data: []byte(`{"kind":"reached"}`), Seq: 8},
		{Input: inputLimits, Data: []byte(`{"kind":"other","customer":"a","feature":"b"}`), Seq: 9},
	} {
		if err := b.p.Handle(m); !stream.IsRejected(err) {
			t.Errorf("%s: %v", m.Data, err)
		}
	}
	for _, data := range []string{`{"gate":{"feature":"api","off":true}}`, "[]", `{"customer":"fz","payment":{}}`} { // the enforcer rejects them
		b.must(b.p.Handle(&stream.Message{Input: inputAccount, Subject: "account.0", Data: []byte(data)}))
	}
}

// A mail's bytes go 30 days after it was sent; what never found an address is
// given up.
func TestTidy(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	waiting := b.reach("exports")
	b.account(records.Account{Customer: "other", Email: new("bob@acme.example")})
	b.advance(24 * time.Hour)
	b.decisions.put(events.Decision{Customer: "other", Feature: "api", AsOf: b.clock()})
	l := b.reached("api")
	l.Customer = "other"
	b.handle(inputLimits, l)
	sent := Key(l.Kind, 100, "other", "api", l.WindowStart)
	b.untilState(sent, records.MailSent)
	b.commit()
	b.restart()
	tick := func() {
		t.Helper()
		_, err := b.p.Tick(b.clock())
		b.must(err)
	}
	b.advance(30*24*time.Hour - time.Second)
	tick()
	if n := b.notification(sent); n.Body == nil {
		t.Error("dropped too early")
	}
	if n := b.notification(waiting); n.State != records.MailCancelled {
		t.Errorf("waiting: %+v", n)
	}
	b.advance(time.Second)
	tick()
	if n := b.notification(sent); n.Body != nil || n.State != records.MailSent {
		t.Errorf("kept: %s", n.State)
	}
	b.commit()
	if s := b.p.currentStatus(); s != (Status{}) || len(b.p.facts.Kept) != 0 {
		t.Errorf("status %+v, kept %v", s, b.p.facts.Kept)
	}
}

func write(t *testing.T, dir, name, text string) {
	t.Helper()
	if err := os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
