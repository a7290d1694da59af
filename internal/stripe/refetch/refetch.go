// Package refetch fetches from Stripe what webhooks leave open, when a key is
// configured: the order of two events of one second, the object of a thin event,
// the metadata of a new Stripe customer, and lost webhooks. It publishes fetched
// objects to BILLING, beside the webhooks, and the subscription fold reads them
// from there. So a replay sends no requests to Stripe.
//
// The Processor is a role of its own with one partition: one process fetches at a
// time, and the next owner continues where it stopped. Nothing waits for it: the
// fold applies webhooks at once, and fetched objects later. A Sync compares all
// objects once, for `tidegate stripe sync`. Processor and Sync are not safe for
// concurrent use.
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

// Stripe is the part of Stripe's API that a Processor needs; *api.Client
// implements it. The methods must be safe for concurrent use and return when ctx
// is done.
type Stripe interface {
	Fetch(ctx context.Context, typ, id string) (api.Object, error)
	Events(ctx context.Context, since time.Time, after string) (api.Page, error)
}

// Options configures a Processor. Stripe, Now and Reconcile are required.
type Options struct {
	Stripe Stripe
	Now    func() time.Time
	// Reconcile returns how often Stripe's list of events is compared with BILLING;
	// 0 means never. It is called before each comparison.
	Reconcile func() time.Duration
	Delay     time.Duration // from an event to the fetch of its object; 0 means 2 s
	Metrics   *metrics.Set  // may be nil
}

const (
	// defaultDelay is long enough for all events of one purchase to arrive, and for
	// Stripe's clock, which counts whole seconds, to pass them.
	defaultDelay = 2 * time.Second
	// maxDelay is how long further events can delay a fetch.
	maxDelay = 10 * time.Second
	// maxRunning is how many objects are fetched at once.
	maxRunning = 8
	// poll is how often Tick checks for answers while requests run.
	poll = 50 * time.Millisecond
	// firstScan is how far back events are read when there was no key before.
	firstScan = time.Hour
	// productAge is how long a fetched product is not fetched again when a
	// subscription names it. The product's own events show its changes.
	productAge = 24 * time.Hour
	// An object is fetched again after retryAfter when the answer may be older than
	// the newest event, up to maxAttempts times.
	retryAfter  = time.Second
	maxAttempts = 5
	// webhookDelay is after how long a webhook that has not come counts as lost.
	webhookDelay = 5 * time.Minute
	// deniedPause is how long a type is not fetched after the key was denied it.
	deniedPause = time.Hour
)

// foundHeader marks events that come from Stripe's list and not from a webhook.
const foundHeader = "Tidegate-Found"

// Processor implements stream.Processor. Make it with New.
type Processor struct {
	opt     Options
	figures figures

	state    state
	dirty    dirty
	jobs     jobs                 // for state.Pending
	products map[string]time.Time // when fetched
	answers  chan result
	running  int                  // requests for objects
	denied   map[string]time.Time // type that the key may not read → until when it is not fetched
	fetching breaker
	scanning breaker
	scan     *scan // of Stripe's list of events; nil: none runs
	found    int   // lost webhooks that were not logged yet
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

// Input returns the stream and subject that the processor reads.
func Input(names events.Names) stream.Input {
	return stream.Input{Stream: events.StreamBilling, Filters: []string{names.Billing(string(fold.KindStripe))}}
}

// New returns a processor.
func New(o Options) *Processor {
	if o.Delay == 0 {
		o.Delay = defaultDelay
	}
	if o.Metrics == nil {
		o.Metrics = metrics.NewSet()
	}
	return &Processor{
		opt: o, figures: newFigures(o.Metrics), state: newState(), dirty: newDirty(), jobs: newJobs(),
		products: map[string]time.Time{}, denied: map[string]time.Time{}, answers: make(chan result, maxRunning),
		fetching: breaker{what: "objects"}, scanning: breaker{what: "events"},
	}
}

// Start implements stream.Processor.
func (p *Processor) Start(ctx context.Context, o *stream.Owner) error {
	p.ctx, p.out, p.names, p.log = ctx, o, o.Names, o.Log
	now := p.opt.Now()
	if p.state.From.IsZero() {
		p.state.From = now.Add(-firstScan)
		p.dirty.head = true
	}
	for ref, w := range p.state.Pending {
		p.jobs.put(ref, &job{due: now, last: now}, now.Sub(w.Created) < recent)
	}
	stream.Answer(o, StatusQuestion, p.status)
	context.AfterFunc(ctx, func() { p.figures.pending.Set(0) }) // from then on another owner counts
	return nil
}

// Handle implements stream.Processor. It schedules the fetches of an event's
// objects.
func (p *Processor) Handle(m *stream.Message) error {
	e, err := fold.ParseEnvelope(m.Data)
	if err != nil {
		return nil //nolint:nilerr // the fold writes the dead letter
	}
	if m.Header.Get(foundHeader) != "" && m.Time.Sub(e.Created) > webhookDelay {
		p.found++
		p.figures.found.Inc()
		p.log.Debug("a lost webhook was found", "event", e.ID, "type", e.Type)
	}
	if !e.Thin && m.Time.Before(p.state.From) {
		return nil
	}
	for _, ref := range e.Refs() {
		created := e.Created
		if ref.Type == "product" && e.Type != "product.updated" { // the event only names it
			if created = (time.Time{}); p.jobs.get(ref) != nil || m.Time.Before(p.products[ref.ID].Add(productAge)) {
				continue
			}
		}
		p.addJob(ref, m, created, &e)
	}
	return nil
}

// addJob schedules the fetch of an object that changed at created (zero: it did
// not change), or moves it.
func (p *Processor) addJob(ref fold.Ref, m *stream.Message, created time.Time, e *fold.Envelope) {
	w := p.state.Pending[ref]
	w.Seq = m.Seq
	if created.After(w.Created) {
		w.Created = created
	}
	p.state.Pending[ref] = w
	p.dirty.set(ref)
	j := p.jobs.get(ref)
	if j == nil {
		j = &job{last: m.Time.Add(maxDelay)}
	}
	p.jobs.put(ref, j, p.opt.Now().Sub(e.Created) < recent || p.jobs.fresh[ref] != nil)
	if j.due = m.Time.Add(p.opt.Delay); e.Thin { // a thin event shows nothing of the object
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
			p.handleResult(r, now)
			continue
		default:
		}
		break
	}
	p.reconcile(now)
	if p.scan == nil && p.found > 0 {
		p.log.Info("webhooks that never came were found at stripe", "count", p.found)
		p.found = 0
	}
	next := earlier(p.startDue(now), p.nextScan(now))
	if p.running > 0 {
		next = earlier(next, now.Add(poll))
	}
	p.updateMetrics()
	return earlier(next, now.Add(time.Minute)), nil // Reconcile may change meanwhile
}

// earlier returns the earlier of two moments, of which zero means never.
func earlier(a, b time.Time) time.Time {
	if a.IsZero() || !b.IsZero() && b.Before(a) {
		return b
	}
	return a
}
