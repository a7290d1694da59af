package client

import (
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/events"
)

// emptied are the ways in which the bucket can lose all decisions.
var emptied = map[string]func(s *site) error{
	"purged": func(s *site) error {
		b, err := s.js.Stream(s.t.Context(), "KV_decisions")
		if err != nil {
			return err
		}
		return b.Purge(s.t.Context())
	},
	"made anew": func(s *site) error {
		if err := s.js.DeleteKeyValue(s.t.Context(), events.BucketDecisions); err != nil {
			return err
		}
		s.bucket()
		return nil
	},
	"set back": func(s *site) error {
		if err := s.js.DeleteKeyValue(s.t.Context(), events.BucketDecisions); err != nil {
			return err
		}
		s.bucket()
		older := allowed("bob")
		older.Position = 1
		s.decide(older)
		return nil
	},
}

// TestAnAppKeepsItsDecisionsWhileALostBucketIsRepaired: the owners of the partitions put
// the gates and the decisions again, one after the other.
func TestAnAppKeepsItsDecisionsWhileALostBucketIsRepaired(t *testing.T) {
	t.Parallel()
	for name, lose := range emptied {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, "", apiGate(100))
			for range 20 {
				s.decide(allowed("bob"))
			}
			until := time.Now().Add(time.Hour)
			s.decide(blocked("bob", until))
			c := s.synced()
			if err := lose(s); err != nil {
				t.Fatal(err)
			}
			again := make(chan struct{}, 1) // a sync shows every decision
			t.Cleanup(c.Watch("carol", func(events.Decision) { again <- struct{}{} }))
			s.gates(apiGate(100))
			s.decide(blocked("carol", until))
			within(t, again)
			if d := c.Check("bob", "api"); d.Allowed {
				t.Errorf("before the decision is repaired: %+v", d)
			}
			repaired := arrival(t, c, "bob", func(d events.Decision) bool { return d.Allowed })
			s.decide(allowed("bob"))
			within(t, repaired)
		})
	}
}

// TestWhatIsCarriedOverALossHasItsTime: a decision that no owner puts again is gone.
func TestWhatIsCarriedOverALossHasItsTime(t *testing.T) {
	t.Parallel()
	s := newSite(t, "", apiGate(100))
	until := time.Now().Add(time.Hour)
	for range 20 {
		s.decide(blocked("foreign", until))
	}
	c := s.synced(func(o *config) error { o.carryFor = time.Second; return nil })
	syncs := make(chan struct{}, 100) // each shows every decision
	t.Cleanup(c.Watch("bob", func(events.Decision) { syncs <- struct{}{} }))
	if err := emptied["made anew"](s); err != nil {
		t.Fatal(err)
	}
	s.gates(apiGate(100))
	s.decide(blocked("bob", until))
	within(t, syncs)
	if c.Check("foreign", "api").Allowed {
		t.Error("it was not carried over the loss")
	}
	within(t, syncs)
	if !c.Check("foreign", "api").Allowed || c.Check("bob", "api").Allowed {
		t.Error("the bucket does not count after its repair")
	}
}
