package fold

import (
	"context"
	"encoding/json"
	"log/slog"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/records"
	"github.com/tidegate-io/tidegate/internal/stream"
	"github.com/tidegate-io/tidegate/internal/writeback"
)

// Processor runs the fold: BILLING in, ACCOUNT and subscription documents out.
// It implements stream.Processor, as the one partition of stream.RoleBilling.
type Processor struct {
	cfg        atomic.Pointer[Config]
	partitions int
	store      Store

	state   *State
	applied *Config // the configuration of state
	written uint64  // from the last commit: documents up to this number are written
	writer  *writeback.Writer[string, records.Subscription]
	done    chan struct{} // closed when the writer has ended
	out     publisher
	report  reporter
	names   events.Names
	log     *slog.Logger
	queue   []*nats.Msg
	warned  map[string]bool // unknown prices that were logged
	figures atomic.Pointer[Figures]
	ended   atomic.Bool
}

// publisher is what the processor needs of its *stream.Owner.
type publisher interface {
	Publish(m *nats.Msg, opts ...jetstream.PublishOpt) error
}

// reporter is likewise; nil in tests without an owner.
type reporter interface {
	RejectDocument(collection, id string, doc any, why error)
	Failed(doing string, err error)
}

var _ stream.Processor = (*Processor)(nil)

// Store stores subscription documents. One processor writes at a time, from one
// goroutine.
type Store interface {
	// WriteSubscriptions stores one document for each of several customers. A
	// document replaces the stored one unless that has a higher position. An
	// equal position is replaced, because a timer changes a document without a
	// new position. After an error, WriteSubscriptions is called again with at
	// least the same customers.
	WriteSubscriptions(ctx context.Context, docs []records.Subscription) error
}

// NewProcessor returns a processor that publishes to ACCOUNT's partitions and
// writes to store.
func NewProcessor(cfg Config, partitions int, store Store) *Processor {
	p := &Processor{partitions: partitions, store: store, state: New(cfg)}
	p.Configure(cfg)
	return p
}

// Input returns the stream and subjects that the processor reads.
func Input(names events.Names) stream.Input {
	return stream.Input{Stream: events.StreamBilling, Filters: []string{names.Billing(">")}}
}

// Configure makes cfg apply from the next Tick on. It is safe for concurrent use.
func (p *Processor) Configure(cfg Config) { p.cfg.Store(&cfg) }

// Restore implements stream.Processor.
func (p *Processor) Restore(snapshot []byte) error {
	p.state, p.written = newState(*p.cfg.Load()), 0
	if snapshot == nil {
		return nil
	}
	return p.Apply(snapshot)
}

// Apply implements stream.Processor.
func (p *Processor) Apply(commit []byte) (err error) {
	p.written, err = p.state.facts.patch(commit)
	return err
}

// Start implements stream.Processor. It writes the documents that an earlier
// owner may not have written. The writer ends with ctx.
func (p *Processor) Start(ctx context.Context, o *stream.Owner) error {
	if len(o.Inputs) > 0 { // records without effect move the position without a commit
		p.state.facts.Seq = max(p.state.facts.Seq, o.Inputs[0].Position)
	}
	if o.Restored {
		p.written = 0
	}
	p.answer(o)
	p.report = o
	p.start(ctx, o.Names, o.Log, o)
	return nil
}

func (p *Processor) start(ctx context.Context, names events.Names, log *slog.Logger, out publisher) {
	p.names, p.log, p.out, p.warned = names, log, out, map[string]bool{}
	p.state.rebuild()
	p.setFigures()
	p.writer = writeback.New(func(s *records.Subscription) string { return s.Customer }, p.store.WriteSubscriptions, log)
	p.writer.Refused = func(s records.Subscription, why error) { p.report.RejectDocument("subscriptions", s.Customer, s, why) }
	p.done = make(chan struct{})
	var docs []records.Subscription
	for _, c := range p.state.documentsAfter(p.written) {
		docs = append(docs, *c.Subscription)
	}
	p.writer.Add(docs, p.state.facts.Documents)
	go func() {
		defer close(p.done)
		p.writer.Run(ctx)
		p.ended.Store(true)
	}()
}

// documented returns the number up to which all documents are written.
func (p *Processor) documented() uint64 { return max(p.written, p.writer.Watermark()) }

// Documents implements stream.Documenter.
func (p *Processor) Documents() stream.Documents {
	l := p.writer.Lag()
	return stream.Documents{Collection: "subscriptions", Waiting: l.Waiting, Oldest: l.Oldest}
}

// Handle implements stream.Processor.
func (p *Processor) Handle(m *stream.Message) error {
	kind := Kind(strings.TrimPrefix(m.Subject, p.names.Billing("")))
	rec, err := ParseRecord(kind, m.Data, m.Seq, m.Time)
	if err == nil {
		return p.emit(p.state.Apply(rec))
	}
	p.log.Warn("billing record is unreadable", "seq", m.Seq, "error", err)
	return stream.Reject(err)
}

// emit queues the changes for the store, the log and ACCOUNT.
func (p *Processor) emit(changes []Change) error {
	for _, c := range changes {
		if c.Subscription != nil {
			p.writer.Add([]records.Subscription{*c.Subscription}, c.Document)
		}
		for _, price := range c.UnknownPrices {
			if !p.warned[price] { // log a price once and not for each customer
				p.warned[price] = true
				p.log.Warn("a stripe price leads to no plan: list it under plans.<plan>.stripe, or give a plan any_subscription", "price", price)
			}
		}
		if c.Account == nil {
			continue
		}
		if err := p.enqueue(p.names.Account(events.PartitionOf(c.Customer, p.partitions)), c.Account); err != nil {
			return err
		}
	}
	return nil
}

func (p *Processor) enqueue(subject string, v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	m := nats.NewMsg(subject)
	m.Data = b
	p.queue = append(p.queue, m)
	return nil
}

// Flush implements stream.Processor.
func (p *Processor) Flush() error {
	for _, m := range p.queue {
		if err := p.out.Publish(m); err != nil {
			return err
		}
	}
	p.queue = p.queue[:0]
	p.setFigures()
	return nil
}

// Tick implements stream.Processor.
func (p *Processor) Tick(now time.Time) (time.Time, error) {
	changes := p.state.Advance(now)
	if cfg := p.cfg.Load(); cfg != p.applied {
		p.applied = cfg
		changes = append(changes, p.state.Configure(*cfg)...)
	}
	for _, err := range p.state.Failed() {
		p.report.Failed("derive a subscription", err)
	}
	p.setFigures()
	return p.state.NextTimer(), p.emit(changes)
}

// Commit implements stream.Processor.
func (p *Processor) Commit() ([]byte, error) { return p.state.Delta(p.documented()) }

// Snapshot implements stream.Processor.
func (p *Processor) Snapshot() ([]byte, error) { return p.state.Snapshot(p.documented()) }
