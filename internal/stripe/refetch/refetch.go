// Package refetch asks Stripe, where a key is configured, for what webhooks
// leave open: which of two events of a second came last, what a thin event is
// about, whose a new Stripe customer is, and what never arrived. What it gets
// goes into BILLING, beside the webhooks, and only from there into the
// subscription fold: a replay asks nobody.
//
// It is a role of its own with one partition, so that one process asks at a
// time and another goes on where it stopped. It keeps nothing waiting: webhooks
// are folded as they come, and again when the object is here.
package refetch

import (
	"context"
	"log/slog"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/stream"
	"github.com/tidegate-io/tidegate/internal/stripe/api"
	"github.com/tidegate-io/tidegate/internal/stripe/fold"
)

// Stripe is what is asked; *api.Client is one. Both methods are called
// concurrently, and return when ctx is done.
type Stripe interface {
	Fetch(ctx context.Context, typ, id string) (api.Object, error)
	Events(ctx context.Context, since time.Time, after string) (api.Page, error)
}

// Options is what a Processor needs. Fields without a remark are required.
type Options struct {
	Stripe Stripe
	Now    func() time.Time
	// Reconcile is how often the events at Stripe are compared; 0: never. It is
	// asked again before each time.
	Reconcile func() time.Duration
	Settle    time.Duration // how long an object is left alone after an event; 0 is 2 s
	Metrics   *metrics.Set  // nil: figures are not kept
}

const (
	// defaultSettle lets the events of one purchase come together, and Stripe's
	// clock, which counts whole seconds, go past them.
	defaultSettle = 2 * time.Second
	// patience bounds how long further events can put a fetch off.
	patience = 10 * time.Second
	// inFlight is how many objects are asked for at once.
	inFlight = 8
	// poll is how soon answers are looked for while some are awaited.
	poll = 50 * time.Millisecond
	// firstLook is how far back the events lie that are looked into when there
	// was no key before.
	firstLook = time.Hour
	// known is how long a product that was fetched need not be fetched again
	// when a subscription names it; its own events say when it changes.
	known = 24 * time.Hour
	// askAgain is after how long an object is asked for once more when the answer
	// may not have seen the newest event, and tries how often.
	askAgain = time.Second
	tries    = 5
	// onItsWay is how long a webhook may take before it counts as lost.
	onItsWay = 5 * time.Minute
	// deniedFor is how long a type is left alone that the key may not read.
	deniedFor = time.Hour
)

// foundHeader marks events that Stripe was asked for.
const foundHeader = "Tidegate-Found"

// Processor implements stream.Processor. Make it with New.
type Processor struct {
	opt     Options
	figures figures

	state    state
	dirty    dirty
	jobs     jobs                 // of state.Pending
	products map[string]time.Time // when fetched
	answers  chan result
	busy     int
	denied   map[string]time.Time // types that the key may not see, until when they are not asked for
	fetching line
	looking  line
	look     *look // at the events, while it goes on
	found    int   // lost webhooks that nobody was told of yet
	queue    []*nats.Msg

	ctx   context.Context
	out   publisher
	names events.Names
	log   *slog.Logger
}

// publisher is what the processor needs of its *stream.Owner.
type publisher interface {
	Publish(m *nats.Msg, opts ...jetstream.PublishOpt) error
}

var _ stream.Processor = (*Processor)(nil)

// Input is what the processor reads.
func Input(names events.Names) stream.Input {
	return stream.Input{Stream: events.StreamBilling, Filter: names.Billing(string(fold.KindStripe))}
}

// New returns a processor.
func New(o Options) *Processor {
	if o.Settle == 0 {
		o.Settle = defaultSettle
	}
	if o.Metrics == nil {
		o.Metrics = metrics.NewSet()
	}
	return &Processor{
		opt: o, figures: newFigures(o.Metrics), state: newState(), dirty: newDirty(), jobs: newJobs(),
		products: map[string]time.Time{}, denied: map[string]time.Time{}, answers: make(chan result, inFlight),
		fetching: line{what: "objects"}, looking: line{what: "events"},
	}
}

// Start implements stream.Processor.
func (p *Processor) Start(ctx context.Context, o *stream.Owner) error {
	p.ctx, p.out, p.names, p.log = ctx, o, o.Names, o.Log
	now := p.opt.Now()
	if p.state.From.IsZero() {
		p.state.From = now.Add(-firstLook)
		p.dirty.head = true
	}
	for ref, w := range p.state.Pending {
		p.jobs.put(ref, &job{due: now, last: now}, now.Sub(w.Created) < recent)
	}
	stream.Answer(o, StatusQuestion, p.status)
	context.AfterFunc(ctx, func() { p.figures.pending.Set(0) }) // somebody else's from then on
	return nil
}

// Handle implements stream.Processor. It notes which objects to ask for.
func (p *Processor) Handle(m *stream.Message) error {
	e, err := fold.ParseEnvelope(m.Data)
	if err != nil {
		return nil //nolint:nilerr // the fold writes the dead letter
	}
	if m.Header.Get(foundHeader) != "" && m.Time.Sub(e.Created) > onItsWay {
		p.found++
		p.figures.found.Inc()
		p.log.Debug("a lost webhook was found", "event", e.ID, "type", e.Type)
	}
	if !e.Thin && m.Time.Before(p.state.From) {
		return nil
	}
	for _, ref := range e.Refs() {
		created := e.Created
		if ref.Type == "product" && e.Type != "product.updated" { // only named: nothing happened to it
			if created = (time.Time{}); p.jobs.get(ref) != nil || m.Time.Before(p.products[ref.ID].Add(known)) {
				continue // also while it is asked for
			}
		}
		p.want(ref, m, created, &e)
	}
	return nil
}

func (p *Processor) want(ref fold.Ref, m *stream.Message, created time.Time, e *fold.Envelope) {
	w := p.state.Pending[ref]
	w.Seq = m.Seq
	if created.After(w.Created) {
		w.Created = created
	}
	p.state.Pending[ref] = w
	p.dirty.set(ref)
	j := p.jobs.get(ref)
	if j == nil {
		j = &job{last: m.Time.Add(patience)}
	}
	p.jobs.put(ref, j, p.opt.Now().Sub(e.Created) < recent || p.jobs.fresh[ref] != nil)
	if j.due = m.Time.Add(p.opt.Settle); e.Thin { // until then nothing is known
		j.due = m.Time
	}
	if j.due.After(j.last) {
		j.due = j.last
	}
}

// Flush implements stream.Processor.
func (p *Processor) Flush() error {
	for _, m := range p.queue {
		if err := p.out.Publish(m); err != nil {
			return err
		}
	}
	clear(p.queue)
	p.queue = p.queue[:0]
	return nil
}

// Tick implements stream.Processor.
func (p *Processor) Tick(now time.Time) (time.Time, error) {
	for {
		select {
		case r := <-p.answers:
			p.take(r, now)
			continue
		default:
		}
		break
	}
	p.reconcile(now)
	if p.look == nil && p.found > 0 {
		p.log.Info("webhooks that never came were found at stripe", "count", p.found)
		p.found = 0
	}
	next := earlier(p.begin(now), p.nextLook(now))
	if p.busy > 0 {
		next = earlier(next, now.Add(poll))
	}
	p.show()
	return earlier(next, now.Add(time.Minute)), nil // the configuration may change
}

func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
