package chaos

import (
	"encoding/json"
	"reflect"
	"time"

	"github.com/tidegate-io/tidegate/internal/records"
)

// conversions: one for each customer whose payment Stripe has told of, however
// often and in whatever order, joined with the limit that was reached last
// before it.
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

// flat is a conversion with its times as text: pointers don't compare.
func flat(c records.Conversion) map[string]any {
	m := map[string]any{}
	b, _ := json.Marshal(c) // plain values
	_ = json.Unmarshal(b, &m)
	return m
}

// reachedBefore is when the customer reached a limit last before a payment, whose
// time is rounded down to seconds.
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
