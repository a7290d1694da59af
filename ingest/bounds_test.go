package ingest

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/questions"
	"github.com/tidegate-io/tidegate/internal/test/wait"
)

// boundedBench is a bench with bounds, keys "one" and "two", and a clock that stands
// still until the test moves it.
type boundedBench struct {
	*bench
	bounds atomic.Pointer[Bounds]
	clock  atomic.Int64
}

func newBoundedBench(t *testing.T, of Bounds) *boundedBench {
	t.Helper()
	keys, err := ParseKeys("one:key-one:events+read+admin,two:key-two:events+read")
	ok(t, err)
	b := &boundedBench{}
	b.bounds.Store(&of)
	b.bench = newBench(t, linkOptions, func(o *Options) { o.Bounds, o.Keys = b.bounds.Load, func() Keys { return keys } })
	b.srv.bounds.since = func() time.Duration { return time.Duration(b.clock.Load()) }
	b.key = "key-one"
	return b
}

func (b *boundedBench) pass(d time.Duration) { b.clock.Add(int64(d)) }

// refused demands a 429 that names the bound, and returns its problem.
func (b *boundedBench) refused(bound, method, path, body string, headers ...string) map[string]any {
	b.t.Helper()
	a := b.want(429, method, path, body, headers...)
	p := a.json(b.t)
	if detail := p["detail"].(string); p["bound"] != "http."+bound || !strings.Contains(detail, "raise http."+bound) || a.header.Get("Retry-After") == "" {
		b.t.Errorf("%s %s: %v, Retry-After %q, want %s", method, path, p, a.header.Get("Retry-After"), bound)
	}
	return p
}

func TestRequestsOfAKeyAreBounded(t *testing.T) {
	t.Parallel()
	b := newBoundedBench(t, Bounds{RequestsPerSecond: 2})
	for range 4 { // two seconds' worth in a burst
		b.want(200, "GET", "/v1/gates", "")
	}
	p := b.refused("requests_per_second", "GET", "/v1/gates", "")
	if !strings.Contains(p["detail"].(string), `"one"`) || strings.Contains(p["detail"].(string), "key-one") {
		t.Errorf("the detail names the key: %v", p)
	}
	b.refused("requests_per_second", "POST", "/v1/events", oneEvent)
	b.refused("requests_per_second", "GET", "/v1/auth", "")
	for range 10 {
		b.want(200, "GET", "/livez", "")
		b.want(200, "GET", "/readyz", "")
	}
	if m := string(b.want(200, "GET", "/metrics", "").body); !strings.Contains(m, `tidegate_http_limited_total{bound="http.requests_per_second"} 3`) {
		t.Error("the metric is missing")
	}
	b.key = "key-two"
	b.want(200, "GET", "/v1/gates", "") // another key has its own
	b.key = "key-one"
	b.pass(500 * time.Millisecond)
	b.want(200, "GET", "/v1/gates", "")
	b.refused("requests_per_second", "GET", "/v1/gates", "")
	b.bounds.Store(&Bounds{RequestsPerSecond: 1000}) // an edited configuration
	b.pass(time.Millisecond)
	b.want(200, "GET", "/v1/gates", "")
}

func TestEventsOfAKeyAreBounded(t *testing.T) {
	t.Parallel()
	b := newBoundedBench(t, Bounds{EventsPerSecond: 10})
	batch := func(n int) string {
		list := make([]string, n)
		for i := range list {
			list[i] = fmt.Sprintf(`{"type":"api","subject":"acme","id":"%d"}`, i)
		}
		return "[" + strings.Join(list, ",") + "]"
	}
	b.want(202, "POST", "/v1/events", batch(40)) // a batch may be larger than the burst
	p := b.refused("events_per_second", "POST", "/v1/events", oneEvent)
	if !strings.Contains(p["detail"].(string), "10 events a second") {
		t.Error(p)
	}
	b.refused("events_per_second", "POST", "/v1/customers", `{"id":"acme"}`)
	b.pass(2 * time.Second)
	b.refused("events_per_second", "POST", "/v1/events", oneEvent)
	b.pass(100 * time.Millisecond)
	b.want(202, "POST", "/v1/events", oneEvent)
	b.want(200, "GET", "/v1/gates", "") // what is no event passes
}

