package notifier

import (
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tidegate-io/tidegate/internal/records"
)

func payment(at time.Time) *records.Payment {
	return &records.Payment{Key: "acme/sub_1", Kind: records.MoveConversion, Event: "evt_1", FromPlan: "free", ToPlan: "pro", Amount: 2000, Currency: "usd", At: at}
}

func crossing(key, feature string, at time.Time) records.Notification {
	return records.Notification{Key: key, Customer: "acme", Feature: feature, Kind: records.LimitKindReached, ReachedAt: at, State: records.MailNone}
}

func TestAttribute(t *testing.T) {
	t.Parallel()
	paid := noon
	mailedBefore := crossing("b", "exports", paid.Add(-time.Hour))
	mailedBefore.State, mailedBefore.SentAt, mailedBefore.ClickedAt = records.MailDelivered, new(paid.Add(-50*time.Minute)), new(paid.Add(-time.Minute))
	mailedAfter := mailedBefore
	mailedAfter.SentAt, mailedAfter.ClickedAt = new(paid.Add(time.Minute)), new(paid.Add(time.Hour))
	tried := mailedBefore
	tried.State, tried.SentAt = records.MailPending, nil
	warning := crossing("w", "tokens", paid.Add(-time.Minute))
	warning.Kind = records.LimitKindThreshold
	other := crossing("o", "tokens", paid.Add(-time.Minute))
	other.Customer = "else"
	for name, c := range map[string]struct {
		notifications           []records.Notification
		feature                 string
		reached, mailed, clicks time.Time
	}{
		"nothing before":                      {nil, "", time.Time{}, time.Time{}, time.Time{}},
		"a limit":                             {[]records.Notification{crossing("a", "api", paid.AddDate(0, 0, -2))}, "api", paid.AddDate(0, 0, -2), time.Time{}, time.Time{}},
		"the latest":                          {[]records.Notification{mailedBefore, crossing("a", "api", paid.AddDate(0, 0, -2))}, "exports", paid.Add(-time.Hour), paid.Add(-50 * time.Minute), paid.Add(-time.Minute)},
		"mail and click came later":           {[]records.Notification{mailedAfter}, "exports", paid.Add(-time.Hour), time.Time{}, time.Time{}},
		"not known to be sent":                {[]records.Notification{tried}, "exports", paid.Add(-time.Hour), time.Time{}, paid.Add(-time.Minute)},
		"30 days before":                      {[]records.Notification{crossing("a", "api", paid.AddDate(0, 0, -30))}, "api", paid.AddDate(0, 0, -30), time.Time{}, time.Time{}},
		"longer before":                       {[]records.Notification{crossing("a", "api", paid.AddDate(0, 0, -30).Add(-1))}, "", time.Time{}, time.Time{}, time.Time{}},
		"after the payment":                   {[]records.Notification{crossing("a", "api", paid.Add(time.Second))}, "", time.Time{}, time.Time{}, time.Time{}},
		"within the second of Stripe's clock": {[]records.Notification{crossing("a", "api", paid.Add(999*time.Millisecond))}, "api", paid.Add(999 * time.Millisecond), time.Time{}, time.Time{}},
		"a warning, another customer":         {[]records.Notification{warning, other}, "", time.Time{}, time.Time{}, time.Time{}},
	} {
		t.Run(name, func(t *testing.T) {
			got := attribute("acme", payment(paid), c.notifications, DefaultConvertWithin)
			if got.Key != "acme/sub_1" || got.Customer != "acme" || got.FromPlan != "free" || got.ToPlan != "pro" || got.StripeEvent != "evt_1" ||
				got.Amount != 2000 || got.Currency != "usd" || !got.ConvertedAt.Equal(paid) {
				t.Errorf("payment: %+v", got)
			}
			if got.Feature != c.feature || !at(got.LimitReachedAt).Equal(c.reached) || !at(got.MailedAt).Equal(c.mailed) || !at(got.ClickedAt).Equal(c.clicks) {
				t.Errorf("feature %q, reached %v, mailed %v, clicked %v", got.Feature, got.LimitReachedAt, got.MailedAt, got.ClickedAt)
			}
		})
	}
}

func at(t *time.Time) time.Time {
	if t == nil {
		return time.Time{}
	}
	return *t
}

