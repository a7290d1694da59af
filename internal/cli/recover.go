package cli

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/misuse"
	"github.com/tidegate-io/tidegate/internal/stream"
)

type recoverCmd struct {
	natsFlags
	Partitions []string `arg:"" optional:"" name:"partition" help:"Such as aggregator.3 (default: all whose log is lost)."`
	AcceptLoss bool     `help:"Let them begin anew. Without it nothing is changed."`
}

// loss is a partition whose log is lost.
type loss struct {
	Partition string    `json:"partition"`
	Why       string    `json:"why"`
	Since     time.Time `json:"since,omitzero"` // the oldest message from which it begins anew
	Lost      string    `json:"lost"`
	Accepted  bool      `json:"accepted"`
}

func (c *recoverCmd) Run(e *env) error {
	l, err := c.connect(e)
	if err != nil {
		return err
	}
	defer l.close()
	lost, err := stream.LostLogs(e.ctx, l.js, l.names)
	if err != nil {
		return err
	}
	if lost, err = c.chosen(lost); err != nil {
		return err
	}
	if c.AcceptLoss && len(c.Partitions) == 0 && len(lost) > 0 {
		return misuse.Errorf("--accept-loss needs the names of the partitions: %s", strings.Join(names(lost), " "))
	}
	out := []loss{}
	for _, p := range lost {
		one, err := l.cost(e.ctx, p)
		if err != nil {
			return err
		}
		if c.AcceptLoss {
			if err := stream.Recover(e.ctx, l.js, l.names, p, time.Now()); err != nil {
				return fmt.Errorf("%s: %w", p.Name(), err)
			}
			one.Accepted = true
		}
		out = append(out, one)
	}
	return e.printAny(out, func(w *tabwriter.Writer) error {
		row(w, "PARTITION", "WHY", "BEGINS AT", "WHAT IS LOST", "ACCEPTED")
		for _, o := range out {
			row(w, o.Partition, o.Why, o.Since, o.Lost, o.Accepted)
		}
		if len(out) == 0 {
			_, _ = fmt.Fprintln(w, "Every log can be read.")
		} else if !c.AcceptLoss {
			_, _ = fmt.Fprintf(w, "Nothing was changed. A backup loses less: tidegate restore. To begin anew: tidegate recover --accept-loss %s\n", strings.Join(names(lost), " "))
		} else {
			_, _ = fmt.Fprintln(w, "The partitions begin anew within a minute.")
		}
		return nil
	})
}

// chosen returns those of the lost logs that were named.
func (c *recoverCmd) chosen(lost []stream.LostLog) ([]stream.LostLog, error) {
	if len(c.Partitions) == 0 {
		return lost, nil
	}
	for _, name := range c.Partitions {
		if !slices.Contains(names(lost), name) {
			return nil, fmt.Errorf("%s has a log that can be read, or never had one: `tidegate recover` names those that are lost", name)
		}
	}
	return slices.DeleteFunc(lost, func(l stream.LostLog) bool { return !slices.Contains(c.Partitions, l.Name()) }), nil
}

func names(lost []stream.LostLog) (list []string) {
	for _, l := range lost {
		list = append(list, l.Name())
	}
	return list
}

// inputs are the streams from which each role begins anew, and what they do not say.
var inputs = map[string]struct{ stream, lost string }{
	stream.RoleAggregator: {events.StreamUsage, "uses and notes of repetitions from before; no mail about uses until now"},
	stream.RoleEnforcer:   {events.StreamAccount, "plans, overrides and anchors from before; no mail about uses until now"},
	stream.RoleBilling:    {events.StreamBilling, "what Stripe said before; then run tidegate stripe sync"},
	stream.RoleNotifier:   {events.StreamLimits, "mails that were not sent yet"},
}

// cost says what it costs to begin anew.
func (l *streams) cost(ctx context.Context, p stream.LostLog) (loss, error) {
	in, ok := inputs[p.Role]
	if !ok {
		in.stream, in.lost = events.StreamBilling, "what was still to be fetched from Stripe: run tidegate stripe sync"
	}
	out := loss{Partition: p.Name(), Why: p.Why, Lost: in.lost}
	s, err := l.js.Stream(ctx, l.names.Stream(in.stream))
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		out.Lost = "everything: there is no stream " + l.names.Stream(in.stream)
		return out, nil
	}
	if err != nil {
		return out, err
	}
	out.Since = s.CachedInfo().State.FirstTime
	return out, nil
}

// logs says which partitions have stopped, because their log is lost.
func (c *doctorCmd) logs(e *env, ctx context.Context) (string, string) {
	l, err := c.connect(e)
	if err != nil {
		return stateSkipped, "NATS is not reachable"
	}
	defer l.close()
	lost, err := stream.LostLogs(ctx, l.js, l.names)
	switch {
	case err != nil:
		return stateFailed, err.Error()
	case len(lost) == 0:
		return stateOK, "every log can be read"
	}
	return stateFailed, fmt.Sprintf("%s have stopped, as their logs are lost (%s): `tidegate recover` says what that costs and how to go on",
		strings.Join(names(lost), ", "), lost[0].Why)
}
