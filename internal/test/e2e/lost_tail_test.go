package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/test/sample"
	"github.com/tidegate-io/tidegate/internal/test/testmongo"
	"github.com/tidegate-io/tidegate/internal/test/wait"
)

// TestUsageThatLostItsTail cuts the newest block of a killed server's USAGE, as a power
// cut may. What is sent then takes sequences that were read before.
func TestUsageThatLostItsTail(t *testing.T) {
	t.Parallel()
	for name, living := range map[string]bool{"while Tidegate runs": true, "while Tidegate is stopped": false} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			in := newInstallation(t, testmongo.URI(t))
			nats := in.startNATS()
			tidegate := in.serve(everyRole)
			in.ready()
			customers := []string{"acme", "globex", "initech"}
			send := func(prefix string) {
				t.Helper()
				for i := range 4 {
					for _, c := range customers {
						in.post("application/x-ndjson", sample.Lines(sample.Events(c, fmt.Sprint(prefix, i), 10)), 10)
					}
				}
			}
			used := func(n int64) {
				t.Helper()
				for _, c := range customers {
					in.decides(c, events.LimitReached, n)
				}
			}
			send("before")
			used(40)
			committed(t, in)
			if !living {
				tidegate.Interrupt()
			}
			nats.Kill()
			cutNewestBlock(t, filepath.Join(in.dir, "nats"), "t1_USAGE")
			in.startNATS()
			if !living {
				in.serve(everyRole)
			}
			in.ready()
			send("after")
			used(80)
			wait.Until(t, "the doctor says what was lost", func() error {
				_, out, _ := in.command("", "doctor")
				if !strings.Contains(out, "processed messages that its streams have lost") {
					return fmt.Errorf("it says %s", out)
				}
				return nil
			})
		})
	}
}

// committed waits until the owners of the aggregator have committed everything.
func committed(t *testing.T, in *installation) {
	t.Helper()
	wait.Until(t, "everything is committed", func() error {
		if code, out, _ := in.command("", "verify"); code != exitOK {
			return fmt.Errorf("verify: %s", out)
		}
		return nil
	})
}

// cutNewestBlock cuts the last third off the newest block of a stream in the store of a
// server that does not run.
func cutNewestBlock(t *testing.T, store, stream string) {
	t.Helper()
	blocks, err := filepath.Glob(filepath.Join(store, "jetstream", "$G", "streams", stream, "msgs", "*.blk"))
	if err != nil || len(blocks) == 0 {
		t.Fatalf("no blocks of %s: %v", stream, err)
	}
	newest := slices.MaxFunc(blocks, func(a, b string) int { return len(a) - len(b) + 2*slices.Compare([]byte(a), []byte(b)) })
	info, err := os.Stat(newest)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(newest, info.Size()*2/3); err != nil {
		t.Fatal(err)
	}
}