// The order of the notifications does not matter, and the one chosen is the
// latest that fits.
func TestAttributeProperties(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		all := rapid.SliceOfNDistinct(rapid.Custom(func(t *rapid.T) records.Notification {
			n := crossing(rapid.StringMatching(`[a-z]{4}`).Draw(t, "key"), rapid.SampledFrom([]string{"api", "exports"}).Draw(t, "feature"),
				noon.Add(time.Duration(rapid.IntRange(-40*24, 48).Draw(t, "hours"))*time.Hour))
			if rapid.Bool().Draw(t, "warning") {
				n.Kind = records.LimitKindThreshold
			}
			return n
		}), 0, 8, func(n records.Notification) string { return n.Key }).Draw(t, "notifications")
		got := attribute("acme", payment(noon), all, DefaultConvertWithin)
		for _, n := range all {
			fits := n.Kind == records.LimitKindReached && !n.ReachedAt.After(noon) && noon.Sub(n.ReachedAt) <= DefaultConvertWithin
			if fits && (got.LimitReachedAt == nil || got.LimitReachedAt.Before(n.ReachedAt)) {
				t.Fatalf("chose %v, there is %v", got.LimitReachedAt, n.ReachedAt)
			}
		}
		slices.Reverse(all)
		again := attribute("acme", payment(noon), all, DefaultConvertWithin)
		if again.Feature != got.Feature || !at(again.LimitReachedAt).Equal(at(got.LimitReachedAt)) {
			t.Fatalf("order matters: %+v, %+v", got, again)
		}
	})
}

func (b *bench) conversion(key string) (records.Conversion, bool) {
	b.store.mu.Lock()
	defer b.store.mu.Unlock()
	c, ok := b.store.conversions[key]
	return c, ok
}

func TestConversion(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.address()
	key := b.reach("api")
	sent := b.untilState(key, records.MailSent)
	b.advance(time.Minute)
	click := records.Account{Click: &records.Click{Feature: "api", WindowStart: sent.WindowStart}}
	b.account(click)
	b.advance(time.Hour)
	b.account(click) // only the first visit counts
	b.allow("api")
	b.account(records.Account{Payment: payment(b.clock())})
	want, _ := b.conversion("acme/sub_1")
	if !at(want.LimitReachedAt).Equal(noon) || !at(want.MailedAt).Equal(noon) || !at(want.ClickedAt).Equal(noon.Add(time.Minute)) || want.Feature != "api" {
		t.Errorf("conversion %+v", want)
	}
	// A repeat, also by another process, makes the same document.
	b.restart()
	b.account(records.Account{Payment: payment(b.clock())})
	if got, _ := b.conversion("acme/sub_1"); !same(got, want) || len(b.store.conversions) != 1 {
		t.Errorf("again: %+v", got)
	}
	b.account(records.Account{Payment: &records.Payment{Key: "acme/sub_1", Void: true}})
	if _, there := b.conversion("acme/sub_1"); there {
		t.Error("a void payment is still a conversion")
	}
	if b.reach("exports"); len(b.store.conversions) != 0 {
		t.Error("it came back")
	}
}

func same(a, b records.Conversion) bool {
	ok := at(a.LimitReachedAt).Equal(at(b.LimitReachedAt)) && at(a.MailedAt).Equal(at(b.MailedAt)) && at(a.ClickedAt).Equal(at(b.ClickedAt)) && a.ConvertedAt.Equal(b.ConvertedAt)
	a.LimitReachedAt, a.MailedAt, a.ClickedAt, a.ConvertedAt = b.LimitReachedAt, b.MailedAt, b.ClickedAt, b.ConvertedAt
	return ok && a == b
}

// Limits and payments come in different streams: the payment may be read first,
// even by another process.
func TestPaymentBeforeItsLimit(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	limit := b.reached("api")
	b.advance(time.Minute)
	b.allow("api")
	b.account(records.Account{Payment: payment(b.clock())})
	if c, _ := b.conversion("acme/sub_1"); c.LimitReachedAt != nil {
		t.Errorf("conversion %+v", c)
	}
	b.commit()
	b.restart()
	b.handle(inputLimits, limit)
	if c, _ := b.conversion("acme/sub_1"); !at(c.LimitReachedAt).Equal(noon) || c.Feature != "api" {
		t.Errorf("conversion %+v", c)
	}
	// In the end the payment is too old to matter.
	b.advance(40 * 24 * time.Hour)
	late := *payment(b.clock())
	late.Key = "acme/sub_2"
	b.account(records.Account{Payment: &late})
	if p := b.p.known("acme").Payments; len(p) != 1 || p[0].Key != "acme/sub_2" {
		t.Errorf("remembered %+v", p)
	}
}
