package fold

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"
)

// fieldsOf returns the fields that differ.
func fieldsOf(d Drift) (names []string) {
	for _, f := range d.Differences {
		names = append(names, f.Field)
	}
	return names
}

func TestCompareSubscriptions(t *testing.T) {
	t.Parallel()
	later := t0.Add(time.Hour)
	for name, c := range map[string]struct {
		change fields
		at     time.Time
		want   []string
	}{
		"alike":                 {fields{}, later, nil},
		"ended":                 {fields{"status": "canceled"}, later, []string{"status"}},
		"another price":         {fields{"price": "price_team"}, later, []string{"prices", "plan"}},
		"renewed":               {fields{"current_period_end": t0.AddDate(0, 2, 0).Unix()}, later, []string{"current_period_end"}},
		"ends with the period":  {fields{"cancel_at_period_end": true}, later, []string{"ends_at"}},
		"ends at a moment":      {fields{"cancel_at": t0.AddDate(0, 0, 3).Unix()}, later, []string{"ends_at"}},
		"asked before the rest": {fields{"status": "canceled"}, t0.Add(-time.Second), nil},
	} {
		for _, shape := range shapes {
			sh := newShop("cus_1", "acme")
			sh.shape = shape
			s := folded(t, testConfig(), sh.create("sub_1", "price_pro", "active"))
			for k, v := range c.change {
				sh.subs["sub_1"][k] = v
			}
			rec := fetchedRecord(t, 99, c.at, sh.object("sub_1"))
			d, differs := s.Compare(&rec.Fetched)
			if differs != (c.want != nil) || !slices.Equal(fieldsOf(d), c.want) || d.Customer != "acme" || d.ID != "sub_1" {
				t.Errorf("%s in %s: %+v", name, shape.version, d)
			}
			s.Apply(rec)
			if d, differs := s.Compare(&rec.Fetched); differs && !c.at.Before(t0) {
				t.Errorf("%s in %s: when applied, %+v remains", name, shape.version, d)
			}
		}
	}
}

func TestCompareUnknownObjects(t *testing.T) {
	t.Parallel()
	sh := newShop("cus_1", "acme").create("sub_1", "price_pro", "active")
	rec := fetchedRecord(t, 1, t0, sh.object("sub_1"))
	if d, differs := New(testConfig()).Compare(&rec.Fetched); !differs || d.Differences[0] != (Difference{"subscription", "", "active"}) || d.Customer != "acme" {
		t.Errorf("%+v", d)
	}
	// Only a payment has named it.
	sh = newShop("cus_1", "acme")
	sh.subs["sub_1"] = fields{"price": "price_pro", "status": "active"}
	s := folded(t, testConfig(), sh.invoice("invoice.paid", "sub_1", 2000, "subscription_create"))
	if d, differs := s.Compare(&rec.Fetched); !differs || d.Differences[0].Field != "subscription" {
		t.Errorf("%+v", d)
	}
}

func TestCompareCustomers(t *testing.T) {
	t.Parallel()
	customer := func(id, email, owner string) *Fetched {
		meta := fields{}
		if owner != "" {
			meta[DefaultCustomerKey] = owner
		}
		rec := fetchedRecord(t, 9, t0.Add(time.Hour), fields{"id": id, "object": "customer", "email": email, "metadata": meta})
		return &rec.Fetched
	}
	s := folded(t, testConfig(), newShop("cus_1", "acme").create("sub_1", "price_pro", "active"))
	for name, c := range map[string]struct {
		f    *Fetched
		want string
	}{
		"a stranger":                  {customer("cus_9", "eve@x.example", ""), "[]"},
		"one who says to be ours":     {customer("cus_9", "", "globex"), "[metadata.tidegate_customer]"},
		"who says so, with address":   {customer("cus_9", "g@x.example", "globex"), "[email metadata.tidegate_customer]"},
		"known, and nothing new":      {customer("cus_1", "", ""), "[]"},
		"known, and address is new":   {customer("cus_1", "ada@acme.example", ""), "[email]"},
		"known, and metadata are new": {customer("cus_1", "", "acme"), "[metadata.tidegate_customer]"},
	} {
		d, differs := s.Compare(c.f)
		if got := fmt.Sprint(fieldsOf(d)); got != c.want || differs != (c.want != "[]") {
			t.Errorf("%s: %+v", name, d)
		}
	}
	body, err := json.Marshal(customer("cus_1", "ada@acme.example", ""))
	if err != nil {
		t.Fatal(err)
	}
	rec, err := ParseRecord(KindFetched, body, 10, t0.Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	s.Apply(rec)
	if d, differs := s.Compare(&rec.Fetched); differs {
		t.Errorf("when applied, %+v remains", d)
	}
}

func TestCompareProducts(t *testing.T) {
	t.Parallel()
	s := New(testConfig())
	product := func(plan string) Record {
		return fetchedRecord(t, 1, t0, fields{"id": "prod_1", "object": "product", "metadata": fields{"plan": plan}})
	}
	rec := product("")
	if d, differs := s.Compare(&rec.Fetched); differs {
		t.Errorf("%+v", d)
	}
	rec = product("pro")
	if d, differs := s.Compare(&rec.Fetched); !differs || d.Differences[0] != (Difference{"plan", "", "pro"}) {
		t.Errorf("%+v", d)
	}
	s.Apply(rec)
	if d, differs := s.Compare(&rec.Fetched); differs {
		t.Errorf("when applied, %+v remains", d)
	}
	for _, raw := range []string{`{}`, `null`, `{"id":"x","object":"balance"}`, `{"id":"in_1","object":"invoice","amount_paid":"x"}`} {
		if d, differs := s.Compare(&Fetched{ID: "x", Type: "x", At: t0, Object: json.RawMessage(raw)}); differs {
			t.Errorf("%s: %+v", raw, d)
		}
	}
}

func TestOpen(t *testing.T) {
	t.Parallel()
	var shops []*shop
	for i := range 5 {
		id := fmt.Sprint("sub_", i)
		sh := newShop(fmt.Sprint("cus_", i), "acme").create(id, "price_pro", "active")
		if i == 2 {
			sh.wait(time.Second).end(id)
		}
		shops = append(shops, sh)
	}
	s := folded(t, testConfig(), shops...)
	if got := fmt.Sprint(s.Open("", 3), s.Open("sub_3", 3), s.Open("sub_4", 3)); got != "[sub_0 sub_1 sub_3] [sub_4] []" {
		t.Error(got)
	}
}
