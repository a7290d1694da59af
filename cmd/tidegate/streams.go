package main

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"text/tabwriter"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidegate-io/tidegate/aggregator"
	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/config"
	"github.com/tidegate-io/tidegate/internal/records"
	"github.com/tidegate-io/tidegate/internal/stream"
)

// natsFlags are those of commands that read or write streams themselves.
type natsFlags struct {
	NATS string `name:"nats" help:"URL of NATS (default: the running dev's, else nats://127.0.0.1:4222)." env:"NATS_URL" placeholder:"URL"`
}

// streams is a connection to the streams of a Tidegate.
type streams struct {
	nc         *nats.Conn
	js         jetstream.JetStream
	names      events.Names
	partitions int
	config     *config.Config
	close      func()
}

// url is what is set, else the embedded server of the dev that was started in
// this folder.
func (f *natsFlags) url() string {
	if f.NATS != "" {
		return f.NATS
	}
	data := os.Getenv("TIDEGATE_DATA")
	if data == "" {
		data = "./.tidegate"
	}
	if s, err := readState(data); err == nil && s.NATS != "" {
		return s.NATS
	}
	return "nats://127.0.0.1:4222"
}

// loadConfig is the configuration, or the built-in one without a file.
func (e *env) loadConfig() (*config.Config, error) {
	set := settings{Config: e.Config, Dev: true}
	return set.loadConfig()
}

func (f *natsFlags) connect(e *env) (*streams, error) {
	cfg, err := e.loadConfig()
	if err != nil {
		return nil, err
	}
	opts := []nats.Option{nats.Name("tidegate"), nats.Timeout(3 * time.Second)}
	creds, err := lookup("NATS_CREDS")
	if err != nil {
		return nil, err
	}
	if creds != "" {
		opts = append(opts, nats.UserCredentials(creds))
	}
	url := f.url()
	nc, err := nats.Connect(url, opts...)
	if err != nil {
		return nil, fmt.Errorf("NATS at %s: %w: start it (`tidegate dev` brings one), or set NATS_URL", url, err)
	}
	js, err := stream.JetStream(nc)
	if err != nil {
		nc.Close()
		return nil, err
	}
	l := &streams{nc: nc, js: js, names: events.Names{Namespace: cfg.Namespace}, config: cfg, close: nc.Close}
	if l.partitions, err = stream.Partitions(e.ctx, js, l.names); err != nil {
		nc.Close()
		return nil, err
	}
	return l, nil
}

func (l *streams) asker() stream.Asker { return stream.Asker{NC: l.nc, Names: l.names} }

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
		cfg, err := readConfig(c.With)
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
		return t, usageError{fmt.Errorf("%s %q is neither a day such as 2026-01-31 nor RFC 3339", flag, s)}
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

type deadCmd struct {
	natsFlags
	Limit int `help:"How many of the newest." default:"50"`
}

func (c *deadCmd) Run(e *env) error {
	l, err := c.connect(e)
	if err != nil {
		return err
	}
	defer l.close()
	letters := []records.Dead{}
	ctx, cancel := context.WithTimeout(e.ctx, time.Minute)
	defer cancel()
	in := stream.Input{Stream: events.StreamDead, Filter: l.names.Subject("dead.*")}
	err = stream.Read(ctx, l.js, l.names, in, ^uint64(0), func(m *stream.Message) error {
		var d records.Dead
		if err := json.Unmarshal(m.Data, &d); err != nil {
			d = records.Dead{Reason: "unreadable", At: m.Time, Body: m.Data}
		}
		if letters = append(letters, d); len(letters) > c.Limit {
			letters = letters[1:]
		}
		return nil
	})
	if err != nil {
		return err
	}
	return e.printAny(letters, func(w *tabwriter.Writer) error {
		row(w, "STORED", "ORIGIN", "REASON", "EVENT")
		for _, d := range letters {
			row(w, d.At, d.Origin, d.Reason, fmt.Sprintf("%.120s", d.Body))
		}
		return nil
	})
}
