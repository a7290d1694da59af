package ingest

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/gate"
	"github.com/tidegate-io/tidegate/internal/records"
	"github.com/tidegate-io/tidegate/internal/strict"
)

// decodeStrict reads one JSON object, of which every part must be understood.
func decodeStrict(body []byte, into any) error {
	if err := strict.Unmarshal(body, into); err != nil {
		return badRequest("%v", err)
	}
	return nil
}

// member is a field of an object that may be absent, null, or there.
type member[T any] struct {
	Set, Null bool
	Value     T
}

// UnmarshalJSON is called only when the field is there.
func (m *member[T]) UnmarshalJSON(b []byte) error {
	m.Set = true
	if string(b) == "null" {
		m.Null = true
		return nil
	}
	err := json.Unmarshal(b, &m.Value)
	var known *problem
	if err != nil && !errors.As(err, &known) {
		return badRequest("%.80s has the wrong type or form", b)
	}
	if err != nil {
		return err
	}
	return nil
}

// customerBody is what an app says of a customer.
type customerBody struct {
	ID             string                           `json:"id"` // only in a batch
	Email          member[string]                   `json:"email"`
	Plan           member[string]                   `json:"plan"`
	Anchor         member[string]                   `json:"anchor"`
	Locale         member[string]                   `json:"locale"`
	StripeCustomer member[string]                   `json:"stripe_customer"`
	Move           bool                             `json:"move"` // the Stripe customer, from whose it is
	Overrides      member[map[string]*overrideBody] `json:"overrides"`
	Reason         string                           `json:"reason"` // of the change, for the audit log
}

type overrideBody struct {
	Limit  *json.RawMessage `json:"limit"`
	Grant  *json.RawMessage `json:"grant"`
	Until  *string          `json:"until"`
	Reason string           `json:"reason"`
}

// UnmarshalJSON refuses what is not understood: the decoder asks only of the object
// around whether all is.
func (in *overrideBody) UnmarshalJSON(b []byte) error {
	type plain overrideBody
	if err := strict.Unmarshal(b, (*plain)(in)); err != nil {
		return badRequest("`overrides`: %v", err)
	}
	return nil
}

// permitted returns why the caller may not say what the body says. Everything but
// address and locale changes what a customer may do, or whose payments count.
func (b *customerBody) permitted(c caller) error {
	if c.can(ScopeAdmin) {
		return nil
	}
	for _, f := range [...]struct {
		name string
		set  bool
	}{{"plan", b.Plan.Set}, {"anchor", b.Anchor.Set}, {"overrides", b.Overrides.Set}, {"stripe_customer", b.StripeCustomer.Set}, {"move", b.Move}, {"reason", b.Reason != ""}} {
		if f.set {
			return &problem{Status: http.StatusForbidden, Detail: fmt.Sprintf("the API key lacks the scope %q, which `%s` takes: without it a key may say email and locale", string(ScopeAdmin), f.name)}
		}
	}
	return nil
}

var stripeForm = regexp.MustCompile(`^[A-Za-z0-9_]{1,255}$`)

// account checks the body against the catalog and turns it into a change; the
// error names the field.
func (b *customerBody) account(id string, c *gate.Catalog, now time.Time) (*records.Account, error) {
	a := &records.Account{Customer: id}
	if err := validCustomer(id); err != nil {
		return nil, err
	}
	for _, f := range [...]struct {
		name  string
		from  *member[string]
		to    **string
		check func(string) error
	}{
		{"email", &b.Email, &a.Email, records.ValidEmail},
		{"locale", &b.Locale, &a.Locale, records.ValidLocale},
		{"stripe_customer", &b.StripeCustomer, &a.StripeCustomer, matching(stripeForm, "a Stripe customer's id such as cus_123")},
	} {
		if !f.from.Set {
			continue
		}
		if v := f.from.Value; v != "" { // "" and null remove it
			if err := f.check(v); err != nil {
				return nil, badRequest("`%s` %v", f.name, err)
			}
		}
		*f.to = &f.from.Value
	}
	if b.Move && b.StripeCustomer.Value == "" {
		return nil, badRequest("`move` goes with a `stripe_customer`, which it takes from the customer that has it")
	}
	if err := gate.ValidReason(b.Reason); err != nil {
		return nil, badRequest("`reason`: %v", err)
	}
	if err := b.setPlan(a, c); err != nil {
		return nil, err
	}
	if err := b.setAnchor(a); err != nil {
		return nil, err
	}
	return a, b.setOverrides(a, c, now)
}

func matching(form *regexp.Regexp, what string) func(string) error {
	return func(s string) error {
		if !form.MatchString(s) {
			return fmt.Errorf("%.80q is not %s", s, what)
		}
		return nil
	}
}

