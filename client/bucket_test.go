package client

import (
	"encoding/json"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/stream"
)

func TestReadsABucketOfManyPages(t *testing.T) {
	t.Parallel()
	s := newSite(t, "", apiGate(10))
	const n = 6_000 // six pages
	for i := range n {
		customer := strconv.Itoa(i)
		body, err := json.Marshal(allowed(customer))
		if err == nil {
			_, err = s.js.PublishAsync("$KV.decisions."+events.DecisionKey(customer, "api"), body, jetstream.WithStallWait(10*time.Second))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	within(t, s.js.PublishAsyncComplete())
	if err := s.kv.Delete(t.Context(), events.DecisionKey("7", "api")); err != nil {
		t.Fatal(err)
	}
	c := s.synced()
	for _, i := range []int{0, 999, 1000, 1001, n - 1} {
		if d := c.Check(strconv.Itoa(i), "api"); d.Plan != "pro" {
			t.Errorf("customer %d: %+v", i, d)
		}
	}
	if d := c.Check("7", "api"); d.Plan != "free" {
		t.Errorf("a deleted decision: %+v", d)
	}
}

// republishing switches the republishing of what is put on or off, as when a message of
// it gets lost, or under a server of a former version.
func (s *site) republishing(on bool) {
	s.t.Helper()
	b, err := s.js.Stream(s.t.Context(), "KV_"+s.names.Bucket(events.BucketDecisions))
	if err != nil {
		s.t.Fatal(err)
	}
	cfg := b.CachedInfo().Config
	cfg.RePublish = nil
	if on {
		cfg.RePublish = stream.DecisionsBucket(s.names, 1).RePublish
	}
	if _, err := s.js.UpdateStream(s.t.Context(), cfg); err != nil {
		s.t.Fatal(err)
	}
}

func TestMissedDecisionsAreRead(t *testing.T) {
	t.Parallel()
	is := func(d events.Decision) bool { return !d.Allowed }
	until := time.Now().Add(time.Hour)
	for name, next := range map[string]func(s *site){
		"at the next one": func(s *site) {
			s.republishing(true)
			s.decide(allowed("eve"))
		},
		"at a probe": func(*site) {},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t, "acme", apiGate(100))
			c := s.synced(Namespace("acme"))
			missed := arrival(t, c, "bob", is)
			s.republishing(false)
			s.decide(blocked("bob", until))
			next(s)
			within(t, missed)
		})
	}
}

// TestABucketThatIsSetBackIsReadAgain: it was made anew, or restored.
func TestABucketThatIsSetBackIsReadAgain(t *testing.T) {
	t.Parallel()
	s := newSite(t, "", apiGate(100))
	for range 5 {
		s.decide(allowed("bob"))
	}
	c := s.synced()
	if err := s.js.DeleteKeyValue(t.Context(), events.BucketDecisions); err != nil {
		t.Fatal(err)
	}
	s.bucket()
	gone := arrival(t, c, "bob", func(d events.Decision) bool { return !d.Allowed })
	s.gates(apiGate(100))
	s.decide(blocked("bob", time.Now().Add(time.Hour)))
	within(t, gone)
}

// Another user may let the server send its answers anywhere: to the subject on which
// decisions are republished, too.
func TestAnswersToOthersAreNoDecisions(t *testing.T) {
	t.Parallel()
	s := newSite(t, "", apiGate(100))
	s.decide(blocked("bob", time.Now().Add(time.Hour)))
	c := s.synced()
	other := s.Connect(t)
	forged := s.names.Decision(events.DecisionKey("alice", "api"))
	key := "$KV.decisions." + events.DecisionKey("bob", "api")
	seen, err := other.SubscribeSync(forged)
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range []*nats.Msg{
		{Subject: "$JS.API.DIRECT.GET.KV_decisions", Data: []byte(`{"last_by_subj":"` + key + `"}`)},
		{Subject: "$JS.API.DIRECT.GET.KV_decisions." + key},
		{Subject: s.names.UsageIn("alice"), Data: []byte("{}")},
	} {
		m.Reply = forged
		if err := other.PublishMsg(m); err != nil {
			t.Fatal(err)
		}
		if _, err := seen.NextMsg(5 * time.Second); err != nil {
			t.Fatal(err)
		}
	}
	next := arrival(t, c, "carol", func(d events.Decision) bool { return !d.Allowed })
	s.decide(blocked("carol", time.Now().Add(time.Hour)))
	within(t, next) // came after them
	if d := c.Check("alice", "api"); !d.Allowed || d.Plan != "free" {
		t.Errorf("alice: %+v", d)
	}
}