func TestAddressesAreBounded(t *testing.T) {
	t.Parallel()
	b := newBoundedBench(t, Bounds{AddressPerSecond: 1, Proxies: []netip.Prefix{netip.MustParsePrefix("127.0.0.0/8")}})
	for i, r := range []struct {
		method, path string
		status       int
	}{
		{"GET", "/u/x", 404}, {"GET", "/unsubscribe/x", 404}, {"POST", "/webhooks/stripe", 503}, {"GET", "/", 200}, {"GET", "/none", 404}, {"PATCH", "/v1/events", 405}, {"GET", "/v1/gates", 401},
	} {
		b.key = ""
		if r.status == 401 {
			b.key = "wrong"
		}
		from := fmt.Sprintf("X-Forwarded-For: 198.51.100.%d", i)
		b.want(r.status, r.method, r.path, "", from)
		b.want(r.status, r.method, r.path, "", from)
		b.refused("address_per_second", r.method, r.path, "", from)
		b.want(r.status, r.method, r.path, "", "X-Forwarded-For: 198.51.101."+fmt.Sprint(i))
		b.want(200, "GET", "/livez", "", from)
		b.key = "key-one"
		b.want(200, "GET", "/v1/gates", "", from) // who has a key is bounded by it
	}
}

func TestClientAddress(t *testing.T) {
	t.Parallel()
	proxies := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}
	for _, c := range []struct {
		remote    string
		forwarded []string
		want      string
	}{
		{"192.0.2.1:1234", nil, "192.0.2.1"},
		{"192.0.2.1:1234", []string{"198.51.100.1"}, "192.0.2.1"}, // not a proxy of ours: not believed
		{"10.0.0.1:1234", nil, "10.0.0.1"},
		{"10.0.0.1:1234", []string{"198.51.100.1"}, "198.51.100.1"},
		{"10.0.0.1:1234", []string{"203.0.113.9, 198.51.100.1"}, "198.51.100.1"}, // the first is what the client says
		{"10.0.0.1:1234", []string{"203.0.113.9", "198.51.100.1, 10.0.0.2"}, "198.51.100.1"},
		{"10.0.0.1:1234", []string{"10.0.0.3, 10.0.0.2"}, "10.0.0.3"},
		{"10.0.0.1:1234", []string{"198.51.100.1:5678"}, "198.51.100.1"},
		{"10.0.0.1:1234", []string{"unknown, 10.0.0.2"}, "10.0.0.2"},
		{"10.0.0.1:1234", []string{""}, "10.0.0.1"},
		{"[fd00::1]:1234", []string{"[2001:db8::1]:443"}, "2001:db8::1"},
		{"[fd00::1]:1234", []string{"2001:db8::1"}, "2001:db8::1"},
		{"[::ffff:10.0.0.1]:1234", []string{"::ffff:198.51.100.1"}, "198.51.100.1"},
		{"[fe80::1%eth0]:1234", nil, "fe80::1%eth0"},
	} {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		r.RemoteAddr = c.remote
		r.Header["X-Forwarded-For"] = c.forwarded
		if got := clientAddress(r, proxies); got.String() != c.want {
			t.Errorf("%s %q: %s, want %s", c.remote, c.forwarded, got, c.want)
		}
	}
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.RemoteAddr = "@"
	if got := clientAddress(r, proxies); got.IsValid() {
		t.Error(got)
	}
}

func TestStreamsAreBounded(t *testing.T) {
	t.Parallel()
	b := newBoundedBench(t, Bounds{StreamsPerKey: 2, Streams: 3})
	first := b.stream(t, "")
	first.expect("gates", "")
	b.stream(t, "").expect("gates", "")
	p := b.refused("streams_per_key", "GET", "/v1/decisions", "")
	if !strings.Contains(p["detail"].(string), `"one"`) {
		t.Error(p)
	}
	b.key = "key-two"
	b.stream(t, "").expect("gates", "")
	if a := b.want(503, "GET", "/v1/decisions", ""); a.header.Get("Retry-After") == "" || a.json(t)["bound"] != "http.streams" {
		t.Errorf("%v %s", a.header, a.body)
	}
	first.cancel()
	wait.Until(t, "a place", func() error {
		if n := b.srv.bounds.streams.Load(); n != 2 {
			return fmt.Errorf("%d streams", n)
		}
		return nil
	})
	b.stream(t, "").expect("gates", "")
}

