package funnel

import (
	"encoding/json"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tidegate-io/tidegate/internal/records"
)

func day(n int) time.Time { return time.Date(2026, 1, n, 12, 0, 0, 0, time.UTC) }

func reached(customer, feature, plan string, at time.Time, state records.MailState) records.Notification {
	return records.Notification{Customer: customer, Feature: feature, Plan: plan, Kind: records.LimitKindReached, ReachedAt: at, State: state}
}

func paid(customer, feature string, limit, at time.Time, amount int64) records.Conversion {
	return records.Conversion{Kind: records.MoveConversion, Customer: customer, Feature: feature, FromPlan: "free", Amount: amount, Currency: "usd", LimitReachedAt: &limit, ConvertedAt: at}
}

func TestShape(t *testing.T) {
	t.Parallel()
	n := []records.Notification{reached("acme", "api", "free", day(2), records.MailSent)}
	c := []records.Conversion{paid("acme", "api", day(2), day(2).Add(time.Hour), 2000)}
	for _, test := range []struct {
		by, want string
	}{
		{"", `{"reached":1,"mailed":1,"delivered":0,"clicked":0,"converted":1,"median_seconds_to_convert":3600,"p90_seconds_to_convert":3600,"amounts":{"usd":2000}}`},
		{"plan", `[{"key":"free","reached":1,"mailed":1,"delivered":0,"clicked":0,"converted":1,"median_seconds_to_convert":3600,"p90_seconds_to_convert":3600,"amounts":{"usd":2000}}]`},
		{"feature", `[{"key":"api","reached":1,"mailed":1,"delivered":0,"clicked":0,"converted":1,"median_seconds_to_convert":3600,"p90_seconds_to_convert":3600,"amounts":{"usd":2000}}]`},
		{"week", `[{"key":"2026-W01","reached":1,"mailed":1,"delivered":0,"clicked":0,"converted":1,"median_seconds_to_convert":3600,"p90_seconds_to_convert":3600,"amounts":{"usd":2000}}]`},
	} {
		if got := text(t, Answer(day(1), day(30), test.by, n, c)); got != test.want {
			t.Errorf("by %q\n got %s\nwant %s", test.by, got, test.want)
		}
	}
}

func TestNobody(t *testing.T) {
	t.Parallel()
	want := `{"reached":0,"mailed":0,"delivered":0,"clicked":0,"converted":0,"median_seconds_to_convert":null,"p90_seconds_to_convert":null,"amounts":{}}`
	if got := text(t, Answer(day(1), day(30), "", nil, nil)); got != want {
		t.Errorf("got %s", got)
	}
	if got := text(t, Answer(day(1), day(30), "week", nil, nil)); got != "[]" {
		t.Errorf("by week: %s", got)
	}
}

func TestSteps(t *testing.T) {
	t.Parallel()
	delivered := reached("b", "api", "free", day(3), records.MailDelivered)
	delivered.DeliveredAt, delivered.ClickedAt = new(day(3)), new(day(4))
	warning := reached("d", "api", "free", day(3), records.MailSent)
	warning.Kind = records.LimitKindThreshold
	n := []records.Notification{
		reached("a", "api", "free", day(2), records.MailNone),
		reached("a", "exports", "free", day(3), records.MailSent), // the same customer again
		delivered,
		reached("c", "api", "pro", day(3), records.MailCancelled),
		warning, // no limit was reached
		reached("e", "api", "free", day(20), records.MailSent), // after the period
	}
	direct := records.Conversion{Kind: records.MoveConversion, Customer: "x", Currency: "usd", Amount: 9000, ConvertedAt: day(5)} // without a limit before
	c := []records.Conversion{
		paid("b", "api", day(3), day(4), 2000),
		paid("b", "api", day(3), day(9), 3000), // came back within the period
		paid("a", "exports", day(3), day(5), 1000),
		direct,
		paid("e", "api", day(20), day(21), 500),
	}
	for _, kind := range []records.MoveKind{records.MoveReactivation, records.MoveTrial, records.MoveUpgrade, records.MoveChurn, records.MoveRefund} {
		other := paid("c", "api", day(3), day(6), 7000)
		other.Kind = kind
		c = append(c, other)
	}
	row := Funnel(day(1), day(15), "", n, c)[0]
	got := [...]int{row.Reached, row.Mailed, row.Delivered, row.Clicked, row.Converted}
	if got != [...]int{3, 2, 1, 1, 2} || row.Amounts["usd"] != 6000 {
		t.Errorf("got %v, %v", got, row.Amounts)
	}
	if *row.MedianSeconds != 36*3600 || *row.P90Seconds != 48*3600 {
		t.Errorf("median %d, p90 %d", *row.MedianSeconds, *row.P90Seconds)
	}
	var keys []string
	for _, r := range Funnel(day(1), day(15), ByFeature, n, c) {
		keys = append(keys, r.Key)
	}
	if !slices.Equal(keys, []string{"api", "exports"}) {
		t.Errorf("features %v", keys)
	}
}

