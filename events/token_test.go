package events

import (
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// ids generates customers' ids, from usual ones to arbitrary bytes.
func ids() *rapid.Generator[string] {
	return rapid.OneOf(
		rapid.StringMatching(`[A-Za-z0-9_-]{1,20}`),
		rapid.StringMatching(`[a-z]{1,8}@[a-z]{1,8}\.[a-z]{2}`),
		rapid.StringN(1, 40, 256),
		rapid.Map(rapid.SliceOfN(rapid.Byte(), 1, 40), func(b []byte) string { return string(b) }),
	)
}

func TestToken(t *testing.T) {
	for id, want := range map[string]string{
		"":        "",
		"acme":    "acme",
		"a@b.c":   "a=40b=2Ec",
		"_gates":  "_gates",
		"~batch":  "=7Ebatch",
		"=own":    "=3Down",
		"a b":     "a=20b",
		"a*>":     "a=2A=3E",
		"é":       "=C3=A9",
		"客户":      "=E5=AE=A2=E6=88=B7",
		"a=40":    "a=3D40",
		"-_-":     "-_-",
		"\x00":    "=00",
		"org/8":   "org=2F8",
		"A\u00a0": "A=C2=A0",
	} {
		if got := Token(id); got != want {
			t.Errorf("Token(%q) = %q, want %q", id, got, want)
		}
	}
}

func TestTokensAreOneToOne(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		id := ids().Draw(t, "id")
		token := Token(id)
		back, err := ParseToken(token)
		if err != nil || back != id {
			t.Fatalf("%q → %q → %q, %v", id, token, back, err)
		}
		if strings.ContainsAny(token, ".*>~ \t\r\n") {
			t.Fatalf("%q is not one level of a subject", token)
		}
		// The ~ tokens of a partition and the special keys of the decisions bucket
		// are no customer's token.
		switch key := DecisionKey(id, "api"); {
		case token == BatchToken, token == ImportToken, token == ControlToken:
			t.Fatalf("%q is a reserved token", token)
		case strings.HasPrefix(key, "=own."), key == GatesKey:
			t.Fatalf("%q is a reserved key", key)
		}
		if other := ids().Draw(t, "other"); other != id && Token(other) == token {
			t.Fatalf("%q and %q share %q", id, other, token)
		}
	})
}

func TestParseTokenRefusesOtherTexts(t *testing.T) {
	for _, token := range []string{"", "~batch", "~import", "~control", "=own", "=", "=4", "a=", "a=4", "=4x", "=2e", "=61", "=5F",
		"a.b", "a b", "a*", ">", "é", "a\x00"} {
		if id, err := ParseToken(token); err == nil {
			t.Errorf("ParseToken(%q) = %q", token, id)
		}
	}
}

func FuzzParseToken(f *testing.F) {
	for _, s := range []string{"acme", "a=40b=2Ec", "=own", "~batch", "=", "=C3=A9", "=61"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, token string) {
		id, err := ParseToken(token)
		if err == nil && Token(id) != token {
			t.Fatalf("%q → %q → %q", token, id, Token(id))
		}
		if back, err := ParseToken(Token(token)); token != "" && (err != nil || back != token) {
			t.Fatalf("the id %q becomes %q, %v", token, back, err)
		}
	})
}
