package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/stream"
	"github.com/tidegate-io/tidegate/internal/test/sample"
	"github.com/tidegate-io/tidegate/internal/test/testmongo"
	"github.com/tidegate-io/tidegate/internal/test/wait"
)

// TestProcessesShareThePartitions: partitions are shared evenly when a process joins,
// and the others take over the partitions of a stopped or killed process.
func TestProcessesShareThePartitions(t *testing.T) {
	t.Parallel()
	in := newInstallation(t, testmongo.URI(t))
	in.startNATS()
	in.serve("ingest")
	first := in.serve("aggregator,enforcer,notifier")
	in.lacks()
	in.finds(map[string]string{"tidegate": stateOK, "partitions": stateOK, "lag": stateOK, "documents": stateOK})
	in.shared(t, 1)
	second := in.serve("aggregator,enforcer,notifier")
	in.shared(t, 2)
	third := in.serve("aggregator,enforcer,notifier")
	in.shared(t, 3)
	in.post("application/x-ndjson", sample.Lines(sample.Events("acme", "a", 4)), 4)
	second.Kill()
	in.shared(t, 2)
	in.post("application/x-ndjson", sample.Lines(sample.Events("acme", "b", 3)), 3)
	if code := first.Interrupt(); code != exitOK {
		t.Errorf("exit %d", code)
	}
	in.shared(t, 1)
	in.post("application/x-ndjson", sample.Lines(sample.Events("acme", "c", 3)), 3)
	in.decides("acme", events.LimitReached, 10)
	third.Kill()
	in.lacks("owners") // it is still ready for requests
	in.finds(map[string]string{"tidegate": stateWarning, "partitions": stateFailed, "lag": stateSkipped, "documents": stateSkipped})
	in.post("application/x-ndjson", sample.Lines(sample.Events("acme", "d", 3)), 3)
}

// shared waits until the given number of processes own all partitions, none more than
// one above its even share.
func (in *installation) shared(t *testing.T, processes int) {
	t.Helper()
	js, err := jetstream.New(in.connect())
	if err != nil {
		t.Fatal(err)
	}
	wait.Until(t, fmt.Sprintf("%d processes", processes), func() error {
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		owners, err := stream.Owners(ctx, js, events.Names{Namespace: in.namespace})
		if err != nil {
			return err
		}
		for _, role := range []string{roleAggregator, roleEnforcer} {
			load, total := map[string]int{}, 0
			for key, holder := range owners {
				if strings.HasPrefix(key, role+".") {
					load[holder]++
					total++
				}
			}
			for _, n := range load {
				if n > (total+processes-1)/processes {
					return fmt.Errorf("%s: %v", role, load)
				}
			}
			if total != 4 || len(load) != processes {
				return fmt.Errorf("%s: %v", role, load)
			}
		}
		return nil
	})
}
