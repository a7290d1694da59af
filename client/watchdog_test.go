package client

import (
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/events"
)

func TestAWatchThatSeesNothingIsBlind(t *testing.T) {
	type look struct{ last, reached uint64 }
	for name, c := range map[string]struct {
		newest uint64
		looks  []look
		blind  bool
	}{
		"all is seen":                     {5, []look{{5, 5}, {9, 9}, {9, 9}}, false},
		"something is on its way":         {5, []look{{9, 5}, {9, 9}}, false},
		"slow, but it goes on":            {5, []look{{90, 5}, {90, 20}, {90, 40}}, false},
		"nothing comes any more":          {5, []look{{9, 5}, {10, 5}}, true},
		"the last one was deleted before": {9, []look{{9, 5}, {9, 5}}, false},
		"no answer is not an answer":      {5, []look{{9, 5}, {0, 5}, {9, 9}}, false},
		"seen again meanwhile":            {5, []look{{9, 5}, {9, 9}, {12, 9}}, false},
	} {
		s, blind := watchdog{newest: c.newest}, false
		for _, l := range c.looks {
			blind = s.blind(l.last, l.reached) || blind
		}
		if blind != c.blind {
			t.Errorf("%s: blind is %v", name, blind)
		}
	}
}

// TestSurvivesTheLossOfItsConsumer: it is on one node of a cluster, which may
// not be the one that the app is connected to.
func TestSurvivesTheLossOfItsConsumer(t *testing.T) {
	t.Parallel()
	s := newSite(t, "", apiGate(100))
	c := s.synced()
	bucket, err := s.js.Stream(t.Context(), "KV_"+events.BucketDecisions)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for name := range bucket.ConsumerNames(t.Context()).Name() {
		names = append(names, name)
	}
	if len(names) == 0 {
		t.Fatal("nobody watches")
	}
	for _, name := range names {
		if err := bucket.DeleteConsumer(t.Context(), name); err != nil {
			t.Fatal(err)
		}
	}
	gone := arrival(t, c, "bob", func(d events.Decision) bool { return !d.Allowed })
	begin := time.Now()
	s.decide(blocked("bob", time.Now().Add(time.Hour)))
	within(t, gone)
	t.Logf("seen after %s", time.Since(begin))
}
