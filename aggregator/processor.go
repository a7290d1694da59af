// Package aggregator rolls usage events into windows. It folds the stream
// USAGE, message by message and each event once, into windows that are held in
// memory and committed to the partition's log; it tells the enforcer the totals
// that can change a decision, and writes every window as a document.
package aggregator

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/fingerprint"
	"github.com/tidegate-io/tidegate/internal/gate"
	"github.com/tidegate-io/tidegate/internal/questions"
	"github.com/tidegate-io/tidegate/internal/records"
	"github.com/tidegate-io/tidegate/internal/stream"
	"github.com/tidegate-io/tidegate/internal/wire"
	"github.com/tidegate-io/tidegate/internal/writeback"
)

// Store is where window documents are written.
type Store interface {
	// WriteUsage writes each document unless the stored one has a newer
	// (Epoch, Seq). After an error some may have been written.
	WriteUsage(ctx context.Context, docs []records.Window) error
}

// Options are what every partition of an aggregator needs.
type Options struct {
	Partitions int
	Horizon    time.Duration // within which duplicates are found and late events counted
	Store      Store
	// Catalog returns the configuration; a new pointer is a new one.
	Catalog func() *gate.Catalog
	Now     func() time.Time
}

// Spec is what an aggregator's partition reads.
func Spec(n events.Names, partition int) stream.Spec {
	return stream.Spec{Role: stream.RoleAggregator, Partition: partition, Inputs: []stream.Input{
		{Stream: events.StreamUsage, Filter: n.Usage(partition, "*")},
	}}
}

// Processor folds one partition.
type Processor struct {
	opt   Options
	o     *stream.Owner
	owned context.Context // until the ownership ends
	f     folder
	docs  documents

	emits      []emission
	totals     []records.WindowTotal // to be told before them
	dirty      numbers               // customers that changed since the last commit
	unchunked  []fingerprint.Entry   // in no run of SEEN yet
	logged     int                   // so many of them the log has
	store      seenStore             // SEEN
	archive    *fingerprint.Archive
	merged     chan merged // buffered: a merge has ended
	merging    bool
	obsolete   []uint64  // messages of SEEN that nobody needs once the newest commit counts
	deletable  []uint64  // those that have been it for long
	forgot     time.Time // when they last became it
	keepMerged time.Duration
	baseNew    bool  // the base is in no commit yet
	saved      saved // what the log knows

	configured *gate.Catalog // the configuration that the state has, or was told
	recheck    bool          // the state may have got another one since
	announced  time.Time     // when it was last told
	ends       calendar      // when windows end
	nextEnd    int64         // when to look there again (ms)
	flipped    int64         // windows that ended up to here have been found (ms)
}

type saved struct {
	catalog string // digest
	written reach
	size    int // of the last commit, for each customer in it
}

type emission struct {
	c *customer
	u *usage
}

// New is a processor for one ownership of a partition.
func New(opt Options, partition int) *Processor {
	p := &Processor{opt: opt, owned: context.Background(), merged: make(chan merged, 1), keepMerged: keepMerged}
	p.store.tries = seenTries
	p.archive = fingerprint.NewArchive(&p.store, fingerprint.Sizes{})
	p.f = folder{state: newState(), partition: partition, partitions: opt.Partitions, horizon: opt.Horizon,
		touched: p.touched,
		tell:    func(c *customer, u *usage) { p.totals = append(p.totals, p.total(c, u)) },
		reject: func(m *stream.Message, index int, raw []byte, why error) error {
			return p.o.Reject(m, index, raw, why)
		},
		counted: func(e fingerprint.Entry) { p.unchunked = append(p.unchunked, e) },
		older:   func(fp uint64, oldest uint32) (bool, error) { return p.archive.Has(p.owned, fp, oldest) },
	}
	return p
}

func (p *Processor) touched(c *customer, u *usage) {
	p.dirty.add(c.number)
	if u == nil {
		return
	}
	if u.emit {
		p.emits = append(p.emits, emission{c, u})
	}
	p.scheduleEnd(c, u)
}

// Restore implements stream.Processor.
func (p *Processor) Restore(snapshot []byte) error {
	p.f.state = newState()
	p.archive, p.unchunked, p.logged = fingerprint.NewArchive(&p.store, p.archive.Sizes), nil, 0
	p.deletable, p.obsolete = nil, nil
	if snapshot == nil {
		return nil
	}
	return p.Apply(snapshot)
}

// Apply implements stream.Processor.
func (p *Processor) Apply(commit []byte) error {
	r, seen, err := p.f.apply(commit)
	if err != nil {
		return err
	}
	p.applySeen(&r, seen)
	p.saved.written.seq = max(p.saved.written.seq, r.Documents)
	p.saved.written.end = r.Flipped // not the highest: that owner's clock may have run ahead
	return nil
}

