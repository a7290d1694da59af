package fold

import (
	"fmt"
	"slices"
	"testing"
)

func TestRefs(t *testing.T) {
	t.Parallel()
	const items = `"items":{"data":[{"price":{"id":"price_1","product":"prod_1"}},{"price":{"id":"price_2","product":{"id":"prod_2"}}}]}`
	for _, c := range []struct{ body, want string }{
		{`{"type":"customer.subscription.created","data":{"object":{"object":"subscription","id":"sub_1","customer":"cus_1",` + items + `}}}`,
			"[{subscription sub_1} {customer cus_1} {product prod_1} {product prod_2}]"},
		{`{"type":"customer.subscription.updated","data":{"object":{"object":"subscription","id":"sub_1","customer":{"id":"cus_1"}}}}`, "[{subscription sub_1}]"},
		{`{"type":"customer.subscription.created","data":{"object":{"object":"subscription","id":"sub_1","customer":{"id":"cus_1"}}}}`, "[{subscription sub_1} {customer cus_1}]"},
		{`{"type":"invoice.paid","data":{"object":{"object":"invoice","id":"in_1","subscription":"sub_1"}}}`, "[{subscription sub_1}]"},
		{`{"type":"invoice.paid","data":{"object":{"object":"invoice","id":"in_1","parent":{"subscription_details":{"subscription":"sub_1"}}}}}`, "[{subscription sub_1}]"},
		{`{"type":"invoice.paid","data":{"object":{"object":"invoice","id":"in_1"}}}`, "[]"},
		{`{"type":"checkout.session.completed","data":{"object":{"object":"checkout.session","id":"cs_1","subscription":"sub_1","customer":"cus_1"}}}`,
			"[{subscription sub_1} {customer cus_1}]"},
		{`{"type":"customer.deleted","data":{"object":{"object":"customer","id":"cus_1"}}}`, "[{customer cus_1}]"},
		{`{"type":"price.updated","data":{"object":{"object":"price","id":"price_1"}}}`, "[{price price_1}]"},
		{`{"type":"product.updated","data":{"object":{"object":"product","id":"prod_1"}}}`, "[{product prod_1}]"},
		{`{"type":"charge.dispute.created","data":{"object":{"object":"dispute","id":"dp_1","charge":"ch_1"}}}`, "[{charge ch_1}]"},
		{`{"type":"charge.refunded","data":{"object":{"object":"charge","id":"ch_1"}}}`, "[]"},
		{`{"object":"v2.core.event","type":"v1.customer.subscription.updated","related_object":{"id":"sub_1","type":"subscription","url":"/v1/subscriptions/sub_1"}}`, "[{subscription sub_1}]"},
		{`{"object":"v2.core.event","type":"v1.x","related_object":{"id":"sub_1"}}`, "[]"},
		{`{"object":"v2.core.event","related_object":[]}`, "[]"},
		{`{"type":"customer.subscription.updated","data":{"object":{"object":"subscription","id":7}}}`, "[]"},
		{`{"type":"customer.subscription.updated","data":{"object":7}}`, "[]"},
		{`{"type":"customer.subscription.updated","data":{"object":null}}`, "[]"},
		{`{"data":null}`, "[]"},
		{`null`, "[]"},
	} {
		e, err := ParseEnvelope([]byte(c.body))
		if got := fmt.Sprint(e.Refs()); err != nil || got != c.want {
			t.Errorf("%s\n  got %s, %v\n want %s", c.body, got, err, c.want)
		}
	}
}

// TestRefsInEveryShape: events of every API version name the same objects.
func TestRefsInEveryShape(t *testing.T) {
	t.Parallel()
	var want []Ref
	for i, sh := range shapes {
		s := newShop("cus_1", "acme")
		s.shape = sh
		s.buy("sub_1", "price_pro")
		var got []Ref
		for _, body := range s.evs {
			e, err := ParseEnvelope(body)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, e.Refs()...)
		}
		if !slices.Contains(got, Ref{"subscription", "sub_1"}) || !slices.Contains(got, Ref{"customer", "cus_1"}) {
			t.Errorf("%s: %v", sh.version, got)
		}
		if i == 0 {
			want = got
		} else if !slices.Equal(got, want) {
			t.Errorf("%s: %v, not %v", sh.version, got, want)
		}
	}
}
