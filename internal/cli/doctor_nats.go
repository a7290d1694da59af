package cli

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/config"
	"github.com/tidegate-io/tidegate/internal/stream"
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
	for stream, refused := range map[string]string{events.StreamUsage: "usage is", events.StreamAudit: "changes by operators are"} {
		name := l.names.Stream(stream)
		s, err := l.js.Stream(ctx, name)
		if errors.Is(err, jetstream.ErrStreamNotFound) {
			return stateFailed, fmt.Sprintf("stream %s is not there, %s refused with 503: start a Tidegate process again, it makes the stream", name, refused)
		}
		if err != nil {
			return stateFailed, err.Error()
		}
		if state, detail := judgeSpace(s.CachedInfo(), refused); state != stateOK {
			return state, detail
		}
	}
	if cfg, err := config.Open(e.Config); err == nil {
		differ, err := stream.Differences(ctx, l.js, stream.Layout{Names: l.names, Partitions: l.partitions,
			UsageAge: cfg.Retention.Usage, Horizon: cfg.Retention.Horizon, AuditAge: cfg.Retention.Audit})
		if err != nil {
			return stateFailed, err.Error()
		}
		if len(differ) > 0 {
			return stateWarning, fmt.Sprintf("%v: the next process with the role enforcer that starts changes that", differ[0])
		}
	}
	return stateOK, fmt.Sprintf("%s %s, %d partitions, %d streams, %.1f MB stored",
		l.nc.ConnectedUrlRedacted(), l.nc.ConnectedServerVersion(), l.partitions, info.Streams, float64(info.Store)/1e6)
}

// judgeSpace says whether a stream that is bounded has room left. refused names what
// is refused when it is full.
func judgeSpace(info *jetstream.StreamInfo, refused string) (string, string) {
	name, of, most := info.Config.Name, info.State.Bytes, uint64(max(0, info.Config.MaxBytes))
	remedy := fmt.Sprintf("give it more than its %d bytes (nats stream edit %s --max-bytes), or wait until old messages expire", most, name)
	switch {
	case most == 0 || of <= most/10*9:
		return stateOK, ""
	case of+events.MaxEventBytes > most:
		return stateFailed, fmt.Sprintf("stream %s is full, %s refused with 503: %s", name, refused, remedy)
	}
	return stateWarning, fmt.Sprintf("stream %s will be full soon, then %s refused: %s", name, refused, remedy)
}
