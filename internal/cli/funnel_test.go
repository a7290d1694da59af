package cli

import "testing"

func TestAmounts(t *testing.T) {
	for want, all := range map[string]map[string]int64{
		"":                                   nil,
		"usd 20.00":                          {"usd": 2000},
		"usd 0.05":                           {"usd": 5},
		"eur 1.00, jpy 500, kwd 1.500":       {"kwd": 1500, "jpy": 500, "eur": 100},
		"eur 12345.67, jpy 0, usd 100000.00": {"usd": 10000000, "jpy": 0, "eur": 1234567},
	} {
		if got := amounts(all); got != want {
			t.Errorf("%v: got %q, want %q", all, got, want)
		}
	}
}
