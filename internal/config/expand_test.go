package config

import (
	"strings"
	"testing"
)

func TestExpand(t *testing.T) {
	t.Parallel()
	env := func(name string) (string, bool) {
		v, ok := map[string]string{"A": "1", "EMPTY": "", "DOLLAR": "$$ ${A}", "_b2": "two"}[name]
		return v, ok
	}
	for _, c := range []struct{ in, want, err string }{
		{in: "", want: ""},
		{in: "plain", want: "plain"},
		{in: "${A}", want: "1"},
		{in: "x${A}y${_b2}z", want: "x1ytwoz"},
		{in: "${EMPTY}", want: ""},
		{in: "${NONE:-}", want: ""},
		{in: "${NONE:-a:-b c}", want: "a:-b c"},
		{in: "${EMPTY:-full}", want: "full"},
		{in: "${A:-other}", want: "1"},
		{in: "${DOLLAR}", want: "$$ ${A}"}, // a variable's value is not expanded again
		{in: "$$", want: "$"},
		{in: "$$$$", want: "$$"},
		{in: "$${A}", want: "${A}"},
		{in: "$$${A}", want: "$1"},
		{in: "$.tokens", want: "$.tokens"},
		{in: "$A costs 5$", want: "$A costs 5$"},
		{in: "${NONE}", err: "the variable NONE is not set"},
		{in: "${A", err: "${ without its }"},
		{in: "a${", err: "${ without its }"},
		{in: "${}", err: "names no variable"},
		{in: "${:-x}", err: "names no variable"},
		{in: "${1A}", err: "names no variable"},
		{in: "${A }", err: "names no variable"},
		{in: "${A-x}", err: "names no variable"},
	} {
		got, _, err := expand(c.in, env)
		switch {
		case c.err == "" && err != nil:
			t.Errorf("%q: %v", c.in, err)
		case c.err != "" && (err == nil || !strings.Contains(err.Error(), c.err)):
			t.Errorf("%q: got error %v, want %s", c.in, err, c.err)
		case got != c.want:
			t.Errorf("%q: got %q, want %q", c.in, got, c.want)
		}
	}
}

func TestDurations(t *testing.T) {
	t.Parallel()
	for in, want := range map[string]string{
		"70d": "70d", "24h": "1d", "1d12h": "36h", "90m": "1h30m", "0s": "0d", "1d2h3m4s": "26h3m4s", "36500d": "36500d", "48h": "2d", "60m": "1h", "61s": "1m1s",
	} {
		c, err := Parse([]byte(base+"stripe: {grace: "+in+"}\n"), nil)
		if err != nil {
			t.Errorf("%s: %v", in, err)
			continue
		}
		if got := written(c.Stripe.Grace); got != want {
			t.Errorf("%s is %s, want %s", in, got, want)
		}
	}
}
