//go:build unix

package e2e

import (
	"syscall"
	"testing"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/test/sample"
	"github.com/tidegate-io/tidegate/internal/test/testmongo"
)

// TestFrozenOwner freezes the processes that own all partitions, and wakes them when
// others own the partitions. The events that they had read count once.
func TestFrozenOwner(t *testing.T) {
	t.Parallel()
	in := newInstallation(t, testmongo.URI(t))
	in.startNATS()
	in.serve(roleIngest)
	frozen := in.serve("aggregator,enforcer")
	in.ready()
	app := in.app(in.connect())
	in.post("application/x-ndjson", sample.Lines(sample.Events("acme", "use", 4)), 4)
	in.uses("acme", 4)
	frozen.Signal(syscall.SIGSTOP)
	in.post("application/x-ndjson", sample.Lines(sample.Events("acme", "use", 10)), 10)
	in.serve("aggregator,enforcer")
	sees(t, app, "acme", false)
	in.decides("acme", events.LimitReached, 10)
	frozen.Signal(syscall.SIGCONT)
	in.post("application/x-ndjson", sample.Lines(sample.Events("acme", "more", 5)), 5)
	in.uses("acme", 15)
	in.put("acme", `{"overrides":{"api":{"limit":20}}}`)
	sees(t, app, "acme", true)
	in.must("verify")
}
