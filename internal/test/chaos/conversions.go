package chaos

import (
	"encoding/json"
	"reflect"
	"time"

	"github.com/tidegate-io/tidegate/internal/records"
)

// conversions checks that each customer with a payment has one conversion, however
// often and in whatever order its webhooks came, with the limit that was reached last
// before.
func (c *checker) conversions() {
	got := map[string][]records.Conversion{}
	for _, one := range c.o.Converted {
		got[one.Customer] = append(got[one.Customer], one)
	}
	for id, who := range c.customers {
		list := got[id]
		delete(got, id)
		if who.Payment == nil && len(list) == 0 {
			continue
		}
		if who.Payment == nil || len(list) != 1 {
			c.differ("conversions", id, "", "%d: %+v", len(list), list)
			continue
		}
		p, is := who.Payment, list[0]
		want := records.Conversion{Kind: records.MoveConversion, Key: id + "/" + p.Subscription, Customer: id, FromPlan: "free", ToPlan: "pro", StripeEvent: p.Event,
			Amount: p.Amount, Currency: currency, Feature: is.Feature, LimitReachedAt: c.reachedBefore(id, p.At), MailedAt: is.MailedAt, ConvertedAt: p.At}
		if !reflect.DeepEqual(flat(want), flat(is)) {
			c.differ("conversions", id, "", "is %v, must be %v", flat(is), flat(want))
		}
	}
	for id := range got {
		c.differ("conversions", id, "", "of somebody who has not paid")
	}
}

// flat returns a conversion as text, because pointers to times can't be compared.
func flat(c records.Conversion) map[string]any {
	m := map[string]any{}
	b, _ := json.Marshal(c) // never fails for plain values
	_ = json.Unmarshal(b, &m)
	return m
}

// reachedBefore returns when the customer last reached a limit before a payment. The
// payment's time is rounded down to seconds.
func (c *checker) reachedBefore(customer string, paid time.Time) (last *time.Time) {
	for i := range c.o.Reached {
		n := &c.o.Reached[i]
		if n.Customer == customer && n.Kind == records.LimitKindReached && n.ReachedAt.Before(paid.Add(time.Second)) &&
			(last == nil || n.ReachedAt.After(*last)) {
			last = &n.ReachedAt
		}
	}
	return last
}
