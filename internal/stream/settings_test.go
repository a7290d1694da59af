package stream

import (
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/test/testnats"
)

// What is published to a partition that there is not is refused: nobody would read it.
func TestOnlySubjectsOfPartitionsAreTaken(t *testing.T) {
	t.Parallel()
	for _, namespace := range []string{"", "t1"} {
		n := events.Names{Namespace: namespace}
		js := testnats.Start(t).JetStream(t)
		_, err := Ensure(t.Context(), js, Layout{Names: n, Partitions: 4})
		must(t, err)
		for _, s := range []string{"usage.in.acme", "usage.p.0.~batch", "usage.p.3.~control", "usage.p.2.~import", "windows.3", "account.0", "account.in.acme", "limits.1"} {
			publish(t, js, n.Subject(s))
		}
		for _, s := range []string{"usage.p.4.~batch", "usage.p.777.~batch", "usage.p.03.~batch", "usage.p.x.~control", "usage.p.-1.~import", "windows.4", "account.x", "account.00", "limits.99"} {
			if ack, err := js.Publish(t.Context(), n.Subject(s), nil, jetstream.WithRetryAttempts(0)); err == nil {
				t.Errorf("%s is stored in %s", s, ack.Stream)
			}
		}
	}
}

func TestStreamsGetTheSettingsOfTheConfiguration(t *testing.T) {
	t.Parallel()
	js := testnats.Start(t).JetStream(t)
	n := events.Names{Namespace: "t1"}
	_, err := Ensure(t.Context(), js, Layout{Names: n, Partitions: 2})
	must(t, err)
	usage := config(t, js, n, events.StreamUsage)
	subjects := usage.Subjects
	usage.Subjects = wildcards(subjects)
	usage.MaxMsgSize = 1 << 20 // is said by nobody else
	windows := config(t, js, n, events.StreamWindows)
	windows.MaxAge, windows.Subjects = 9*day, []string{"t1.windows.*", "t1.mine"}
	for _, cfg := range []jetstream.StreamConfig{usage, windows} {
		_, err := js.UpdateStream(t.Context(), cfg)
		must(t, err)
	}
	l := Layout{Names: n, UsageAge: 100 * day, Horizon: 40 * day, AuditAge: 10 * day, UsageBytes: 1 << 30, ReadOnly: true}
	if _, err := Ensure(t.Context(), js, l); err != nil || config(t, js, n, events.StreamUsage).MaxAge != 70*day {
		t.Fatalf("a process that may not changes a stream: %v", err)
	}
	var told []string
	l.ReadOnly, l.Changed = false, func(d Difference) { told = append(told, d.Stream+" "+d.Setting) }
	l.Partitions = 2
	differ, err := Differences(t.Context(), js, l)
	must(t, err)
	for range 2 {
		_, err := Ensure(t.Context(), js, l)
		must(t, err)
	}
	want := []string{"t1_USAGE max_age", "t1_USAGE max_bytes", "t1_USAGE subjects", "t1_SEEN max_age", "t1_AUDIT max_age"}
	if !slices.Equal(told, want) || len(differ) != len(want) {
		t.Errorf("told %v, and before that %v", told, differ)
	}
	usage = config(t, js, n, events.StreamUsage)
	if usage.MaxAge != 100*day || usage.MaxBytes != 1<<30 || usage.MaxMsgSize != 1<<20 || !slices.Equal(usage.Subjects, subjects) || usage.SubjectTransform == nil {
		t.Errorf("%+v", usage)
	}
	if seen := config(t, js, n, events.StreamSeen); seen.MaxAge != 48*day {
		t.Errorf("SEEN keeps %v", seen.MaxAge)
	}
	if windows = config(t, js, n, events.StreamWindows); windows.MaxAge != 9*day || len(windows.Subjects) != 2 {
		t.Errorf("the operator's settings are gone: %+v", windows)
	}
}

// A setting that the server refuses is named.
func TestASettingThatCannotBeIsNamed(t *testing.T) {
	t.Parallel()
	js := testnats.Start(t).JetStream(t)
	_, err := Ensure(t.Context(), js, Layout{Partitions: 1})
	must(t, err)
	_, err = Ensure(t.Context(), js, Layout{Replicas: 3}) // on one server
	if err == nil || !strings.HasPrefix(err.Error(), "stream USAGE has replicas 1, the configuration says 3, and it cannot be changed: ") {
		t.Errorf("got %v", err)
	}
}

func config(t *testing.T, js jetstream.JetStream, n events.Names, stream string) jetstream.StreamConfig {
	t.Helper()
	s, err := js.Stream(t.Context(), n.Stream(stream))
	must(t, err)
	return s.CachedInfo().Config
}
