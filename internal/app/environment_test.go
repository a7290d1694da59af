package app

import (
	"strings"
	"testing"

	"github.com/tidegate-io/tidegate/internal/stripe/fold"
)

func TestStripeMode(t *testing.T) {
	for _, c := range []struct {
		said, key string
		want      fold.Mode
		wrong     string
	}{
		{"", "", "", ""},
		{"", "sk_live_secret", fold.ModeLive, ""},
		{"", "rk_test_secret", fold.ModeTest, ""},
		{"live", "", fold.ModeLive, ""},
		{"test", "sk_test_secret", fold.ModeTest, ""},
		{"live", "sk_test_secret", "", "STRIPE_SECRET_KEY is a key of test mode"},
		{"prod", "", "", "neither live nor test"},
	} {
		t.Setenv("STRIPE_MODE", c.said)
		t.Setenv("STRIPE_SECRET_KEY", c.key)
		mode, err := stripeMode()
		if mode != c.want || (err == nil) != (c.wrong == "") || err != nil && (!strings.Contains(err.Error(), c.wrong) || strings.Contains(err.Error(), "secret")) {
			t.Errorf("%q and %q: %q, %v", c.said, c.key, mode, err)
		}
	}
}
