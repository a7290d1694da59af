package config

import (
	"go.yaml.in/yaml/v3"

	"github.com/tidegate-io/tidegate/internal/gate"
)

// maxStripeID is the maximum length of Stripe's ids and lookup keys, in bytes.
const maxStripeID = 255

// plans reads the plans in the order of the file.
func plans(f field) []Plan {
	if !f.given() || f.null() {
		f.fail("is missing: name your plans, at least the one of customers who don't pay, such as {free: {default: true}, paid: {any_subscription: true}}")
		return nil
	}
	o := f.object(openPlans)
	if f.node.Kind != yaml.MappingNode {
		return nil
	}
	ps := make([]Plan, 0, len(o.names))
	mapped := map[string]string{} // Stripe object → path of the field that names it
	var defaultAt, anyAt field
	for _, name := range o.names {
		at := o.get(name)
		if problem := badName(name, gate.MaxName); problem != "" {
			at.fail("the plan's name %s", problem)
		}
		p := readPlan(name, at, mapped)
		if p.Default {
			once(&defaultAt, at, "is a second default plan: %s is the default already, and there is one")
		}
		if p.AnySubscription {
			once(&anyAt, at, "is a second plan for any_subscription: %s is that already, and there is one")
		}
		ps = append(ps, p)
	}
	if !defaultAt.given() {
		f.fail("no plan is the default: mark the one of customers without a subscription with default: true")
	}
	return ps
}

func once(first *field, at field, format string) {
	if first.given() {
		at.fail(format, first.path)
		return
	}
	*first = at
}

func readPlan(name string, at field, mapped map[string]string) Plan {
	o := at.object("plans.*")
	p := Plan{Name: name, Default: o.get("default").boolean(), AnySubscription: o.get("any_subscription").boolean()}
	s := o.get("stripe").object("plans.*.stripe")
	p.Stripe.LookupKeys = stripeIDs(s.get("lookup_keys"), "lookup key ", mapped)
	p.Stripe.Products = stripeIDs(s.get("products"), "product ", mapped)
	p.Stripe.Prices = stripeIDs(s.get("prices"), "price ", mapped)
	if p.Default && p.AnySubscription {
		o.get("any_subscription").fail("the default plan is that of customers without a subscription: give another plan any_subscription")
		p.AnySubscription = false
	}
	return p
}

// stripeIDs reads ids. Each may lead to one plan only.
func stripeIDs(f field, what string, mapped map[string]string) []string {
	var ids []string
	for _, item := range f.list() {
		id, ok := item.name("text as Stripe shows it", maxStripeID)
		if !ok {
			continue
		}
		if other, twice := mapped[what+id]; twice {
			item.fail("the %s%s is listed already at %s: it can lead to one plan only", what, quote(id), other)
		} else {
			mapped[what+id] = item.path
		}
		ids = append(ids, id)
	}
	return ids
}