func TestTypesThatNothingMetersAreBounded(t *testing.T) {
	t.Parallel()
	b := newBoundedBench(t, Bounds{NewTypesPerHour: 2})
	event := func(typ, id string) string { return fmt.Sprintf(`{"type":%q,"subject":"acme","id":%q}`, typ, id) }
	b.want(202, "POST", "/v1/events", event("a", "1"))
	b.want(202, "POST", "/v1/events", event("b", "2"))
	p := b.refused("new_types_per_hour", "POST", "/v1/events", "["+event("c", "3")+","+event("api", "4")+","+event("a", "5")+"]")
	if p["accepted"] != 2.0 || p["refused"] != 1.0 {
		t.Error(p)
	}
	b.refused("new_types_per_hour", "POST", "/v1/events", event("d", "6"))
	b.want(202, "POST", "/v1/events", event("b", "7"))
	b.want(202, "POST", "/v1/events", event("tokens", "8"))
	if u := b.usage(); len(u) != 6 {
		t.Errorf("%d events are stored: %+v", len(u), u)
	}
	b.key = "key-two"
	b.want(202, "POST", "/v1/events", event("c", "9"))
	b.key = "key-one"
	b.pass(time.Hour)
	b.want(202, "POST", "/v1/events", event("c", "10"))
}

// owners answer which customers they know, for all partitions of a role.
type owners struct {
	mu    sync.Mutex
	known map[string]bool
	extra int // more customers in the first partition
	asked int // questions that named customers
}

func (b *boundedBench) owners(role string, known ...string) *owners {
	o := &owners{known: map[string]bool{}}
	for _, id := range known {
		o.known[id] = true
	}
	sub, err := b.nc.Subscribe("query."+role+".*.customers", func(m *nats.Msg) {
		o.mu.Lock()
		defer o.mu.Unlock()
		var ids []string
		if err := json.Unmarshal(m.Data, &ids); err != nil {
			b.t.Error(err)
		}
		if len(ids) > 0 {
			o.asked++
		}
		answer := questions.Customers{}
		if strings.HasPrefix(m.Subject, "query."+role+".0.") {
			answer.Total = o.extra
		}
		for i, id := range ids {
			if !o.known[id] {
				answer.Unknown = append(answer.Unknown, i)
			}
		}
		body, _ := json.Marshal(answer)
		_ = m.Respond(body)
	})
	ok(b.t, err)
	b.t.Cleanup(func() { _ = sub.Unsubscribe() })
	ok(b.t, b.nc.Flush())
	return o
}

func (o *owners) grow(n int) {
	o.mu.Lock()
	defer o.mu.Unlock()
	o.extra += n
}

func (o *owners) questions() int {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.asked
}

func use(customer string) string {
	return fmt.Sprintf(`{"type":"api","subject":%q,"id":"1"}`, customer)
}

func TestNewCustomersAreBounded(t *testing.T) {
	t.Parallel()
	b := newBoundedBench(t, Bounds{NewCustomersPerHour: 2})
	o := b.owners("aggregator", "old1", "old2", "old3")
	for _, id := range []string{"old1", "new1", "old2", "new2", "new1", "old3"} {
		b.want(202, "POST", "/v1/events", use(id))
	}
	asked := o.questions()
	if p := b.refused("new_customers_per_hour", "POST", "/v1/events", "["+use("new3")+","+use("old1")+","+use("new2")+"]"); p["accepted"] != 2.0 || p["refused"] != 1.0 {
		t.Error(p)
	}
	if n := o.questions() - asked; n != 1 {
		t.Errorf("%d questions for one customer that was not asked about before", n)
	}
	b.want(202, "POST", "/v1/events", `{"type":"unmetered","subject":"new4","id":"1"}`) // which brings no customer
	if a := b.want(204, "POST", "/v1/auth/api/features/x", "", "X-Customer-Id: new5", "X-Tidegate-Record: 1"); a.header.Get("X-Tidegate-Recorded") != "false" {
		t.Errorf("a use at the gateway: %v", a.header)
	}
	b.want(204, "POST", "/v1/auth/api/features/x", "", "X-Customer-Id: old1", "X-Tidegate-Record: 1")
	b.key = "key-two" // has its own
	b.want(202, "POST", "/v1/events", use("new6"))
	b.key = "key-one"
	b.pass(30 * time.Minute)
	b.want(202, "POST", "/v1/events", use("new3"))
	b.refused("new_customers_per_hour", "POST", "/v1/events", use("new5"))
	b.bounds.Store(&Bounds{})
	b.want(202, "POST", "/v1/events", use("new5"))
}

