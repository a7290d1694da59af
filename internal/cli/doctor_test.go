package cli

import (
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

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

func TestDoctorJudgesRoomForUsage(t *testing.T) {
	for _, c := range []struct {
		bytes uint64
		most  int64
		state string
	}{{1 << 40, -1, stateOK}, {0, 1 << 30, stateOK}, {9e8, 1e9, stateOK}, {95e7, 1e9, stateWarning}, {1e9 - 1000, 1e9, stateFailed}} {
		info := &jetstream.StreamInfo{Config: jetstream.StreamConfig{Name: "USAGE", MaxBytes: c.most}, State: jetstream.StreamState{Bytes: c.bytes}}
		if state, detail := judgeUsage(info); state != c.state || (state != stateOK) != strings.Contains(detail, "nats stream edit USAGE") {
			t.Errorf("%d of %d: %s %q", c.bytes, c.most, state, detail)
		}
	}
}
