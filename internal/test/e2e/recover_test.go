package e2e

import (
	"fmt"
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidegate-io/tidegate/internal/test/sample"
	"github.com/tidegate-io/tidegate/internal/test/testmongo"
	"github.com/tidegate-io/tidegate/internal/test/wait"
)

// TestLostLog deletes all logs. The partitions stop until somebody accepts what is lost.
// Then they count again, and nobody is mailed twice.
func TestLostLog(t *testing.T) {
	t.Parallel()
	for name, lose := range map[string]func(*testing.T, jetstream.JetStream){
		"stream": func(t *testing.T, js jetstream.JetStream) {
			if err := js.DeleteStream(t.Context(), "t1_STATE"); err != nil {
				t.Fatal(err)
			}
		},
		"snapshots": func(t *testing.T, js jetstream.JetStream) {
			s, err := js.Stream(t.Context(), "t1_STATE")
			if err != nil {
				t.Fatal(err)
			}
			if err := s.Purge(t.Context(), jetstream.WithPurgeSubject("t1.state.aggregator.*.snap.>")); err != nil {
				t.Fatal(err)
			}
			for p := range 4 {
				if err := s.Purge(t.Context(), jetstream.WithPurgeSubject(fmt.Sprintf("t1.state.aggregator.%d.log", p)), jetstream.WithPurgeKeep(1)); err != nil {
					t.Fatal(err)
				}
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			losesLogs(t, lose)
		})
	}
}

func losesLogs(t *testing.T, lose func(*testing.T, jetstream.JetStream)) {
	t.Helper()
	in := newInstallation(t, testmongo.URI(t))
	in.env = []string{"TIDEGATE_SNAPSHOT_BYTES=1"}
	in.startNATS()
	tidegate := in.serve(everyRole)
	in.ready()
	in.put("acme", `{"email":"ada@acme.example"}`)
	for i := range 3 {
		in.post("application/x-ndjson", sample.Lines(sample.Events("acme", fmt.Sprint(i), 10)), 10)
		in.post("application/x-ndjson", sample.Lines(sample.Events("globex", fmt.Sprint(i), 10)), 10)
		in.uses("acme", int64(10*i+10))
		committed(t, in)
	}
	in.mailTo("ada@acme.example")
	tidegate.Interrupt()
	js, err := jetstream.New(in.connect())
	if err != nil {
		t.Fatal(err)
	}
	lose(t, js)
	in.serve(everyRole)
	wait.Until(t, "/readyz says what to do", func() error {
		status, answer, err := in.request("GET", "/readyz", "", "")
		if err == nil && (status != 503 || !strings.Contains(string(answer), "tidegate recover aggregator.")) {
			err = fmt.Errorf("%d %s", status, answer)
		}
		return err
	})
	if code, out, _ := in.command("", "doctor"); code != exitFailed || !strings.Contains(out, "aggregator.0") || !strings.Contains(out, "tidegate recover") {
		t.Errorf("doctor says %s", out)
	}
	var found []struct{ Partition string }
	in.decoded(&found, "recover")
	if len(found) < 2 {
		t.Fatalf("recover finds %v", found)
	}
	args := []string{"recover", "--accept-loss"}
	for _, f := range found {
		args = append(args, f.Partition)
	}
	in.must(args...)
	in.ready()
	in.uses("acme", 30)
	in.post("application/x-ndjson", sample.Lines(sample.Events("acme", "2", 11)), 11) // ten of which are known
	in.uses("acme", 31)
	in.uses("globex", 30)
	committed(t, in)
	in.mailTo("ada@acme.example")
	if out := in.must("recover"); !strings.Contains(out, "Every log can be read.") {
		t.Errorf("recover says %s", out)
	}
}

// TestRefusesUncountedUsage has usage refused while nobody counts it, and taken when
// somebody does.
func TestRefusesUncountedUsage(t *testing.T) {
	t.Parallel()
	in := newInstallation(t, testmongo.URI(t))
	write(t, in.config, production+"http: {refuse_uncounted: 1s}\n")
	in.startNATS()
	in.serve(roleIngest + "," + roleEnforcer + "," + roleNotifier)
	in.ready()
	answers := func(want int, contains string) {
		t.Helper()
		wait.Until(t, fmt.Sprintf("the answer %d", want), func() error {
			status, answer, err := in.request("POST", "/v1/events", "application/json", sample.Event("acme", "1"))
			if err == nil && (status != want || !strings.Contains(string(answer), contains)) {
				err = fmt.Errorf("%d %s", status, answer)
			}
			return err
		})
	}
	answers(202, "accepted")
	answers(503, "nobody has counted partition")
	in.serve(roleAggregator)
	answers(202, "accepted")
}
