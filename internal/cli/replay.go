package cli

import (
	"fmt"
	"text/tabwriter"
	"time"

	"github.com/tidegate-io/tidegate/aggregator"
	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/config"
	"github.com/tidegate-io/tidegate/internal/misuse"
	"github.com/tidegate-io/tidegate/internal/records"
)

type selection struct {
	natsFlags
	Customer string `help:"Only this customer."`
	Feature  string `help:"Only this feature."`
}

func (s *selection) replay(l *streams) aggregator.Replay {
	return aggregator.Replay{JS: l.js, Names: l.names, Partitions: l.partitions, Horizon: l.config.Retention.Horizon, Now: time.Now(),
		Wanted: func(customer, feature string) bool {
			return (s.Customer == "" || s.Customer == customer) && (s.Feature == "" || s.Feature == feature)
		}}
}

// ofPartitions are those that the selection needs.
func (s *selection) ofPartitions(n int) []int {
	if s.Customer != "" {
		return []int{events.PartitionOf(s.Customer, n)}
	}
	ps := make([]int, n)
	for i := range ps {
		ps[i] = i
	}
	return ps
}

type replayCmd struct {
	selection
	With   string `help:"Another configuration: what the windows would be." placeholder:"FILE"`
	From   string `help:"Only windows that end after this moment (RFC 3339 or day)."`
	To     string `help:"Only windows that begin before this moment."`
	DryRun bool   `help:"Accepted for clarity: a replay never changes anything."`
}

func (c *replayCmd) Run(e *env) error {
	from, to, err := span(c.From, c.To)
	if err != nil {
		return err
	}
	l, err := c.connect(e)
	if err != nil {
		return err
	}
	defer l.close()
	r := c.replay(l)
	if c.With != "" {
		cfg, err := config.Open(c.With)
		if err != nil {
			return err
		}
		cat := cfg.Catalog()
		r.Catalog = &cat
	}
	all := []records.Window{}
	for _, p := range c.ofPartitions(l.partitions) {
		ws, err := r.Windows(e.ctx, p)
		if err != nil {
			return err
		}
		for _, w := range ws {
			if (from.IsZero() || w.End.IsZero() || w.End.After(from)) && (to.IsZero() || w.Start.Before(to)) {
				all = append(all, w)
			}
		}
	}
	return e.printAny(all, func(w *tabwriter.Writer) error {
		row(w, "CUSTOMER", "FEATURE", "WINDOW BEGINS", "ENDS", "USED", "EVENTS")
		for _, u := range all {
			row(w, u.Customer, u.Feature, u.Start, u.End, u.Used, u.Events)
		}
		return nil
	})
}

func span(from, to string) (f, t time.Time, err error) {
	if f, err = moment("--from", from); err != nil {
		return f, t, err
	}
	t, err = moment("--to", to)
	return f, t, err
}

func moment(flag, s string) (time.Time, error) {
	if s == "" {
		return time.Time{}, nil
	}
	if t, err := time.Parse(time.DateOnly, s); err == nil {
		return t, nil
	}
	t, err := time.Parse(time.RFC3339Nano, s)
	if err != nil {
		return t, misuse.Errorf("%s %q is neither a day such as 2026-01-31 nor RFC 3339", flag, s)
	}
	return t, nil
}

type verifyCmd struct{ selection }

func (c *verifyCmd) Run(e *env) error {
	l, err := c.connect(e)
	if err != nil {
		return err
	}
	defer l.close()
	r := c.replay(l)
	results := []aggregator.Result{}
	windows, differ := 0, 0
	for _, p := range c.ofPartitions(l.partitions) {
		res, err := r.Verify(e.ctx, p)
		if err != nil {
			return err
		}
		results = append(results, res)
		windows, differ = windows+res.Windows, differ+len(res.Differences)
	}
	err = e.printAny(results, func(w *tabwriter.Writer) error {
		row(w, "PARTITION", "POSITION", "MESSAGES", "WINDOWS", "DIFFERENT")
		for _, res := range results {
			row(w, res.Partition, res.Position, res.Messages, res.Windows, len(res.Differences))
		}
		for _, res := range results {
			for _, d := range res.Differences {
				row(w, d.Customer, d.Feature, d.Start, "live "+usedOf(d.Live), "stream "+usedOf(d.Replayed))
			}
		}
		return nil
	})
	if err == nil && differ > 0 {
		return fmt.Errorf("%d of %d windows differ from what the stream gives", differ, windows)
	}
	return err
}

func usedOf(w *records.Window) string {
	if w == nil {
		return "none"
	}
	return w.Used.String()
}
