package events

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

func TestValidateNamesTheField(t *testing.T) {
	long := strings.Repeat("x", MaxIDBytes+1)
	for _, c := range []struct {
		e      Event
		reason string
	}{
		{Event{Subject: "acme"}, "`type` is missing"},
		{Event{Type: "tidegate.config", Subject: "acme"}, "`type` \"tidegate.config\""},
		{Event{Type: long, Subject: "acme"}, "`type` has 513 bytes"},
		{Event{Type: "api", Source: long, Subject: "acme"}, "`source` has 513 bytes"},
		{Event{Type: "api", ID: long, Subject: "acme"}, "`id` has 513 bytes"},
		{Event{Type: "api", ID: "\xff", Subject: "acme"}, "`id` is not valid UTF-8"},
		{Event{Type: "a\xff", Subject: "acme"}, "`type` is not valid UTF-8"},
		{Event{Type: "api"}, "`subject` is missing"},
		{Event{Type: "api", Subject: strings.Repeat("é", 129)}, "`subject` has 258 bytes"},
		{Event{Type: "api", Subject: "a\nb"}, "U+000A"},
		{Event{Type: "api", Subject: "a\x7f"}, "U+007F"},
		{Event{Type: "api", Subject: "a\u0085"}, "U+0085"},
		{Event{Type: "api", Subject: "."}, "`subject` is \".\""},
		{Event{Type: "api", Subject: ".."}, "`subject` is \"..\""},
		{Event{Type: "api", Subject: "acme\u202e"}, "`subject` contains U+202E"},
		{Event{Type: "api", Subject: "acme", ID: "\u2066"}, "`id` contains U+2066"},
		{Event{Type: "a\u200f", Subject: "acme"}, "`type` contains U+200F"},
		{Event{Type: "api", Source: "\u061c", Subject: "acme"}, "`source` contains U+061C"},
		{Event{Type: "api", Subject: "\xc3"}, "`subject` is not valid UTF-8"},
	} {
		if err := c.e.Validate(); !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), c.reason) {
			t.Errorf("%+v: %v, want %q", c.e, err, c.reason)
		}
	}
	for _, e := range []Event{
		{Type: "api", Subject: "acme"},
		{Type: "tidegated", Subject: "客户 42"},
		{Type: long[1:], ID: long[1:], Source: long[1:], Subject: strings.Repeat("é", 128)},
		{Type: "api", Subject: "\u00a0"},
	} {
		if err := e.Validate(); err != nil {
			t.Errorf("%+v: %v", e, err)
		}
	}
}

func TestCheckTime(t *testing.T) {
	horizon := 32 * 24 * time.Hour
	for _, c := range []struct {
		t       time.Time
		horizon time.Duration
		reason  string
	}{
		{noon, horizon, ""},
		{noon.Add(MaxAhead), horizon, ""},
		{noon.Add(MaxAhead + 1), horizon, "in the future"},
		{noon.Add(-horizon), horizon, ""},
		{noon.Add(-horizon - 1), horizon, "older than the horizon of 32d: use `tidegate import`"},
		{noon.Add(-90 * time.Minute), time.Hour, "1h0m0s"},
		{noon.AddDate(-20, 0, 0), 0, ""},
		{time.Unix(0, 0), 0, ""},
		{time.Date(1969, 12, 31, 23, 59, 59, 0, time.UTC), 0, "before 1970"},
		{time.Date(9999, 12, 31, 23, 59, 59, 0, time.UTC), 0, "in the future"},
		{time.Date(1, 1, 2, 0, 0, 0, 0, time.UTC), horizon, "before 1970"},
	} {
		err := CheckTime(c.t, noon, c.horizon)
		if (err == nil) != (c.reason == "") || err != nil && (!errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), c.reason)) {
			t.Errorf("%s, horizon %s: %v, want %q", c.t, c.horizon, err, c.reason)
		}
	}
}

func TestNamesHaveTheNamespace(t *testing.T) {
	n := Names{Namespace: "acme"}
	for got, want := range map[string]string{
		n.Stream(StreamUsage):               "acme_USAGE",
		n.Bucket(BucketDecisions):           "acme_decisions",
		n.UsageIn("a@b.c"):                  "acme.usage.in.a=40b=2Ec",
		n.Usage(3, BatchToken):              "acme.usage.p.3.~batch",
		n.Log("aggregator", 3):              "acme.state.aggregator.3.log",
		n.Snap("aggregator", 3):             "acme.state.aggregator.3.snap",
		n.Seen(3):                           "acme.seen.3",
		n.Windows(3):                        "acme.windows.3",
		n.Account(3):                        "acme.account.3",
		n.Limits(3):                         "acme.limits.3",
		n.Dead(3):                           "acme.dead.3",
		n.Billing("event"):                  "acme.billing.event",
		n.Query("aggregator", 3):            "acme.query.aggregator.3",
		Names{}.Stream(StreamUsage):         "USAGE",
		Names{}.UsageIn("acme"):             "usage.in.acme",
		DecisionKey("a.b", "reports/daily"): "a=2Eb.reports=2Fdaily",
	} {
		if got != want {
			t.Errorf("%s, want %s", got, want)
		}
	}
}

func TestPlainText(t *testing.T) {
	for n := range 20 {
		for at := range n {
			for c := range 256 {
				b := bytes.Repeat([]byte{'~'}, n)
				b[at] = byte(c)
				if got, want := plainText(string(b)), c >= 0x20 && c < 0x7f; got != want {
					t.Fatalf("%q: %t", b, got)
				}
			}
		}
	}
	if !plainText("") {
		t.Error("an empty text is not plain")
	}
}

// TestOrdinaryEventsAreValid: the fast check accepts no event that the full check
// refuses.
func TestOrdinaryEventsAreValid(t *testing.T) {
	text := rapid.OneOf(rapid.StringMatching(`[a-z ~]{0,20}`), rapid.String(), rapid.SampledFrom([]string{ControlPrefix + "x", "t", "\x7f", strings.Repeat("x", 257), strings.Repeat("x", 513)}))
	rapid.Check(t, func(t *rapid.T) {
		e := Event{ID: text.Draw(t, "id"), Source: text.Draw(t, "source"), Type: text.Draw(t, "type"), Subject: text.Draw(t, "subject")}
		if err := e.problem(); e.ordinary() && err != nil {
			t.Fatalf("%+v: %v", e, err)
		}
	})
}
