package link

import (
	"encoding/base64"
	"errors"
	"regexp"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"
)

var (
	secret  = []byte("a secret of the tests")
	secrets = [][]byte{secret}
	noon    = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
)

func sample() Link {
	return Link{Kind: Upgrade, Customer: "acme", Feature: "api", WindowStart: noon.Add(-48 * time.Hour), Expires: noon.Add(time.Hour)}
}

func links() *rapid.Generator[Link] {
	return rapid.Custom(func(t *rapid.T) Link {
		return Link{
			Kind:        rapid.SampledFrom([]Kind{Upgrade, Unsubscribe}).Draw(t, "kind"),
			Customer:    rapid.StringN(1, 256, 256).Draw(t, "customer"),
			Feature:     rapid.StringN(0, 64, 64).Draw(t, "feature"),
			WindowStart: time.Unix(rapid.Int64Range(-62135596800, 1<<36).Draw(t, "start"), rapid.Int64Range(0, 999_999_999).Draw(t, "nanos")).UTC(),
			Expires:     noon.Add(time.Duration(rapid.Int64Range(1, 1<<30).Draw(t, "seconds")) * time.Second),
		}
	})
}

func TestRoundTrip(t *testing.T) {
	t.Parallel()
	form := regexp.MustCompile(`^[A-Za-z0-9_-]+$`)
	rapid.Check(t, func(t *rapid.T) {
		l := links().Draw(t, "link")
		token := Sign(secret, l)
		if !form.MatchString(token) {
			t.Fatalf("%q needs escaping in a URL", token)
		}
		got, err := Parse(secrets, token, noon)
		if err != nil || got != l {
			t.Fatalf("got %+v, %v\nwant %+v", got, err, l)
		}
		if again := Sign(secret, got); again != token {
			t.Fatalf("signed again: %s, first: %s", again, token)
		}
	})
}

func TestZeroWindowStart(t *testing.T) {
	t.Parallel()
	l := sample()
	l.WindowStart = time.Time{}
	got, err := Parse(secrets, Sign(secret, l), noon)
	if err != nil || !got.WindowStart.IsZero() {
		t.Errorf("got %v, %v", got.WindowStart, err)
	}
}

// TestForgery: Parse refuses every changed token and every other secret.
func TestForgery(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		token := Sign(secret, links().Draw(t, "link"))
		raw, err := base64.RawURLEncoding.DecodeString(token)
		if err != nil {
			t.Fatal(err)
		}
		raw[rapid.IntRange(0, len(raw)-1).Draw(t, "at")] ^= byte(rapid.IntRange(1, 255).Draw(t, "flip"))
		if l, err := Parse(secrets, base64.RawURLEncoding.EncodeToString(raw), noon); !errors.Is(err, ErrInvalid) {
			t.Fatalf("a changed token gave %+v, %v", l, err)
		}
		if _, err := Parse([][]byte{[]byte("another"), nil, {}}, token, noon); !errors.Is(err, ErrInvalid) {
			t.Fatalf("another secret: %v", err)
		}
	})
}

func TestRefused(t *testing.T) {
	t.Parallel()
	good := Sign(secret, sample())
	for name, c := range map[string]struct {
		secret []byte
		token  string
		now    time.Time
		want   error
	}{
		"good":               {secret, good, noon, nil},
		"the last second":    {secret, good, noon.Add(time.Hour - 1), nil},
		"expired":            {secret, good, noon.Add(time.Hour), ErrExpired},
		"empty":              {secret, "", noon, ErrInvalid},
		"cut off":            {secret, good[:len(good)-1], noon, ErrInvalid},
		"longer":             {secret, good + "A", noon, ErrInvalid},
		"padded":             {secret, good + "=", noon, ErrInvalid},
		"with a line break":  {secret, good + "\n", noon, ErrInvalid},
		"no base64":          {secret, "%%%", noon, ErrInvalid},
		"far too long":       {secret, strings.Repeat("A", 1<<20), noon, ErrInvalid},
		"without a secret":   {nil, good, noon, ErrInvalid},
		"signed by no-one":   {nil, Sign(nil, sample()), noon, ErrInvalid},
		"expired and forged": {[]byte("x"), good, noon.Add(2 * time.Hour), ErrInvalid},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := Parse([][]byte{c.secret}, c.token, c.now); !errors.Is(err, c.want) {
				t.Errorf("got %v, want %v", err, c.want)
			}
		})
	}
}

func TestKindIsSigned(t *testing.T) {
	t.Parallel()
	l := sample()
	upgrade := Sign(secret, l)
	l.Kind = Unsubscribe
	if Sign(secret, l) == upgrade {
		t.Error("the kind makes no difference")
	}
	if l.Kind = "other"; Sign(secret, l) != "" {
		t.Error("an unknown kind was signed")
	}
}

func TestCompact(t *testing.T) {
	t.Parallel()
	if n := len(Sign(secret, sample())); n > 60 {
		t.Errorf("a token has %d characters", n)
	}
}

// FuzzParse: Parse accepts only tokens that Sign returns.
// TestRotation: links that a former secret signed are valid as long as it is listed.
func TestRotation(t *testing.T) {
	older, newer := []byte("the secret until today"), []byte("the secret from today on")
	before, after := Sign(older, sample()), Sign(newer, sample())
	for _, c := range []struct {
		secrets [][]byte
		token   string
		want    error
	}{
		{[][]byte{newer, older}, after, nil},
		{[][]byte{newer, older}, before, nil},
		{[][]byte{newer}, before, ErrInvalid},
		{[][]byte{older}, after, ErrInvalid},
		{[][]byte{nil, older}, before, nil},
		{nil, before, ErrInvalid},
	} {
		if _, err := Parse(c.secrets, c.token, noon); !errors.Is(err, c.want) {
			t.Errorf("%q: %v, want %v", c.secrets, err, c.want)
		}
	}
}

func FuzzParse(f *testing.F) {
	f.Add(Sign(secret, sample()))
	f.Add(Sign(secret, Link{Kind: Unsubscribe, Customer: "a", Expires: noon.Add(time.Hour)}))
	f.Add("")
	f.Add("AXUA")
	f.Fuzz(func(t *testing.T, token string) {
		l, err := Parse(secrets, token, noon)
		if err == nil && Sign(secret, l) != token {
			t.Errorf("%q was accepted as %+v", token, l)
		}
	})
}

// FuzzDecode: the decoder must not panic on any body, although it only gets signed
// ones.
func FuzzDecode(f *testing.F) {
	f.Add([]byte{version, 'u', 2, 2, 0, 1, 'a', 1, 'b'})
	f.Add([]byte{version, 'n', 0x80, 0x80})
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) < 2 {
			return
		}
		if l, err := decode(b); err == nil && l.Kind == "" {
			t.Errorf("%x gave %+v", b, l)
		}
	})
}