func TestPercentiles(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		seconds     []int
		median, p90 int64
	}{
		{[]int{5}, 5, 5},
		{[]int{4, 2}, 3, 4},
		{[]int{1, 2, 30}, 2, 30},
		{[]int{1, 2, 3, 4, 5, 6, 7, 8, 9, 10}, 5, 9},
		{[]int{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}, 6, 10},
		{[]int{-1}, 0, 0}, // clocks differ
	} {
		var c []records.Conversion
		for i, s := range test.seconds {
			c = append(c, paid(string(rune('a'+i)), "api", day(1), day(1).Add(time.Duration(s)*time.Second), 1))
		}
		row := Funnel(time.Time{}, time.Time{}, "", nil, c)[0]
		if *row.MedianSeconds != test.median || *row.P90Seconds != test.p90 {
			t.Errorf("%v: median %d, p90 %d", test.seconds, *row.MedianSeconds, *row.P90Seconds)
		}
	}
}

// TestProperties: later steps count fewer customers, order does not matter, and all
// rows together count at least as many customers as one row.
func TestProperties(t *testing.T) {
	t.Parallel()
	customers := rapid.SampledFrom([]string{"a", "b", "c", "d"})
	features := rapid.SampledFrom([]string{"api", "exports"})
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.SliceOf(rapid.Custom(func(t *rapid.T) records.Notification {
			state := rapid.SampledFrom([]records.MailState{records.MailNone, records.MailSent, records.MailDelivered}).Draw(t, "state")
			n := reached(customers.Draw(t, "customer"), features.Draw(t, "feature"), "free", day(rapid.IntRange(1, 40).Draw(t, "day")), state)
			if state == records.MailDelivered {
				n.DeliveredAt = &n.ReachedAt
			}
			return n
		})).Draw(t, "notifications")
		c := rapid.SliceOf(rapid.Custom(func(t *rapid.T) records.Conversion {
			at := day(rapid.IntRange(1, 40).Draw(t, "day"))
			return paid(customers.Draw(t, "customer"), features.Draw(t, "feature"), at.Add(-time.Hour), at, 100)
		})).Draw(t, "conversions")
		all := Funnel(day(5), day(35), "", n, c)[0]
		if all.Mailed > all.Reached || all.Delivered > all.Mailed {
			t.Fatalf("steps do not narrow: %+v", all)
		}
		for _, by := range []string{ByPlan, ByFeature, ByWeek} {
			sum, amount := 0, int64(0)
			for _, r := range Funnel(day(5), day(35), by, n, c) {
				if r.Reached > all.Reached || r.Converted > all.Converted {
					t.Fatalf("by %s: %+v is more than %+v", by, r, all)
				}
				sum, amount = sum+r.Reached, amount+r.Amounts["usd"]
			}
			if sum < all.Reached || amount != all.Amounts["usd"] {
				t.Fatalf("by %s: %d reached, %d paid; all: %+v", by, sum, amount, all)
			}
		}
		before, _ := json.Marshal(all)
		slices.Reverse(n)
		slices.Reverse(c)
		after, _ := json.Marshal(Funnel(day(5), day(35), "", n, c)[0])
		if string(before) != string(after) {
			t.Fatalf("order matters: %s, %s", before, after)
		}
	})
}

func text(t *testing.T, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
