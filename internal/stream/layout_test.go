package stream

import (
	"errors"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/test/testnats"
)

// formerStreams makes USAGE and ACCOUNT as the first versions did.
func formerStreams(t *testing.T, js jetstream.JetStream, n events.Names) {
	t.Helper()
	meta := map[string]string{"tidegate-partitions": "4", "team": "platform"}
	for _, cfg := range []jetstream.StreamConfig{
		{Name: n.Stream("USAGE"), Metadata: meta, MaxAge: 80 * day, MaxBytes: 1 << 20, AllowDirect: true,
			Subjects:         []string{n.Subject("usage.in.*"), n.Subject("usage.p.*.~batch"), n.Subject("usage.p.*.~import"), n.Subject("usage.p.*.~control")},
			SubjectTransform: &jetstream.SubjectTransformConfig{Source: n.Subject("usage.in.*"), Destination: n.Subject("usage.p.{{partition(4,1)}}.{{wildcard(1)}}")}},
		{Name: n.Stream("ACCOUNT"), Metadata: meta, Subjects: []string{n.Subject("account.*")}},
	} {
		if _, err := js.CreateStream(t.Context(), cfg); err != nil {
			t.Fatal(err)
		}
	}
}

// TestFormerSubjectsAreMoved holds that a stream of the first versions gets the
// present subjects and keeps what its operator set, and what is in it.
func TestFormerSubjectsAreMoved(t *testing.T) {
	t.Parallel()
	for _, namespace := range []string{"", "acme"} {
		n := events.Names{Namespace: namespace}
		js := testnats.Start(t).JetStream(t)
		formerStreams(t, js, n)
		publish(t, js, n.UsageIn("acme"))
		for range 2 {
			if p, err := Ensure(t.Context(), js, Layout{Names: n}); err != nil || p != 4 {
				t.Fatalf("%d partitions, %v", p, err)
			}
		}
		publish(t, js, n.UsageIn("acme"))
		publish(t, js, n.Subject("usage.in.~control"))
		publish(t, js, n.AccountIn("acme"))
		p := events.PartitionOf("acme", 4)
		usage, err := js.Stream(t.Context(), n.Stream("USAGE"))
		if err != nil {
			t.Fatal(err)
		}
		for seq, want := range []string{n.Usage(p, "acme"), n.Usage(p, "in.acme"), n.Usage(events.Partition("~control", 4), "in.~control")} {
			if m, err := usage.GetMsg(t.Context(), uint64(seq+1)); err != nil || m.Subject != want {
				t.Errorf("stored at %+v, %v, want %s", m, err, want)
			}
		}
		if cfg := usage.CachedInfo().Config; cfg.MaxAge != 80*day || cfg.MaxBytes != 1<<20 || cfg.Metadata["team"] != "platform" {
			t.Errorf("the operator's settings are lost: %+v", cfg)
		}
		// The first versions start on a stream with this number in its metadata only. They
		// would pass over what apps publish now.
		if made := usage.CachedInfo().Config.Metadata["tidegate-partitions"]; made != "" {
			t.Errorf("a process of the first versions would start: made for %s", made)
		}
		if made, err := Partitions(t.Context(), js, n); made != 4 || err != nil {
			t.Errorf("%d partitions, %v", made, err)
		}
		if seq, err := Newest(t.Context(), js, n, Input{Stream: "ACCOUNT", Filters: n.AccountOf(strconv.Itoa(p))}); seq != 1 || err != nil {
			t.Errorf("ACCOUNT ends at %d, %v", seq, err)
		}
	}
}

// A process of the first versions would pass over messages at the present subjects.
func TestSubjectsAreNotMovedUnderFormerProcesses(t *testing.T) {
	t.Parallel()
	js := testnats.Start(t).JetStream(t)
	n := events.Names{}
	formerStreams(t, js, n)
	kv := owners(t, js)
	lease, err := Acquire(t.Context(), js, kv, "aggregator.0", "old", DefaultLeaseTTL)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := Ensure(t.Context(), js, Layout{}); !errors.Is(err, errFormer) {
		t.Fatalf("moved: %v", err)
	}
	lease.Release(t.Context())
	if _, err := Ensure(t.Context(), js, Layout{}); err != nil {
		t.Fatal(err)
	}
}

// A server that was killed can forget that a lease is to expire.
func TestSubjectsAreMovedDespiteALeaseWithoutAnEnd(t *testing.T) {
	t.Parallel()
	js := testnats.Start(t).JetStream(t)
	formerStreams(t, js, events.Names{})
	if _, err := owners(t, js).Create(t.Context(), "aggregator.0", []byte("dead")); err != nil {
		t.Fatal(err)
	}
	if _, err := Ensure(t.Context(), js, Layout{}); err != nil {
		t.Fatal(err)
	}
}

func owners(t *testing.T, js jetstream.JetStream) jetstream.KeyValue {
	t.Helper()
	kv, err := js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: events.BucketOwners, LimitMarkerTTL: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	return kv
}

// An operator may add a subject to a stream of the present layout while it is in use.
func TestSubjectsOfTheOperatorStay(t *testing.T) {
	t.Parallel()
	js := testnats.Start(t).JetStream(t)
	if _, err := Ensure(t.Context(), js, Layout{Partitions: 4}); err != nil {
		t.Fatal(err)
	}
	s, err := js.Stream(t.Context(), "USAGE")
	if err != nil {
		t.Fatal(err)
	}
	cfg := s.CachedInfo().Config
	cfg.Subjects = append(cfg.Subjects, "legacy.usage")
	if _, err := js.UpdateStream(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
	kv, err := js.KeyValue(t.Context(), "owners")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kv.Create(t.Context(), "aggregator.0", []byte("me")); err != nil {
		t.Fatal(err)
	}
	if _, err := Ensure(t.Context(), js, Layout{}); err != nil {
		t.Errorf("start: %v", err)
	}
}

func publish(t *testing.T, js jetstream.JetStream, subject string) {
	t.Helper()
	if _, err := js.Publish(t.Context(), subject, []byte("{}")); err != nil {
		t.Fatal(err)
	}
}

// TestDeadIsBounded: also when nothing is configured, and where the server has less space.
func TestDeadIsBounded(t *testing.T) {
	t.Parallel()
	for config, want := range map[string]int64{
		"": 1 << 30,
		"accounts: {A: {jetstream: {max_disk: 300MB}, users: [{user: a, password: a}]}}, no_auth_user: a": 1 << 28,
	} {
		js := testnats.StartWith(t, config).JetStream(t)
		if _, err := Ensure(t.Context(), js, Layout{Partitions: 1}); err != nil {
			t.Fatal(err)
		}
		s, err := js.Stream(t.Context(), "DEAD")
		if err != nil {
			t.Fatal(err)
		}
		if c := s.CachedInfo().Config; c.MaxBytes != want || c.Discard != jetstream.DiscardOld {
			t.Errorf("%s: DEAD keeps %d bytes, want %d, and then %s", config, c.MaxBytes, want, c.Discard)
		}
	}
}
