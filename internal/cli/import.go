package cli

import (
	"cmp"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/ingest"
	"github.com/tidegate-io/tidegate/internal/config"
	"github.com/tidegate-io/tidegate/internal/history"
)

type importCmd struct {
	Events    importEventsCmd    `cmd:"" default:"withargs" help:"Import usage events of any age."`
	Customers importCustomersCmd `cmd:"" help:"Import customers: id, email, stripe_customer, anchor, plan, locale."`
}

// Help is what kong prints of the command without its default.
func (importCmd) Help() string {
	return `Events are meant unless it says customers:

    tidegate import history.csv --map customer=user_id,time=at
    tidegate import --mongo URI --collection C --map customer=user_id,time=at
    tidegate import events --help    names all flags of events`
}

// sourceFlags name what an import reads.
type sourceFlags struct {
	File       string   `arg:"" optional:"" help:"NDJSON or CSV file; - is standard input."`
	Format     string   `help:"ndjson or csv (default: by the file's name)." enum:",ndjson,csv" default:""`
	Map        []string `help:"Where the file or collection calls something otherwise: Tidegate's name first, such as customer=user_id,time=at,data.tokens=usage.total." placeholder:"NAME=COLUMN"`
	Mongo      string   `help:"Read documents of the app's own MongoDB, in place of a file (default with --collection: APP_MONGODB_URI)." placeholder:"URI"`
	Collection string   `help:"Collection with a document for each event or customer."`
	Database   string   `help:"Its database (default: the one that the URI names, else tidegate)."`
}

func (f *sourceFlags) source() history.Source {
	return history.Source{File: f.File, Format: f.Format, Mongo: f.Mongo, Collection: f.Collection, Database: f.Database}
}

type importEventsCmd struct {
	natsFlags
	sourceFlags
	Type   string `help:"Type of events that name none."`
	Source string `help:"Source of events that name none (default: import, or import/COLLECTION)."`
	DryRun bool   `help:"Only read and check."`
}

// importBatch is how many events are published before their acknowledgements
// are waited for.
const importBatch = 10_000

func (c *importEventsCmd) Run(e *env) error {
	source := c.source()
	if err := source.Check(); err != nil {
		return err
	}
	cfg, err := config.OpenOrExample(e.Config)
	if err != nil {
		return err
	}
	var meant []string // that meters read
	for i := range cfg.Gates {
		if path := cfg.Gates[i].Meter.Value; path != "" {
			meant = append(meant, path)
		}
	}
	m, err := history.ParseMapping(c.Map, history.EventNames, meant...)
	if err != nil {
		return err
	}
	l, err := c.connect(e)
	if err != nil {
		return err
	}
	defer l.close()
	h := backfill{env: e, dryRun: c.DryRun, publisher: ingest.NewPublisher(l.js, l.names, l.partitions),
		events: history.Events{Mapping: m, Type: c.Type, Source: cmp.Or(c.Source, source.Name()), Now: time.Now()}}
	h.unit = source.Unit()
	if err := source.Each(e.ctx, e.terminal(), m, m.Columns, h.add); err != nil {
		return err
	}
	if err := h.flush(); err != nil {
		return err
	}
	verb := "imported"
	if c.DryRun {
		verb = "could import"
	}
	return e.report(&h.tally, verb)
}

// backfill publishes events of any age.
type backfill struct {
	tally
	env       *env
	dryRun    bool
	events    history.Events
	publisher *ingest.Publisher
	batch     []events.Event
}

func (h *backfill) add(line int, rec *history.Record, err error) error {
	var ev events.Event
	if err == nil {
		ev, err = h.events.Event(rec)
	}
	if err != nil {
		h.reject(line, rec.Locate(err))
		return nil
	}
	if h.batch = append(h.batch, ev); len(h.batch) < importBatch {
		return nil
	}
	return h.flush()
}

func (h *backfill) flush() error {
	for !h.dryRun && len(h.batch) > 0 { // nothing is counted twice: the ids stay the same
		err := h.publisher.Publish(h.env.ctx, h.batch, events.ImportToken)
		if err == nil {
			break
		}
		if !errors.Is(err, ingest.ErrUnavailable) || pause(h.env.ctx, "1") != nil {
			return err
		}
	}
	h.Accepted += len(h.batch)
	h.batch = h.batch[:0]
	return nil
}

type importCustomersCmd struct {
	sourceFlags
}

func (c *importCustomersCmd) Run(e *env) error {
	source := c.source()
	if err := source.Check(); err != nil {
		return err
	}
	m, err := history.ParseMapping(c.Map, history.CustomerNames)
	if err != nil {
		return err
	}
	a, err := connectAPI()
	if err != nil {
		return err
	}
	s := sender{env: e, api: a, path: "/v1/customers"}
	s.unit = source.Unit()
	columns := func(head []string) error {
		if err := m.Columns(head); err != nil {
			return err
		}
		if unused := m.Unused(head); len(unused) > 0 {
			_, _ = fmt.Fprintf(e.stderr, "not used: %s\n", printable(strings.Join(unused, ", ")))
		}
		return nil
	}
	err = source.Each(e.ctx, e.terminal(), m, columns, func(line int, rec *history.Record, err error) error {
		var body []byte
		if err == nil {
			body, err = m.Customer(rec)
		}
		if err != nil {
			s.reject(line, rec.Locate(err))
			return nil
		}
		return s.add(line, body)
	})
	if err == nil {
		err = s.flush()
	}
	if err != nil {
		return err
	}
	return e.reportOf(&s.tally, "imported", "customers")
}
