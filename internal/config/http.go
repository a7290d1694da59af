package config

import (
	"net/netip"
	"strconv"
	"strings"
	"time"
)

// HTTP bounds what callers of the HTTP API may do to each process; 0 is no bound.
type HTTP struct {
	RequestsPerSecond   int // of a key
	EventsPerSecond     int // of a key
	AddressPerSecond    int // requests without a valid key of a client's address
	NewCustomersPerHour int // of a key
	NewTypesPerHour     int // of a key: types that no gate meters
	StreamsPerKey       int // of /v1/decisions, open at a time
	Streams             int // of all keys
	Connections         int // open at a time, of each listener
	// Proxies are those whose X-Forwarded-For says the client's address.
	Proxies []netip.Prefix
	// RefuseUncounted is for how long usage is taken of a partition that nobody counts.
	RefuseUncounted time.Duration
}

// DefaultHTTP is in force where the configuration says nothing.
var DefaultHTTP = HTTP{
	RequestsPerSecond: 20_000, EventsPerSecond: 500_000, AddressPerSecond: 1_000, NewCustomersPerHour: 100_000, NewTypesPerHour: 1_000,
	StreamsPerKey: 1_000, Streams: 4_000, Connections: 10_000, RefuseUncounted: 10 * time.Minute,
}

func httpBounds(o object) HTTP {
	def := DefaultHTTP
	return HTTP{
		RequestsPerSecond:   o.get("requests_per_second").bound(def.RequestsPerSecond),
		EventsPerSecond:     o.get("events_per_second").bound(def.EventsPerSecond),
		AddressPerSecond:    o.get("address_per_second").bound(def.AddressPerSecond),
		NewCustomersPerHour: o.get("new_customers_per_hour").bound(def.NewCustomersPerHour),
		NewTypesPerHour:     o.get("new_types_per_hour").bound(def.NewTypesPerHour),
		StreamsPerKey:       o.get("streams_per_key").bound(def.StreamsPerKey),
		Streams:             o.get("streams").bound(def.Streams),
		Connections:         o.get("connections").bound(def.Connections),
		Proxies:             o.get("proxies").prefixes(),
		RefuseUncounted:     o.get("refuse_uncounted").duration(def.RefuseUncounted),
	}
}

const maxBound = 1_000_000_000

// bound reads a whole number, whose digits may be grouped, or unlimited, which is 0.
func (f field) bound(def int) int {
	want := "a whole number from 1 to " + strconv.Itoa(maxBound) + ", or unlimited"
	v, quoted, ok := f.scalar(want)
	if !ok {
		return def
	}
	if v == "unlimited" {
		return 0
	}
	digits := strings.ReplaceAll(v, "_", "")
	n, err := strconv.Atoi(digits)
	if err != nil || quoted || n < 1 || n > maxBound || strconv.Itoa(n) != digits || strings.HasPrefix(v, "_") || strings.HasSuffix(v, "_") {
		f.fail("must be %s, not %s", want, quote(v))
		return def
	}
	return n
}

// prefixes reads a list of addresses and ranges of them.
func (f field) prefixes() (list []netip.Prefix) {
	for _, item := range f.list() {
		v, ok := item.text("an address such as 10.0.0.7, or a range such as 10.0.0.0/8")
		if !ok {
			continue
		}
		p, err := netip.ParsePrefix(v)
		if ip, iperr := netip.ParseAddr(v); iperr == nil && ip.Zone() == "" {
			p, err = netip.PrefixFrom(ip, ip.BitLen()), nil
		}
		if err != nil {
			item.fail("%s is neither an address such as 10.0.0.7 nor a range such as 10.0.0.0/8", quote(v))
			continue
		}
		list = append(list, p.Masked())
	}
	return list
}
