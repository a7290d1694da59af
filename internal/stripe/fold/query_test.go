package fold

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/stream"
)

// startOffline starts a processor without a network; stop ends it.
func startOffline(t *testing.T, log *slog.Logger) (p *Processor, stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	p = NewProcessor(testConfig(), testPartitions, newMemoryStore())
	if err := p.Restore(nil); err != nil {
		t.Fatal(err)
	}
	p.start(ctx, events.Names{}, log, &outbox{})
	stop = func() { cancel(); <-p.done }
	return p, stop
}

func feed(t *testing.T, p *Processor, shops ...*shop) {
	t.Helper()
	for _, sh := range shops {
		for _, b := range sh.evs {
			if err := p.Handle(&stream.Message{Subject: "billing.stripe", Data: b, Seq: 1, Time: sh.at}); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := p.Flush(); err != nil {
		t.Fatal(err)
	}
}

func TestUnknownPriceIsLoggedOnceAndCounted(t *testing.T) {
	t.Parallel()
	var log bytes.Buffer
	p, stop := startOffline(t, slog.New(slog.NewTextHandler(&log, nil)))
	if f, ok := p.Figures(); !ok || f != (Figures{}) {
		t.Errorf("figures %+v %v", f, ok)
	}
	for i := range 3 {
		id := fmt.Sprint("c", i)
		feed(t, p, newShop("cus_"+id, id).create("sub_"+id, "price_x", "active").wait(time.Hour).update("sub_"+id, fields{"status": "past_due"}))
	}
	feed(t, p, newShop("cus_9", "").create("sub_9", "price_x", "active"))
	if n := strings.Count(log.String(), "price_x"); n != 1 {
		t.Errorf("logged %d times:\n%s", n, &log)
	}
	if f, ok := p.Figures(); !ok || f != (Figures{Unmapped: 1, Prices: 1}) {
		t.Errorf("figures %+v %v", f, ok)
	}
	stop()
	if f, ok := p.Figures(); ok {
		t.Errorf("who owns nothing counts %+v", f)
	}
}

func TestReportIsPaged(t *testing.T) {
	t.Parallel()
	var shops []*shop
	for i := range 5 {
		id := fmt.Sprint("cus_", i)
		shops = append(shops, newShop(id, "").customer("customer.created", "ada@acme.example").create("sub_"+id, "price_pro", "active"))
	}
	idle := newShop("cus_idle", "").customer("customer.created", "eve@acme.example") // has bought nothing
	gone := newShop("cus_gone", "").create("sub_gone", "price_pro", "active").wait(time.Hour).customer("customer.deleted", "")
	s := folded(t, testConfig(), append(shops, idle, gone)...)
	var got []string
	for after := ""; ; {
		r := s.Report(after, 2)
		if r.Total != 5 {
			t.Fatalf("total %d", r.Total)
		}
		for _, u := range r.Customers {
			got = append(got, u.StripeCustomer)
			if u.Plan != "pro" || u.Status != "active" || u.Email != "ada@acme.example" || len(u.Subscriptions) != 1 {
				t.Errorf("unmapped %+v", u)
			}
		}
		if after = r.Next; after == "" {
			break
		}
	}
	if fmt.Sprint(got) != "[cus_0 cus_1 cus_2 cus_3 cus_4]" {
		t.Errorf("pages %v", got)
	}
}

func TestThinEventsAreCounted(t *testing.T) {
	t.Parallel()
	s := New(testConfig())
	for i, body := range thinEvents(t) {
		rec, err := ParseRecord(KindStripe, body, uint64(i+1), t0)
		if err != nil {
			t.Fatal(err)
		}
		for range 2 {
			if c := s.Apply(rec); len(c) != 0 {
				t.Errorf("%s changed %+v", body, c)
			}
		}
	}
	b, err := s.Snapshot(0)
	if err != nil {
		t.Fatal(err)
	}
	if s, _, err = Restore(testConfig(), b); err != nil {
		t.Fatal(err)
	}
	if r := s.Report("", 1); r.Thin == nil || r.Thin.Count != uint64(len(thinEvents(t))) || !r.Thin.Last.Equal(t0) {
		t.Errorf("thin events %+v", r.Thin)
	}
}
