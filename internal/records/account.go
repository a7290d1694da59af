package records

import (
	"cmp"
	"encoding/json"
	"fmt"
	"net/mail"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/gate"
	"github.com/tidegate-io/tidegate/internal/strict"
)

// DecodeAccount reads a message of ACCOUNT. What an app published may say address and
// locale only, of the customer that its subject names. A role's record concerns a
// customer of the subject's partition. An error is for good: both readers of the stream
// come to it, and the enforcer writes the dead letter.
func DecodeAccount(subject string, data []byte, partitions int) (Account, error) {
	if token, ok := events.FromApp(subject); ok {
		return decodeIdentity(token, data)
	}
	var a Account
	if err := json.Unmarshal(data, &a); err != nil {
		return a, err
	}
	if err := a.validate(); err != nil || a.Gate != nil {
		return a, err
	}
	if p := events.PartitionOf(a.Customer, partitions); !strings.HasSuffix(subject, "."+strconv.Itoa(p)) {
		return a, fmt.Errorf("published to %s, but the customer %q belongs to partition %d of %d", subject, a.Customer, p, partitions)
	}
	return a, nil
}

func decodeIdentity(token string, data []byte) (a Account, err error) {
	var said events.Identity
	if a.Customer, err = events.ParseToken(token); err != nil {
		return a, err
	}
	if err := events.ValidateCustomer(a.Customer); err != nil {
		return a, err
	}
	if err := strict.Unmarshal(data, &said); err != nil {
		return a, fmt.Errorf("apps say address and locale only: %w", err)
	}
	if said.Customer != "" && said.Customer != a.Customer {
		return a, fmt.Errorf("published under %q, but it says the customer %.80q", token, said.Customer)
	}
	a.Email, a.Locale = said.Email, said.Locale
	return a, a.validate()
}

func (a *Account) validate() error {
	if a.Gate != nil {
		if a.Customer != "" { // or the enforcer would switch the gate, and the notifier apply the rest
			return fmt.Errorf("switches a gate, but names the customer %.80q", a.Customer)
		}
		return gate.ValidFeature(a.Gate.Feature)
	}
	if err := events.ValidateCustomer(a.Customer); err != nil {
		return err
	}
	if a.Email != nil && *a.Email != "" {
		if err := ValidEmail(*a.Email); err != nil && a.EmailSource == "" { // Stripe takes other ones, too: none is used
			return err
		}
	}
	if a.Locale != nil && *a.Locale != "" {
		if err := ValidLocale(*a.Locale); err != nil {
			return err
		}
	}
	if a.Plan != nil {
		if err := gate.ValidPlanName(a.Plan.Name); err != nil {
			return err
		}
	}
	if s := a.Subscription; s != nil {
		if err := gate.ValidPlanName(s.Plan); err != nil {
			return err
		}
	}
	if n := len(a.Overrides); n > gate.MaxOverrides {
		return fmt.Errorf("%d overrides, at most %d are allowed in a change", n, gate.MaxOverrides)
	}
	for feature, o := range a.Overrides {
		if err := cmp.Or(gate.ValidFeature(feature), o.Validate()); err != nil {
			return fmt.Errorf("override of %.80q: %w", feature, err)
		}
	}
	return cmp.Or(a.validateFacts()...)
}

// validateFacts checks what the notifier keeps in documents.
func (a *Account) validateFacts() (wrong []error) {
	need := func(what, key string, at time.Time, void bool) {
		if key == "" || len(key) > maxKey {
			wrong = append(wrong, fmt.Errorf("%s has no key of 1 to %d bytes", what, maxKey))
		}
		if err := gate.ValidMoment(at); err != nil && !void {
			wrong = append(wrong, fmt.Errorf("%s: %w", what, err))
		}
	}
	if a.Anchor != nil {
		need("anchor", "-", *a.Anchor, false)
	}
	if p := a.Payment; p != nil {
		need("payment", p.Key, p.At, p.Void)
	}
	if r := a.Refund; r != nil {
		need("refund", r.Key, r.At, r.Void)
	}
	if m := a.Move; m != nil {
		need("move", m.Key, m.At, m.Void)
	}
	if m := a.Mail; m != nil {
		need("mail", m.Key, m.At, false)
	}
	if c := a.Click; c != nil {
		wrong = append(wrong, gate.ValidFeature(c.Feature))
	}
	return wrong
}

// maxKey bounds the keys of documents: MongoDB's index takes 1024 bytes of an _id.
const maxKey = 1000

// ValidEmail returns nil when s is a bare mail address.
func ValidEmail(s string) error {
	at, err := mail.ParseAddress(s)
	if err != nil || at.Address != s || len(s) > 254 {
		return fmt.Errorf("%.80q is not a mail address such as ada@acme.example", s)
	}
	return nil
}

var localeForm = regexp.MustCompile(`^[A-Za-z]{2,8}([-_][A-Za-z0-9]{1,8}){0,4}$`)

// ValidLocale returns nil when s is a language tag.
func ValidLocale(s string) error {
	if !localeForm.MatchString(s) {
		return fmt.Errorf("%.80q is not a language tag such as en or pt-BR", s)
	}
	return nil
}
