package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/ingest"
)

type importCmd struct {
	Events    importEventsCmd    `cmd:"" default:"withargs" help:"Import usage events of any age."`
	Customers importCustomersCmd `cmd:"" help:"Import customers: id, email, stripe_customer, anchor, plan, locale."`
}

type importEventsCmd struct {
	natsFlags
	File   string `arg:"" help:"NDJSON or CSV file; - is standard input."`
	Format string `help:"ndjson or csv (default: by the file's name)." enum:",ndjson,csv" default:""`
	Source string `help:"Source of events that name none." default:"import"`
	DryRun bool   `help:"Only read and check."`
}

// importBatch is how many events are published before their acknowledgements
// are waited for.
const importBatch = 10_000

func (c *importEventsCmd) Run(e *env) error {
	l, err := c.connect(e)
	if err != nil {
		return err
	}
	defer l.close()
	in, err := e.open(c.File, c.Format)
	if err != nil {
		return err
	}
	defer in.finish()
	publisher := ingest.NewPublisher(l.js, l.names, l.partitions)
	var t tally
	var batch []events.Event
	flush := func() error {
		if !c.DryRun && len(batch) > 0 {
			for { // nothing is counted twice: the ids stay the same
				err := publisher.Publish(e.ctx, batch, events.ImportToken)
				if err == nil {
					break
				}
				if !errors.Is(err, ingest.ErrUnavailable) || wait(e.ctx, "1") != nil {
					return err
				}
			}
		}
		t.Accepted += len(batch)
		batch = batch[:0]
		return nil
	}
	ids := lineIDs{}
	now := time.Now()
	err = readEvents(in, in.format, func(line int, ev events.Event, raw []byte, err error) error {
		if err == nil {
			err = ev.Validate()
		}
		if err == nil && ev.Time.IsZero() {
			err = errors.New("`time` is missing: history needs the time of each event")
		}
		if err == nil {
			err = events.CheckTime(ev.Time, now, 0)
		}
		if err != nil {
			t.reject(line, err)
			return nil
		}
		if ev.ID == "" {
			ev.ID = ids.next(raw)
		}
		if ev.Source == "" {
			ev.Source = c.Source
		}
		if batch = append(batch, ev); len(batch) < importBatch {
			return nil
		}
		return flush()
	})
	if err == nil {
		err = flush()
	}
	if err != nil {
		return err
	}
	verb := "imported"
	if c.DryRun {
		verb = "could import"
	}
	return e.report(&t, verb)
}

type importCustomersCmd struct {
	File string `arg:"" help:"NDJSON file; - is standard input."`
}

func (c *importCustomersCmd) Run(e *env) error {
	a, err := connectAPI()
	if err != nil {
		return err
	}
	in, err := e.open(c.File, "ndjson")
	if err != nil {
		return err
	}
	defer in.finish()
	var t tally
	var batch []json.RawMessage
	var lines []int
	flush := func() error {
		if len(batch) == 0 {
			return nil
		}
		body, err := json.Marshal(batch)
		if err != nil {
			return err
		}
		var answer struct {
			Accepted int
			Rejected []struct {
				Index int
				Error string
			}
		}
		if err := a.do(e.ctx, http.MethodPost, "/v1/customers", "application/json", body, &answer); err != nil {
			return err
		}
		t.Accepted += answer.Accepted
		for _, r := range answer.Rejected {
			t.reject(lines[r.Index], errors.New(r.Error))
		}
		batch, lines = batch[:0], lines[:0]
		return nil
	}
	scan := bufio.NewScanner(in)
	scan.Buffer(nil, maxLine)
	for line := 1; scan.Scan(); line++ {
		b := bytes.TrimSpace(scan.Bytes())
		if len(b) == 0 {
			continue
		}
		if !json.Valid(b) {
			t.reject(line, errors.New("not JSON"))
			continue
		}
		batch, lines = append(batch, bytes.Clone(b)), append(lines, line)
		if len(batch) == sendBatch {
			if err := flush(); err != nil {
				return err
			}
		}
	}
	if err := scan.Err(); err != nil {
		return fmt.Errorf("%s: %w", in.name, err)
	}
	if err := flush(); err != nil {
		return err
	}
	return e.reportOf(&t, "imported", "customers")
}
