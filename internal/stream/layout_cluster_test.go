package stream

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/test/testnats"
)

// TestSubjectsAreMovedUnderLoad moves the subjects of replicated streams from several
// processes at once, while apps publish, and holds that nothing that was acknowledged is
// lost and that the operator's settings stay.
func TestSubjectsAreMovedUnderLoad(t *testing.T) {
	t.Parallel()
	c := testnats.StartCluster(t)
	js, err := JetStream(c.Connect(t))
	if err != nil {
		t.Fatal(err)
	}
	n := events.Names{}
	replicatedFormerStreams(t, js, n)

	publishing, stop := context.WithCancel(t.Context())
	var acked atomic.Int64
	var publishers sync.WaitGroup
	for w := range 4 {
		publishers.Go(func() {
			for i := 0; publishing.Err() == nil; i++ {
				subject := n.UsageIn(fmt.Sprintf("w%d-%d", w, i%50))
				if _, err := js.Publish(t.Context(), subject, []byte(`{"type":"api"}`)); err == nil {
					acked.Add(1)
				} else {
					t.Errorf("publish: %v", err)
				}
			}
		})
	}
	waitFor(t, func() bool { return acked.Load() > 200 })
	errs := make(chan error, 3)
	for range cap(errs) {
		go func() {
			_, err := Ensure(t.Context(), js, Layout{Names: n, Replicas: 3})
			for errors.Is(err, context.DeadlineExceeded) && t.Context().Err() == nil { // making twenty replicas at once takes a while
				_, err = Ensure(t.Context(), js, Layout{Names: n, Replicas: 3})
			}
			errs <- err
		}()
	}
	for range cap(errs) {
		if err := <-errs; err != nil {
			t.Errorf("ensure: %v", err)
		}
	}
	moved := acked.Load()
	waitFor(t, func() bool { return acked.Load() > moved+200 })
	stop()
	publishers.Wait()
	checkMoved(t, js, n, int(acked.Load()))
}

func replicatedFormerStreams(t *testing.T, js jetstream.JetStream, n events.Names) {
	t.Helper()
	meta := map[string]string{formerKey: "4", "team": "platform"}
	for _, cfg := range []jetstream.StreamConfig{
		{Name: "USAGE", Replicas: 3, Metadata: meta, MaxAge: 80 * day, MaxBytes: 1 << 26, AllowDirect: true, Duplicates: time.Minute, Description: "by the operator",
			Subjects:         []string{"usage.in.*", "usage.p.*.~batch", "usage.p.*.~import", "usage.p.*.~control"},
			SubjectTransform: &jetstream.SubjectTransformConfig{Source: "usage.in.*", Destination: "usage.p.{{partition(4,1)}}.{{wildcard(1)}}"}},
		{Name: "ACCOUNT", Replicas: 3, Metadata: meta, Subjects: []string{"account.*"}},
	} {
		if _, err := js.CreateStream(t.Context(), cfg); err != nil {
			t.Fatal(err)
		}
	}
}

func checkMoved(t *testing.T, js jetstream.JetStream, n events.Names, acked int) {
	t.Helper()
	s, err := js.Stream(t.Context(), "USAGE")
	if err != nil {
		t.Fatal(err)
	}
	cfg := s.CachedInfo().Config
	if cfg.MaxAge != 80*day || cfg.MaxBytes != 1<<26 || cfg.Replicas != 3 || cfg.Duplicates != time.Minute || cfg.Metadata["team"] != "platform" || cfg.Description == "" {
		t.Errorf("the operator's settings are lost: %+v", cfg)
	}
	former, present := 0, 0
	for p := range 4 {
		err := Read(t.Context(), js, n, Input{Stream: "USAGE", Filters: []string{n.Usage(p, ">")}}, ^uint64(0), func(m *Message) error {
			token, app := events.FromApp(m.Subject)
			if events.Partition(token, 4) != p {
				t.Errorf("%s lies in partition %d", m.Subject, p)
			}
			if app {
				present++
			} else {
				former++
			}
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	// On three nodes some may be stored in the other order where the subjects change.
	if former == 0 || present == 0 || former+present != acked {
		t.Errorf("%d former and %d present of %d", former, present, acked)
	}
}

func waitFor(t *testing.T, ok func() bool) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	for !ok() {
		select {
		case <-deadline:
			t.Fatal("not after 30 s")
		case <-time.After(5 * time.Millisecond):
		}
	}
}

// TestHeadersOfAppsDoNoHarm holds that no header of JetStream lets an app change more
// than its own message: delete others, let one vanish or have one published later.
func TestHeadersOfAppsDoNoHarm(t *testing.T) {
	t.Parallel()
	js := testnats.Start(t).JetStream(t)
	if _, err := Ensure(t.Context(), js, Layout{Partitions: 4}); err != nil {
		t.Fatal(err)
	}
	n := events.Names{}
	batch := n.Usage(events.PartitionOf("acme", 4), events.BatchToken)
	for _, subject := range []string{n.UsageIn("acme"), n.AccountIn("acme"), batch} {
		publish(t, js, subject)
		for _, h := range [][2]string{
			{"Nats-Rollup", "all"}, {"Nats-Rollup", "sub"}, {"Nats-TTL", "1s"}, {"Nats-Schedule", "@at 2026-12-01T00:00:00Z"},
			{"Nats-Schedule", "@every 1s"}, {"Nats-Batch-Id", "x"}, {"Nats-Incr", "+1"}, {"Nats-Expected-Last-Sequence", "99"},
			{"Nats-Expected-Last-Subject-Sequence", "99"}, {"Nats-Expected-Stream", "STATE"}, {"Nats-Expected-Last-Msg-Id", "x"},
		} {
			m := nats.NewMsg(subject)
			m.Header.Set(h[0], h[1])
			var refused *jetstream.APIError
			if _, err := js.PublishMsg(t.Context(), m); !errors.As(err, &refused) {
				t.Errorf("%s: %s on %s: %v", h[0], h[1], subject, err)
			}
		}
		m := nats.NewMsg(subject) // without a schedule its target means nothing
		m.Header.Set("Nats-Schedule-Target", n.Account(0))
		if _, err := js.PublishMsg(t.Context(), m); err != nil {
			t.Error(err)
		}
	}
	for stream, want := range map[string]uint64{"USAGE": 4, "ACCOUNT": 2} {
		s, err := js.Stream(t.Context(), stream)
		if err != nil {
			t.Fatal(err)
		}
		if st := s.CachedInfo().State; st.Msgs != want || st.FirstSeq != 1 {
			t.Errorf("%s: %+v", stream, st)
		}
	}
}
