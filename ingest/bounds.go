package ingest

import (
	"fmt"
	"log/slog"
	"math"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tidegate-io/tidegate/internal/limit"
	"github.com/tidegate-io/tidegate/internal/questions"
)

// Bounds are what callers may do to this process; 0 is no bound.
type Bounds struct {
	RequestsPerSecond   int // of a key
	EventsPerSecond     int // of a key
	AddressPerSecond    int // requests without a valid key of a client's address
	NewCustomersPerHour int // of a key
	NewTypesPerHour     int // of a key: types that no gate meters
	StreamsPerKey       int // of decisions, open at a time
	Streams             int // of all keys
	Connections         int // the listeners hold this one
	// Proxies are those whose X-Forwarded-For says the client's address.
	Proxies []netip.Prefix
	// RefuseUncounted is for how long usage is taken that nobody counts.
	RefuseUncounted time.Duration
}

// burst is how much of a rate may come at once.
const burst = 2 * time.Second

// bounds knows what callers did. It is safe for concurrent use.
type bounds struct {
	of        func() *Bounds
	since     func() time.Duration // a clock that never goes back
	keys      sync.Map             // *keyUse by the caller's name
	addresses *limit.Addresses
	wrong     *limit.Addresses // of those who send wrong keys
	streams   atomic.Int64
	users     *newcomers // customers by usage
	profiles  *newcomers // customers by what is said of them
	refused   throttledLog
}

// keyUse is what the callers with one key did.
type keyUse struct {
	name             string
	requests, events limit.Bucket
	users, profiles  limit.Bucket
	streams          atomic.Int64
	types            typesSeen
}

func (s *Server) newBounds(of func() *Bounds) *bounds {
	if of == nil {
		none := &Bounds{}
		of = func() *Bounds { return none }
	}
	start := time.Now()
	b := &bounds{of: of, since: func() time.Duration { return time.Since(start) }, addresses: limit.NewAddresses(), wrong: limit.NewAddresses()}
	b.users = s.newNewcomers(b, questions.UsersOf, userPlaces)
	b.profiles = s.newNewcomers(b, questions.ProfilesOf, profilePlaces)
	return b
}

func (b *bounds) key(name string) *keyUse {
	if u, ok := b.keys.Load(name); ok {
		return u.(*keyUse)
	}
	u, _ := b.keys.LoadOrStore(name, &keyUse{name: name})
	return u.(*keyUse)
}

// exceeded returns the answer to a caller who has to wait.
func (s *Server) exceeded(bound, who string, most int, what string, wait time.Duration) *problem {
	bound = "http." + bound
	s.counters.set.GetOrCreateCounter(limitedMetric + `{bound="` + bound + `"}`).Inc()
	if n := s.bounds.refused.count(time.Now()); n > 0 {
		s.Log.Warn("requests were refused by a bound", slog.Uint64("count", n), slog.String("bound", bound), slog.String("who", who), slog.Int("most", most))
	}
	return &problem{Status: http.StatusTooManyRequests, Retry: int(math.Ceil(max(wait, time.Second).Seconds())),
		Detail: fmt.Sprintf("%s has reached the bound of %d %s: wait, or raise %s in the configuration", who, most, what, bound),
		More:   map[string]any{"bound": bound}}
}

func keyCalled(name string) string { return fmt.Sprintf("the API key %q", name) }

// boundRequest counts a request of a caller with a key.
func (s *Server) boundRequest(name string) error {
	most := s.bounds.of().RequestsPerSecond
	if wait := s.bounds.key(name).requests.Take(s.bounds.since(), 1, limit.Per(most, time.Second, burst)); wait > 0 {
		return s.exceeded("requests_per_second", keyCalled(name), most, "requests a second", wait)
	}
	return nil
}

