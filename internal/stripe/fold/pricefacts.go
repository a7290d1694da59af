package fold

import "slices"

// priceFacts holds the facts about prices and products, which may be newer than
// the price that a subscription shows.
type priceFacts struct {
	Prices   map[string]*priceFact
	Products map[string]*productFact
}

type priceFact struct {
	Newest  stamp    `cbor:"n"`
	Item    item     `cbor:"i"`
	Lookups []string `cbor:"l,omitempty"` // every lookup key it ever had, sorted
}

type productFact struct {
	Newest stamp  `cbor:"n"`
	Plan   string `cbor:"m,omitempty"`
}

func (f *priceFacts) product(price string) string {
	if p := f.Prices[price]; p != nil {
		return p.Item.Product
	}
	return ""
}

func (f *priceFacts) planOf(it item) string {
	if p := f.Prices[it.Price]; p != nil {
		return p.Item.Plan
	}
	return it.Plan
}

func (f *priceFacts) productPlan(product string) string {
	if p := f.Products[product]; p != nil {
		return p.Plan
	}
	return ""
}

func (f *priceFacts) lookups(price string) []string {
	if p := f.Prices[price]; p != nil {
		return p.Lookups
	}
	return nil
}

// addPrice merges an observation of a price. It reports whether there is something
// to commit (stored) and whether the plan of a subscription may differ now
// (matters).
func (f *priceFacts) addPrice(it item, at stamp) (stored, matters bool) {
	if it.Price == "" {
		return false, false
	}
	p := f.Prices[it.Price]
	if p == nil {
		p = &priceFact{}
		f.Prices[it.Price] = p
	}
	if i, ok := slices.BinarySearch(p.Lookups, it.Lookup); !ok && it.Lookup != "" {
		p.Lookups = slices.Insert(p.Lookups, i, it.Lookup)
		stored, matters = true, true
	}
	if p.Newest.ID == "" || at.compare(p.Newest) > 0 {
		matters = matters || p.Item != it
		stored = true
		p.Newest, p.Item = at, it
	}
	return stored, matters
}

// addProduct merges an observation of a product and reports whether it is the
// newest.
func (f *priceFacts) addProduct(id, plan string, at stamp) bool {
	p := f.Products[id]
	if p == nil {
		p = &productFact{}
		f.Products[id] = p
	}
	if p.Newest.ID != "" && at.compare(p.Newest) <= 0 {
		return false
	}
	p.Newest, p.Plan = at, plan
	return true
}
