package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/ingest"
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

type importEventsCmd struct {
	natsFlags
	origin
	Type   string `help:"Type of events that name none."`
	Source string `help:"Source of events that name none (default: import, or import/COLLECTION)."`
	DryRun bool   `help:"Only read and check."`
}

// importBatch is how many events are published before their acknowledgements
// are waited for.
const importBatch = 10_000

func (c *importEventsCmd) Run(e *env) error {
	if err := c.check(); err != nil {
		return err
	}
	cfg, err := e.loadConfig()
	if err != nil {
		return err
	}
	var meant []string // that meters read
	for i := range cfg.Gates {
		if path := cfg.Gates[i].Meter.Value; path != "" {
			meant = append(meant, path)
		}
	}
	m, err := parseMapping(c.Map, eventNames, meant...)
	if err != nil {
		return err
	}
	l, err := c.connect(e)
	if err != nil {
		return err
	}
	defer l.close()
	h := history{env: e, cmd: c, mapping: m, publisher: ingest.NewPublisher(l.js, l.names, l.partitions), ids: lineIDs{}, now: time.Now()}
	h.unit = c.unit()
	if err := c.each(e, m, m.columns, h.add); err != nil {
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

// history publishes events of any age.
type history struct {
	tally
	env       *env
	cmd       *importEventsCmd
	mapping   *mapping
	publisher *ingest.Publisher
	ids       lineIDs
	now       time.Time
	batch     []events.Event
}

func (h *history) add(line int, rec *record, err error) error {
	var ev events.Event
	if err == nil {
		ev, err = h.event(rec)
	}
	if err != nil {
		h.reject(line, rec.named(err))
		return nil
	}
	if h.batch = append(h.batch, ev); len(h.batch) < importBatch {
		return nil
	}
	return h.flush()
}

func (h *history) event(rec *record) (events.Event, error) {
	ev, raw, err := h.mapping.event(rec)
	if err != nil {
		return ev, err
	}
	ev.Type = cmp.Or(ev.Type, h.cmd.Type)
	ev.Source = cmp.Or(ev.Source, h.cmd.Source, h.cmd.source())
	switch {
	case ev.Type == "":
		return ev, errors.New("`type` is missing: give --type for all events, or --map type=… for the name of what holds it")
	case ev.Subject == "":
		return ev, errors.New("`subject` is missing: give --map customer=… for the name of what holds the customer")
	case ev.Time.IsZero():
		return ev, errors.New("`time` is missing: history needs the time of each event, give --map time=… for the name of what holds it")
	}
	if ev.ID == "" {
		if rec.id != "" { // an _id could be another document's mapped id
			return ev, fmt.Errorf("`id` is missing: there is nothing in %q, which --map names for it", h.mapping.from["id"])
		}
		ev.ID = h.ids.next(raw)
	}
	if err := ev.Validate(); err != nil {
		return ev, err
	}
	return ev, events.CheckTime(ev.Time, h.now, 0)
}

func (h *history) flush() error {
	for !h.cmd.DryRun && len(h.batch) > 0 { // nothing is counted twice: the ids stay the same
		err := h.publisher.Publish(h.env.ctx, h.batch, events.ImportToken)
		if err == nil {
			break
		}
		if !errors.Is(err, ingest.ErrUnavailable) || wait(h.env.ctx, "1") != nil {
			return err
		}
	}
	h.Accepted += len(h.batch)
	h.batch = h.batch[:0]
	return nil
}

type importCustomersCmd struct {
	origin
}

func (c *importCustomersCmd) Run(e *env) error {
	if err := c.check(); err != nil {
		return err
	}
	m, err := parseMapping(c.Map, customerNames)
	if err != nil {
		return err
	}
	a, err := connectAPI()
	if err != nil {
		return err
	}
	s := sender{env: e, api: a, path: "/v1/customers"}
	s.unit = c.unit()
	columns := func(head []string) error {
		if err := m.columns(head); err != nil {
			return err
		}
		if unused := m.unused(head); len(unused) > 0 {
			_, _ = fmt.Fprintf(e.stderr, "not used: %s\n", printable(strings.Join(unused, ", ")))
		}
		return nil
	}
	err = c.each(e, m, columns, func(line int, rec *record, err error) error {
		var body []byte
		if err == nil {
			body, err = m.customer(rec)
		}
		if err != nil {
			s.reject(line, rec.named(err))
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

// customer is what the API is sent. A plan of the app's own documents does not
// count unless it is mapped: it would hold whatever Stripe says.
func (m *mapping) customer(r *record) ([]byte, error) {
	if r.raw != nil && m.plain() {
		if !json.Valid(r.raw) {
			return nil, errors.New("not JSON")
		}
		return r.raw, nil
	}
	if r.id != "" {
		for _, name := range []string{"plan", "overrides"} {
			if m.from[name] == "" {
				delete(r.fields, name)
			}
		}
	}
	return m.object(r)
}