// boundAddress counts a request of somebody without a key.
func (s *Server) boundAddress(r *http.Request) error {
	of := s.bounds.of()
	if of.AddressPerSecond == 0 {
		return nil
	}
	ip := clientAddress(r, of.Proxies)
	if wait := s.bounds.addresses.Take(s.bounds.since(), ip, limit.Per(of.AddressPerSecond, time.Second, burst)); wait > 0 {
		return s.exceeded("address_per_second", "your address", of.AddressPerSecond, "requests a second without a key", wait)
	}
	return nil
}

// boundEvents returns an error while the key has sent too many events. sent counts
// those that a request brought.
func (s *Server) boundEvents(u *keyUse) (sent func(int), err error) {
	most := s.bounds.of().EventsPerSecond
	rate := limit.Per(most, time.Second, burst)
	if wait := u.events.Wait(s.bounds.since(), rate); wait > 0 {
		return nil, s.exceeded("events_per_second", keyCalled(u.name), most, "events a second", wait)
	}
	return func(n int) { u.events.Add(s.bounds.since(), n, rate) }, nil
}

// streamRetry is when one who got no stream should ask again.
const streamRetry = 5 * time.Second

// boundStream takes the place of a stream of decisions, until it is given back.
func (s *Server) boundStream(u *keyUse) (giveBack func(), err error) {
	of := s.bounds.of()
	back := func() { u.streams.Add(-1); s.bounds.streams.Add(-1) }
	ofKey, all := u.streams.Add(1), s.bounds.streams.Add(1)
	switch {
	case of.StreamsPerKey > 0 && ofKey > int64(of.StreamsPerKey):
		back()
		return nil, s.exceeded("streams_per_key", keyCalled(u.name), of.StreamsPerKey, "open streams of decisions", streamRetry)
	case of.Streams > 0 && all > int64(of.Streams):
		back()
		p := s.exceeded("streams", "Tidegate", of.Streams, "open streams of decisions", streamRetry)
		p.Status = http.StatusServiceUnavailable
		return nil, p
	}
	return back, nil
}

// clientAddress returns the address that a request comes from. Behind the named
// proxies it is the last one of X-Forwarded-For that is not theirs: what stands before
// it, anybody may have written.
func clientAddress(r *http.Request, proxies []netip.Prefix) netip.Addr {
	host, _, _ := net.SplitHostPort(r.RemoteAddr)
	ip, _ := netip.ParseAddr(host)
	ip = ip.Unmap()
	if !within(proxies, ip) {
		return ip
	}
	hops := strings.Split(strings.Join(r.Header.Values("X-Forwarded-For"), ","), ",")
	for _, hop := range slices.Backward(hops) {
		next, ok := parseHop(strings.TrimSpace(hop))
		if !ok {
			return ip
		}
		if ip = next; !within(proxies, ip) {
			return ip
		}
	}
	return ip
}

// parseHop reads an address, with or without a port.
func parseHop(hop string) (netip.Addr, bool) {
	if host, _, err := net.SplitHostPort(hop); err == nil {
		hop = host
	}
	ip, err := netip.ParseAddr(strings.Trim(hop, "[]"))
	return ip.Unmap(), err == nil
}

func within(list []netip.Prefix, ip netip.Addr) bool {
	ip = ip.WithZone("")
	return slices.ContainsFunc(list, func(p netip.Prefix) bool { return p.Contains(ip) })
}

// typesSeen are the types of one hour that no gate meters.
type typesSeen struct {
	mu     sync.Mutex
	hour   int64
	hashes map[uint64]struct{}
}

// admit reports whether a type is one of the hour's, or may become one.
func (t *typesSeen) admit(now time.Duration, hash uint64, most int) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	if hour := int64(now / time.Hour); t.hashes == nil || hour != t.hour {
		t.hour, t.hashes = hour, map[uint64]struct{}{}
	}
	if _, known := t.hashes[hash]; known {
		return true
	}
	if len(t.hashes) >= most {
		return false
	}
	t.hashes[hash] = struct{}{}
	return true
}
