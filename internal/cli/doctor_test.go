package cli

import (
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidegate-io/tidegate/ingest"
	"github.com/tidegate-io/tidegate/internal/stripe/fold"
)

func TestOwnershipNamesWhoHasWhat(t *testing.T) {
	got := ownership(map[string]string{"aggregator.10": "b", "aggregator.2": "b", "enforcer.0": "b", "notifier.0": "a", "odd": "c"})
	if want := "a has notifier 0; b has aggregator 2,10 enforcer 0"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestDoctorJudgesBilling(t *testing.T) {
	for name, c := range map[string]struct {
		r      fold.Report
		hasKey bool
		state  string
		says   string
	}{
		"well":         {fold.Report{}, false, stateOK, "every"},
		"thin":         {fold.Report{Thin: &fold.Thin{Count: 1}}, false, stateWarning, "1 thin event came"},
		"thin and key": {fold.Report{Thin: &fold.Thin{Count: 1}}, true, stateOK, "every"},
		"many": {fold.Report{Total: 9, Customers: []fold.Unmapped{{StripeCustomer: "cus_1", Email: "ada@acme.example"}}}, false, stateWarning,
			"9 Stripe customers are nobody's: cus_1 (ada@acme.example), …"},
	} {
		if state, detail := judge(&c.r, c.hasKey); state != c.state || !strings.Contains(detail, c.says) {
			t.Errorf("%s: %s %q", name, state, detail)
		}
	}
}

func TestDoctorJudgesKeys(t *testing.T) {
	now := time.Date(2026, 3, 10, 12, 0, 0, 0, time.UTC)
	const strong = ":0123456789abcdef:read"
	for _, c := range []struct{ keys, state, says string }{
		{"app" + strong, stateOK, "1 API keys"},
		{"app" + strong + "@2026-03-25", stateOK, "1 API keys"},
		{"app" + strong + "@2026-03-23", stateWarning, "end within 14 days: app (2026-03-23)"},
		{"app" + strong + "@2026-03-10", stateWarning, "end within 14 days: app (2026-03-10)"},
		{"app" + strong + "@2026-03-09", stateWarning, "have ended: app (2026-03-09)"},
		{"app:secret:read", stateWarning, "can be guessed: app"},
	} {
		keys, err := ingest.ParseKeys(c.keys)
		if err != nil {
			t.Fatal(err)
		}
		if state, detail := judgeKeys(keys, now); state != c.state || !strings.Contains(detail, c.says) || strings.Contains(detail, "secret") {
			t.Errorf("%s: %s %q", c.keys, state, detail)
		}
	}
}

func TestDoctorJudgesRoomForUsage(t *testing.T) {
	for _, c := range []struct {
		bytes uint64
		most  int64
		state string
	}{{1 << 40, -1, stateOK}, {0, 1 << 30, stateOK}, {9e8, 1e9, stateOK}, {95e7, 1e9, stateWarning}, {1e9 - 1000, 1e9, stateFailed}} {
		info := &jetstream.StreamInfo{Config: jetstream.StreamConfig{Name: "USAGE", MaxBytes: c.most}, State: jetstream.StreamState{Bytes: c.bytes}}
		if state, detail := judgeSpace(info, "usage is"); state != c.state || (state != stateOK) != strings.Contains(detail, "nats stream edit USAGE") {
			t.Errorf("%d of %d: %s %q", c.bytes, c.most, state, detail)
		}
	}
}
