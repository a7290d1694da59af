package fold

import (
	"cmp"
	"slices"
	"time"
)

// DefaultGrace is how long a customer keeps the plan after a failed payment,
// unless configured otherwise.
const DefaultGrace = 7 * 24 * time.Hour

// DefaultCustomerKey is the metadata key that holds our customer's id unless
// configured otherwise.
const DefaultCustomerKey = "tidegate_customer"

// planKey is the metadata key of a price or a product that names its plan.
const planKey = "plan"

// Config is the part of the configuration that the fold depends on. It is not
// stored: the fold derives what a customer may use again when it changes.
type Config struct {
	CustomerKey string        // "" means DefaultCustomerKey
	Grace       time.Duration // of a failed payment; 0 gives none
	Plans       Plans
}

func (c Config) withDefaults() Config {
	c.CustomerKey = cmp.Or(c.CustomerKey, DefaultCustomerKey)
	c.Plans.Default = cmp.Or(c.Plans.Default, "free")
	return c
}

// Plans says which plan a Stripe price leads to. The first match decides, in this
// order: the lookup key, the price, the product, metadata "plan" of the price,
// metadata "plan" of the product, a lookup key that the price once had (so that
// subscribers of an old price keep the plan when the key moves to a new price),
// Any.
type Plans struct {
	Order      []string // all plans as the catalog lists them: a later one is better
	Default    string   // of customers without a subscription; "" means "free"
	LookupKeys map[string]string
	Prices     map[string]string
	Products   map[string]string
	Any        string // for a price that leads to no other plan; "" is none
}

// item is a price as an object shows it.
type item struct {
	Price   string `cbor:"p,omitempty"`
	Lookup  string `cbor:"l,omitempty"`
	Product string `cbor:"o,omitempty"`
	Plan    string `cbor:"m,omitempty"` // from its metadata
}

func (a item) compare(b item) int {
	return cmp.Or(cmp.Compare(a.Price, b.Price), cmp.Compare(a.Lookup, b.Lookup),
		cmp.Compare(a.Product, b.Product), cmp.Compare(a.Plan, b.Plan))
}

// of returns the plan of a price, or "".
func (p *Plans) of(it item, f *priceFacts) string {
	if it.Product == "" {
		it.Product = f.product(it.Price)
	}
	for _, plan := range []string{
		p.LookupKeys[it.Lookup], p.Prices[it.Price], p.Products[it.Product],
		p.known(f.planOf(it)), p.known(f.productPlan(it.Product)),
	} {
		if plan != "" {
			return plan
		}
	}
	best := ""
	for _, key := range f.lookups(it.Price) {
		best = p.better(best, p.LookupKeys[key])
	}
	return cmp.Or(best, p.Any)
}

// best returns the best plan of several prices, or "".
func (p *Plans) best(items []item, f *priceFacts) string {
	best := ""
	for _, it := range items {
		best = p.better(best, p.of(it, f))
	}
	return best
}

// known returns name if it is a plan, or "".
func (p *Plans) known(name string) string {
	if slices.Contains(p.Order, name) {
		return name
	}
	return ""
}

// rank orders plans: none, the default, those not listed, then as listed.
func (p *Plans) rank(plan string) int {
	switch plan {
	case "":
		return -3
	case p.Default:
		return -2
	}
	return slices.Index(p.Order, plan)
}

func (p *Plans) better(a, b string) string {
	if p.rank(b) > p.rank(a) || p.rank(b) == p.rank(a) && b > a {
		return b
	}
	return a
}

// paid reports whether a plan is neither none nor the default plan.
func (p *Plans) paid(plan string) bool { return plan != "" && plan != p.Default }

// Price identifies a price at Stripe.
type Price struct {
	ID, LookupKey, Product string
}

// PriceOf returns an invented price that leads to the plan, for the events of
// `tidegate dev upgrade`. It returns false when no price leads to the plan.
func (p *Plans) PriceOf(plan string) (Price, bool) {
	price := Price{ID: "price_dev_" + plan, Product: "prod_dev_" + plan}
	var ok bool
	if price.LookupKey, ok = smallest(p.LookupKeys, plan); ok {
		return price, true
	}
	if id, ok := smallest(p.Prices, plan); ok {
		price.ID = id
		return price, true
	}
	if id, ok := smallest(p.Products, plan); ok {
		price.Product = id
		return price, true
	}
	return price, plan != "" && p.Any == plan
}

// smallest returns the smallest key whose value is plan.
func smallest(m map[string]string, plan string) (string, bool) {
	best, found := "", false
	for k, v := range m {
		if v == plan && (!found || k < best) {
			best, found = k, true
		}
	}
	return best, found
}
