package cli

import (
	"context"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidegate-io/tidegate/events"
)

func (c *doctorCmd) nats(e *env, ctx context.Context) (string, string) {
	l, err := c.connect(e)
	if err != nil {
		return stateFailed, err.Error()
	}
	defer l.close()
	info, err := l.js.AccountInfo(ctx)
	if err != nil {
		return stateFailed, fmt.Sprintf("JetStream does not answer: %v: enable it (nats-server -js); a cluster that has lost a node needs some seconds", err)
	}
	usage, err := l.js.Stream(ctx, l.names.Stream(events.StreamUsage))
	if err != nil {
		return stateFailed, err.Error()
	}
	if state, detail := judgeUsage(usage.CachedInfo()); state != stateOK {
		return state, detail
	}
	return stateOK, fmt.Sprintf("%s %s, %d partitions, %d streams, %.1f MB stored",
		l.nc.ConnectedUrlRedacted(), l.nc.ConnectedServerVersion(), l.partitions, info.Streams, float64(info.Store)/1e6)
}

// judgeUsage says whether a stream of usage that is bounded has room left.
func judgeUsage(info *jetstream.StreamInfo) (string, string) {
	name, of, most := info.Config.Name, info.State.Bytes, uint64(max(0, info.Config.MaxBytes))
	remedy := fmt.Sprintf("give it more than its %d bytes (nats stream edit %s --max-bytes), or wait until old events expire", most, name)
	switch {
	case most == 0 || of <= most/10*9:
		return stateOK, ""
	case of+events.MaxEventBytes > most:
		return stateFailed, fmt.Sprintf("stream %s is full, usage is refused with 503: %s", name, remedy)
	}
	return stateWarning, fmt.Sprintf("stream %s will be full soon, and then refuses usage: %s", name, remedy)
}