func (b *customerBody) setPlan(a *records.Account, c *gate.Catalog) error {
	if !b.Plan.Set {
		return nil
	}
	if !b.Plan.Null {
		names := make([]string, 0, len(c.Plans))
		for _, p := range c.Plans {
			if p.Name == b.Plan.Value {
				a.Plan = &records.PlanPin{Name: p.Name}
				return nil
			}
			names = append(names, p.Name)
		}
		return badRequest("`plan` %.80q is not configured: use %s, or null for what Stripe says", b.Plan.Value, strings.Join(names, ", "))
	}
	a.Plan = &records.PlanPin{}
	return nil
}

func (b *customerBody) setAnchor(a *records.Account) error {
	if !b.Anchor.Set {
		return nil
	}
	if b.Anchor.Null {
		return badRequest("`anchor` cannot be taken back: send the moment at which windows shall begin")
	}
	t, err := moment("anchor", b.Anchor.Value)
	a.Anchor = t
	return err
}

func moment(name, s string) (*time.Time, error) {
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return nil, badRequest("`%s` %.80q is not RFC 3339, such as 2026-01-31T12:00:00Z", name, s)
	}
	if err := gate.ValidMoment(t); err != nil {
		return nil, badRequest("`%s` %v", name, err)
	}
	t = t.UTC()
	return &t, nil
}

// removedGates is how many overrides of gates that are gone one change may take back.
const removedGates = 100

func (b *customerBody) setOverrides(a *records.Account, c *gate.Catalog, now time.Time) error {
	if !b.Overrides.Set {
		return nil
	}
	if b.Overrides.Null {
		return badRequest("`overrides` cannot be null: send {\"<feature>\": null} for each that shall end")
	}
	if n, most := len(b.Overrides.Value), min(len(c.Gates)+removedGates, gate.MaxOverrides); n > most {
		return badRequest("`overrides` has %d features, at most %d are allowed here", n, most)
	}
	a.Overrides = make(map[string]*gate.Override, len(b.Overrides.Value))
	for feature, in := range b.Overrides.Value {
		g, ok := c.Gate(feature)
		if in == nil {
			if err := gate.ValidFeature(feature); err != nil {
				return badRequest("`overrides`: %v", err)
			}
			a.Overrides[feature] = nil
			continue
		}
		if !ok {
			return badRequest("`overrides.%.80s`: no gate has this feature", feature)
		}
		o, err := in.override(g, now)
		if err != nil {
			return err
		}
		a.Overrides[feature] = o
	}
	return nil
}

func (in *overrideBody) override(g *gate.Gate, now time.Time) (*gate.Override, error) {
	feature := g.Feature
	o := &gate.Override{Reason: in.Reason, At: pointer(now)}
	if in.Limit == nil && in.Grant == nil {
		return nil, badRequest("`overrides.%s` needs `limit`, `grant` or both", feature)
	}
	if err := gate.ValidReason(in.Reason); err != nil {
		return nil, badRequest("`overrides.%s.reason`: %v", feature, err)
	}
	var err error
	if in.Until != nil {
		if o.Until, err = moment("overrides."+feature+".until", *in.Until); err != nil {
			return nil, err
		}
		if !o.Until.After(now) {
			return nil, badRequest("`overrides.%s.until` %s has passed: to end an override, send null in its place", feature, *in.Until)
		}
	}
	if in.Limit != nil {
		if o.Unlimited = string(*in.Limit) == `"unlimited"`; o.Unlimited && in.Grant != nil {
			return nil, badRequest("`overrides.%s` has no limit at all, so `grant` can add nothing: leave it out", feature)
		}
		if o.Unlimited {
			return o, nil
		}
		if o.Limit, err = amount("overrides."+feature+".limit", *in.Limit, g.Meter.Aggregate); err != nil || in.Grant == nil {
			return o, err
		}
	}
	if o.Grant, err = amount("overrides."+feature+".grant", *in.Grant, g.Meter.Aggregate); err == nil && o.Grant.Sign() == 0 {
		err = badRequest("`overrides.%s.grant` must be more than 0", feature)
	}
	return o, err
}

func amount(name string, raw json.RawMessage, how gate.Aggregate) (*events.Value, error) {
	v, err := events.ParseValue(strings.Trim(string(raw), `"`))
	if err != nil || v.Sign() < 0 {
		return nil, badRequest("`%s` %.40s is neither a number of at least 0 nor \"unlimited\"", name, raw)
	}
	if v.Nanos != 0 && how.Whole() {
		return nil, badRequest("`%s` %.40s has a fraction, but %s counts whole uses: only sum and max have fractions", name, raw, how)
	}
	return &v, nil
}
