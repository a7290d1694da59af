package ingest

import (
	"fmt"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/internal/link"
	"github.com/tidegate-io/tidegate/internal/records"
)

// TestClicksOfOneLink: one record an hour, also of two processes; another link and
// another hour are others.
func TestClicksOfOneLink(t *testing.T) {
	t.Parallel()
	var minutes atomic.Int64
	clock := func(o *Options) {
		o.Now = func() time.Time { return testNow.Add(time.Duration(minutes.Load()) * time.Minute) }
	}
	b := newBench(t, linkOptions, clock)
	o := b.srv.Options
	o.Metrics = nil
	second := httptest.NewServer(New(o).Handler())
	t.Cleanup(second.Close)
	first, other := b.url, second.URL
	click := func(url, token string) {
		t.Helper()
		b.url = url
		b.want(303, "GET", "/u/"+token, "")
	}
	one, two := token(link.Upgrade, 10*time.Hour), token(link.Upgrade, 11*time.Hour)
	clicks := func(want int) {
		t.Helper()
		if n := len(b.accounts()); n != want {
			t.Errorf("%d clicks at minute %d, want %d", n, minutes.Load(), want)
		}
	}
	for _, m := range []int64{0, 1, 10, 59} {
		minutes.Store(m)
		click(first, one)
		click(other, one)
	}
	clicks(1)
	click(other, two)
	clicks(2)
	minutes.Store(60)
	click(first, one)
	click(first, one)
	clicks(3)
}

// TestUnsubscribingAgain: who is unsubscribed is so already. Who was taken back by a later
// record, or of whom nothing is known now, is unsubscribed anew.
func TestUnsubscribingAgain(t *testing.T) {
	t.Parallel()
	b := newBench(t, linkOptions)
	stop := "/unsubscribe/" + token(link.Unsubscribe, time.Hour)
	stored := func(want int) {
		t.Helper()
		if n := len(b.accounts()); n != want {
			t.Errorf("%d records, want %d", n, want)
		}
	}
	b.want(200, "POST", stop, "") // no owner
	b.want(200, "POST", stop, "")
	stored(2)
	var c atomic.Pointer[records.Customer]
	c.Store(&records.Customer{ID: "acme", Position: 7})
	b.owner("enforcer", func(string) any { return standing{Known: true, Customer: *c.Load()} })
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			if got := b.call("POST", stop, ""); got.status != 200 {
				t.Errorf("%d", got.status)
			}
		})
	}
	wg.Wait()
	stored(3)
	c.Store(&records.Customer{ID: "acme", Position: 8, Suppressed: "unsubscribed"})
	b.want(200, "POST", stop, "")
	stored(3)
	c.Store(&records.Customer{ID: "acme", Position: 9}) // allowed again
	b.want(200, "POST", stop, "")
	stored(4)
	c.Store(&records.Customer{ID: "acme", Position: 10, Suppressed: "bounced"})
	b.want(200, "POST", stop, "")
	stored(5)
}

// TestIDsOfClicksCannotBeForeseen: an app may publish to ACCOUNT with any message id. It
// knows the links, as decisions have them, and must not be able to stop a click with one.
func TestIDsOfClicksCannotBeForeseen(t *testing.T) {
	t.Parallel()
	b := newBench(t, linkOptions)
	one := token(link.Upgrade, time.Hour)
	b.want(303, "GET", "/u/"+one, "")
	id := b.stored("ACCOUNT")[0].Header.Get("Nats-Msg-Id")
	hour := fmt.Sprint(testNow.Unix() / 3600)
	if id == "" || strings.Contains(id, one) || id == link.Once(nil, "click", one, hour) || id != link.Once([]byte("a newer secret"), "click", one, hour) {
		t.Errorf("id %q", id)
	}
}

// TestPagesOfLinksThatEnd: a person reads whether the link was too old or was damaged.
func TestPagesOfLinksThatEnd(t *testing.T) {
	t.Parallel()
	b := newBench(t, linkOptions)
	for _, c := range []struct{ path, says string }{
		{"/u/" + token(link.Upgrade, -time.Hour), "This link has expired"},
		{"/u/" + token(link.Upgrade, time.Hour) + "A", "This link is not valid"},
		{"/u/" + token(link.Unsubscribe, time.Hour), "This link is not valid"},
		{"/unsubscribe/" + token(link.Unsubscribe, time.Hour)[1:], "This link is not valid"},
	} {
		a := b.want(404, "GET", c.path, "")
		if page := string(a.body); !strings.Contains(page, "<h1>"+c.says+"</h1>") || a.header.Get("Content-Type") != "text/html; charset=utf-8" {
			t.Errorf("%s: %s", c.path, page)
		}
	}
}
