package client

import (
	"net/http"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/events"
)

// FuzzBucket puts two hostile values into the bucket, before and after the first sync. An
// app goes on, whatever they hold.
func FuzzBucket(f *testing.F) {
	gates := `{"partitions":4,"default_plan":"free","gates":[{"feature":"api","event":"api","aggregate":"count","period":"30d","window":"anniversary","limit":10,"in_plan":true,"triggers":[{"path":"/api/*"}]}]}`
	decision := `{"customer":"acme","feature":"api","allowed":false,"reason":"limit_reached","plan":"free","limit":10,"used":10,"window_start":"2026-01-01T00:00:00Z","window_end":"2026-02-01T00:00:00Z","position":7}`
	for _, value := range []string{
		gates, decision, "", "null", "{", `{"partitions":9223372036854775807}`, `{"partitions":1,"gates":[{}]}`, `{"partitions":1,"gates":[null]}`,
		`{"partitions":1,"gates":[{"feature":"api","event":"api","period":"0d","window":"anniversary"}]}`,
		`{"partitions":1,"gates":[{"feature":"api","event":"api","period":"999999999999d","window":"rolling","limit":-1}]}`,
		`{"customer":"acme","feature":"api","limit":-9223372036854775808,"used":9223372036854775807.999999999,"window_end":"9999-12-31T23:59:59-12:00"}`,
		`{"customer":"acme","feature":"api","window_start":"9999-12-31T23:59:59Z","window_end":"0001-01-01T00:00:00Z","decided_at":"0001-01-01T00:00:00Z"}`,
	} {
		f.Add([]byte(gates), []byte(value))
		f.Add([]byte(value), []byte(decision))
	}
	f.Fuzz(func(t *testing.T, first, second []byte) {
		now := time.Date(2026, 1, 9, 0, 0, 0, 0, time.UTC)
		c := &Client{cache: newCache(), now: func() time.Time { return now }}
		c.coarse.Store(now.UnixNano())
		key := events.DecisionKey("acme", "api")
		d := newDraft(0)
		for _, value := range [][]byte{first, second} {
			for _, k := range []string{events.GatesKey, key} {
				_ = c.cache.load(d, entry{k, value})
			}
		}
		if d.gates == nil {
			d.gates = newGateSet(&events.Gates{Partitions: 1})
		}
		c.cache.publish(d, now)
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "http://app/api/x", nil)
		if err != nil {
			t.Fatal(err)
		}
		for _, value := range [][]byte{first, second, nil} {
			for _, k := range []string{events.GatesKey, key, "=own.0", "odd"} {
				_ = c.cache.apply(entry{k, value}, now)
				c.Check("acme", "api")
				c.Check("new", "api")
				_, _ = c.cache.view.Load().gates.match(nil, r)
			}
		}
	})
}