// TestNewCustomersWithoutOwners: usage does not wait for those who could say.
func TestNewCustomersWithoutOwners(t *testing.T) {
	t.Parallel()
	b := newBoundedBench(t, Bounds{NewCustomersPerHour: 1})
	for i := range 5 {
		b.want(202, "POST", "/v1/events", use(fmt.Sprint("new", i)))
	}
}

func TestNewProfilesAreBounded(t *testing.T) {
	t.Parallel()
	b := newBoundedBench(t, Bounds{NewCustomersPerHour: 2})
	b.owners("enforcer", "old1", "old2")
	b.key = "key-two"
	const address = `{"email":"ada@acme.example"}`
	b.want(200, "PUT", "/v1/customers/old1", address)
	b.want(200, "PUT", "/v1/customers/new1", address)
	b.want(202, "POST", "/v1/customers", `[{"id":"new2"},{"id":"old2"}]`)
	b.refused("new_customers_per_hour", "PUT", "/v1/customers/new3", address)
	b.refused("new_customers_per_hour", "POST", "/v1/customers", `[{"id":"new3"}]`)
	b.want(202, "POST", "/v1/customers", `[{"id":"new1"},{"id":"old2"}]`)
	b.key = "key-one" // an operator imports
	b.want(202, "POST", "/v1/customers", `[{"id":"new3"},{"id":"new4"},{"id":"new5"}]`)
}

// TestEventsAreLookedAtWhileCustomersBecomeMany, and not before nor after.
func TestEventsAreLookedAtWhileCustomersBecomeMany(t *testing.T) {
	t.Parallel()
	const most = 2 * alwaysWatched
	b := newBoundedBench(t, Bounds{NewCustomersPerHour: most})
	o := b.owners("aggregator")
	polled := func() { // has it asked once more how many there are
		b.pass(pollEvery)
		b.want(202, "POST", "/v1/events", use("acme"))
		wait.Until(t, "the poll", func() error {
			if b.srv.bounds.users.polling.Load() {
				return fmt.Errorf("under way")
			}
			return nil
		})
	}
	o.grow(1_000_000) // who were there before are not new
	polled()
	polled()
	o.grow(most/calm - 1)
	polled()
	b.want(202, "POST", "/v1/events", use("globex"))
	if n := o.questions(); n != 0 {
		t.Fatalf("%d questions while there is calm", n)
	}
	o.grow(100)
	polled()
	b.want(202, "POST", "/v1/events", use("initech"))
	if n := o.questions(); n == 0 {
		t.Fatal("no question while customers become many")
	}
	b.srv.bounds.key("one").users.Add(b.srv.bounds.since(), most, newcomerRate(most))
	b.refused("new_customers_per_hour", "POST", "/v1/events", use("hooli"))
	b.pass(time.Hour)
	asked := o.questions()
	polled()
	b.want(202, "POST", "/v1/events", use("umbrella"))
	if n := o.questions() - asked; n != 0 || b.srv.bounds.users.seen.Load() != nil {
		t.Errorf("%d questions after an hour of calm", n)
	}
}

func TestAskable(t *testing.T) {
	t.Parallel()
	long := make([]string, 5000)
	for i := range long {
		long[i] = strings.Repeat("x", events.MaxCustomerBytes)
	}
	if n := askable(long); n < 200 || n > 256 {
		t.Errorf("%d of the longest", n)
	}
	if n := askable(strings.Split(strings.Repeat("x,", 5000), ",")); n != maxAsked {
		t.Errorf("%d of the shortest", n)
	}
	if n := askable([]string{"x"}); n != 1 {
		t.Errorf("%d of one", n)
	}
}