// Start implements stream.Processor.
func (p *Processor) Start(ctx context.Context, o *stream.Owner) error {
	p.own(ctx, o)
	if !p.f.hasBase {
		p.f.base, p.f.hasBase, p.baseNew = *p.opt.Catalog(), true, true
		p.f.setCatalog(p.f.base)
		p.configured = p.opt.Catalog()
	}
	p.saved.catalog = digest(p.f.catalog)
	if err := p.loadSeen(ctx); err != nil {
		return fmt.Errorf("fingerprints: %w", err)
	}
	p.docs.writer = writeback.New((*records.Window).ID, p.opt.Store.WriteUsage, o.Log)
	p.docs.writer.Eager = true // rounds leave time enough
	go p.docs.writer.Run(ctx)
	p.rewriteDocuments()
	stream.Answer(o, questions.UsageOf, p.usageOf)
	stream.Answer(o, questions.Resend, p.resend)
	return nil
}

func (p *Processor) own(ctx context.Context, o *stream.Owner) {
	p.o, p.owned = o, ctx
	p.store.o = o
}

// Prefetch implements stream.Prefetcher.
func (p *Processor) Prefetch(ms []stream.Message) { p.f.expect(ms) }

// Handle implements stream.Processor.
func (p *Processor) Handle(m *stream.Message) error {
	if err := p.f.fold(m); err != nil {
		return err
	}
	// It may have been a configuration, of a former owner or by now an old one.
	p.recheck = p.recheck || strings.HasSuffix(m.Subject, "."+events.ControlToken)
	return nil
}

// maxTotals bounds what one message of WINDOWS holds, by an estimate.
const maxTotals = 400 << 10

// Flush implements stream.Processor.
func (p *Processor) Flush() error {
	totals, size := p.totals, 0
	p.totals = nil
	for _, e := range p.emits {
		if !e.u.emit {
			continue // told by a later change of the same run
		}
		e.u.emit = false
		totals = append(totals, p.total(e.c, e.u))
		if size += 200 + 50*len(totals[len(totals)-1].Buckets); size >= maxTotals {
			if err := p.tell(totals); err != nil {
				return err
			}
			totals, size = nil, 0
		}
	}
	clear(p.emits)
	p.emits = p.emits[:0]
	return p.tell(totals)
}

func (p *Processor) tell(totals []records.WindowTotal) error {
	if len(totals) == 0 {
		return nil
	}
	b, err := wire.Totals(totals)
	if err != nil {
		return err
	}
	return p.o.Publish(&nats.Msg{Subject: p.o.Names.Windows(p.o.Partition), Data: b})
}

func (p *Processor) total(c *customer, u *usage) records.WindowTotal {
	t := records.WindowTotal{Customer: c.id(), Feature: u.feature.name, Generation: 1, Position: u.seq, Index: int(u.index),
		Start: ms(u.start), End: ms(u.end), Used: u.used, StoredAt: ms(u.storedAt), Silent: u.silent, Cut: ms(c.cutAt())}
	if u.feature.gate != nil && u.end == 0 {
		var one [1]gate.Segment
		t.Used, t.Buckets = events.Value{}, u.rolling()
		t.Start = lastCut(c.segments(&one), p.f.storedAt)
	}
	return t
}

// Tick implements stream.Processor.
func (p *Processor) Tick(now time.Time) (time.Time, error) {
	if err := p.announce(now); err != nil {
		return time.Time{}, err
	}
	return p.tendDocuments(now), nil // a new configuration is looked for once a second
}

// announceEvery keeps two owners that do not know of each other yet from
// overruling each other all the time.
const announceEvery = time.Second

// announce puts a configuration that the state does not have into the stream,
// for the order there decides what it applies to.
func (p *Processor) announce(now time.Time) error {
	c := p.opt.Catalog()
	if c == p.configured && (!p.recheck || now.Before(p.announced.Add(announceEvery))) {
		return nil
	}
	p.configured, p.recheck = c, false
	if digest(*c) == digest(p.f.catalog) {
		return nil
	}
	p.announced = now
	id := fmt.Sprintf("config/%d/%d/%d", p.o.Partition, p.o.Epoch, p.f.position)
	b, err := records.Control(records.ControlConfig, "", id, c)
	if err != nil {
		return err
	}
	return p.o.Publish(&nats.Msg{Subject: p.o.Names.Usage(p.o.Partition, events.ControlToken), Data: b})
}

// usageOf answers questions.UsageOf.
func (p *Processor) usageOf(customer string) (questions.Usage, error) {
	answer := questions.Usage{Windows: []records.Window{}, AsOf: p.f.storedAt}
	if c := p.f.customers.find(customer); c != nil {
		for _, u := range c.sortedWindows(nil) {
			w := p.document(c, u, p.opt.Now())
			w.Buckets = nil
			answer.Windows = append(answer.Windows, w)
		}
	}
	return answer, nil
}

// resend answers questions.Resend.
func (p *Processor) resend(stream.None) (none stream.None, err error) {
	for c := range p.f.customers.all {
		for u := range c.windows {
			if !u.closed && (u.end == 0 || u.end > p.f.storedAt.UnixMilli()) {
				u.emit = true
				p.emits = append(p.emits, emission{c, u})
			}
		}
	}
	return none, p.Flush()
}
