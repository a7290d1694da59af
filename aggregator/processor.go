package aggregator

import (
	"context"
	"fmt"
	"sync/atomic"
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

// Store is the store of the windows' documents.
type Store interface {
	// WriteUsage writes each document, unless the stored one has a newer
	// (Epoch, Seq). After an error it may have written some of them. It is safe
	// for concurrent use.
	WriteUsage(ctx context.Context, docs []records.Window) error
}

// Options are the same for all partitions of an aggregator.
type Options struct {
	Partitions int
	Horizon    time.Duration // how old a duplicate or a late event may be
	Store      Store
	// Catalog returns the configuration. A different pointer means that the
	// configuration may have changed.
	Catalog func() *gate.Catalog
	Now     func() time.Time
}

// Spec returns the role and the inputs of a partition.
func Spec(n events.Names, partition int) stream.Spec {
	return stream.Spec{Role: stream.RoleAggregator, Partition: partition, Inputs: []stream.Input{
		{Stream: events.StreamUsage, Filters: []string{n.Usage(partition, ">")}},
	}}
}

// Processor is the owner of one partition, for stream.Run.
type Processor struct {
	opt   Options
	o     *stream.Owner
	owned context.Context // until the ownership ends
	f     folder
	docs  documents

	emissions   []emission            // windows whose totals Flush emits
	earlyTotals []records.WindowTotal // Flush emits these first
	dirty       numberSet             // customers that have changed since the last commit

	unarchived  []fingerprint.Entry // fingerprints that are in no run of SEEN yet
	inLog       int                 // the number of them that are in the log
	store       seenStore
	archive     *fingerprint.Archive // the runs of SEEN
	merging     bool                 // a goroutine is merging runs
	mergeDone   chan mergeResult     // has the result of that goroutine; buffered
	obsolete    []uint64             // messages of SEEN that no commit names once the newest one counts
	deletable   []uint64             // those that were obsolete at deletedAt
	deletedAt   time.Time            // when deleteObsolete has last done something
	keepMerged  time.Duration
	seenChecked bool          // what the takeover found lost is committed
	seenAgain   bool          // more is lost: the next owner finds out what
	mergeAfter  uint64        // what is merged gets higher numbers in SEEN
	lostTo      atomic.Uint32 // the hour of the newest fingerprint that SEEN has ever lost

	baseNew bool   // no commit contains the base
	logged  logged // what is in the log

	configured  *gate.Catalog // the configuration that the state has, or that was announced last
	checkAgain  bool          // the state may have another configuration now
	announcedAt time.Time
	endings     schedule // the hours in which windows begin or end
	nextEnd     int64    // when to call findEnded again (ms)
	endedTo     int64    // findEnded has found the windows that ended up to here (ms)
}

type logged struct {
	catalog string // the catalog in force as JSON
	written watermark
	size    int // bytes for each customer of the last commit
}

type emission struct {
	c *customer
	u *usage
}

// New returns a Processor for one ownership of a partition.
func New(opt Options, partition int) *Processor {
	p := &Processor{opt: opt, owned: context.Background(), mergeDone: make(chan mergeResult, 1), keepMerged: keepMerged}
	p.store.attempts = maxAttempts
	p.archive = fingerprint.NewArchive(&p.store, fingerprint.Sizes{})
	p.f = folder{state: newState(), partition: partition, partitions: opt.Partitions, horizon: opt.Horizon,
		onChange: p.noteChange,
		emitNow:  func(c *customer, u *usage) { p.earlyTotals = append(p.earlyTotals, p.total(c, u)) },
		reject: func(m *stream.Message, index int, raw []byte, why error) error {
			return p.o.Reject(m, index, raw, why)
		},
		onCounted: func(e fingerprint.Entry) { p.unarchived = append(p.unarchived, e) },
		archived:  func(fp uint64, oldest uint32) (bool, error) { return p.archive.Has(p.owned, fp, oldest) },
	}
	return p
}

// noteChange notes a change of a window, or, if u is nil, of the customer.
func (p *Processor) noteChange(c *customer, u *usage) {
	p.dirty.add(c.number)
	if u == nil {
		return
	}
	if u.emit {
		p.emissions = append(p.emissions, emission{c, u})
	}
	p.scheduleEnd(c, u)
}

// Restore implements stream.Processor.
func (p *Processor) Restore(snapshot []byte) error {
	p.f.state = newState()
	p.archive, p.unarchived, p.inLog = fingerprint.NewArchive(&p.store, p.archive.Sizes), nil, 0
	p.deletable, p.obsolete = nil, nil
	p.lostTo.Store(0)
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
	p.logged.written.seq = max(p.logged.written.seq, r.Documents)
	p.logged.written.end = r.EndedTo // no maximum, because the clock of an earlier owner may have been ahead
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
	p.logged.catalog = catalogJSON(p.f.catalog)
	if err := p.loadSeen(ctx); err != nil {
		return fmt.Errorf("fingerprints: %w", err)
	}
	p.docs.writer = writeback.New((*records.Window).ID, p.opt.Store.WriteUsage, o.Log)
	p.docs.writer.Eager = true // the rounds have pauses between them
	p.docs.writer.Refused = func(w records.Window, why error) { o.RejectDocument("usage", w.ID(), w, why) }
	go p.docs.writer.Run(ctx)
	p.resumeDocuments()
	stream.Answer(o, questions.UsageOf, p.usageOf)
	stream.Answer(o, questions.UsersOf, p.usersOf)
	stream.Answer(o, questions.Resend, p.resend)
	return nil
}

// own begins the ownership.
func (p *Processor) own(ctx context.Context, o *stream.Owner) {
	p.o, p.owned = o, ctx
	p.store.o = o
	p.f.silentUntil = o.Recovered
}

// Prefetch implements stream.Prefetcher.
func (p *Processor) Prefetch(ms []stream.Message) { p.f.prefetch(ms) }

// Part implements stream.Parter: a batch holds events of many customers.
func (p *Processor) Part() int { return p.f.part }

// Handle implements stream.Processor.
func (p *Processor) Handle(m *stream.Message) error {
	if err := p.f.fold(m); err != nil {
		return err
	}
	// The message may contain a configuration that is not this owner's present one.
	if kind, _ := kindOf(m.Subject); kind == events.ControlToken {
		p.checkAgain = true
	}
	return nil
}

// maxTotals bounds the estimated size of a message of WINDOWS.
const maxTotals = 400 << 10

// Flush implements stream.Processor.
func (p *Processor) Flush() error {
	totals, size := p.earlyTotals, 0
	p.earlyTotals = nil
	for _, e := range p.emissions {
		if !e.u.emit {
			continue // it is in the list twice, or emitNow has emitted it
		}
		e.u.emit = false
		totals = append(totals, p.total(e.c, e.u))
		if size += 200 + 50*len(totals[len(totals)-1].Buckets); size >= maxTotals {
			if err := p.publish(totals); err != nil {
				return err
			}
			totals, size = nil, 0
		}
	}
	clear(p.emissions)
	p.emissions = p.emissions[:0]
	return p.publish(totals)
}

func (p *Processor) publish(totals []records.WindowTotal) error {
	if len(totals) == 0 {
		return nil
	}
	b, err := wire.Totals(totals)
	if err != nil {
		return err
	}
	return p.o.Publish(&nats.Msg{Subject: p.o.Names.Windows(p.o.Partition), Data: b})
}

// total returns the window's total as the enforcer receives it.
func (p *Processor) total(c *customer, u *usage) records.WindowTotal {
	t := records.WindowTotal{Customer: c.id(), Feature: u.feature.name, Generation: 1, Position: u.seq, Index: int(u.index),
		Start: fromMillis(u.start), End: fromMillis(u.end), Used: u.used, StoredAt: fromMillis(u.storedAt), Silent: u.silent, Cut: fromMillis(c.cutAt())}
	if u.feature.gate != nil && u.end == 0 {
		var one [1]gate.Segment
		t.Used, t.Buckets = events.Value{}, u.gateBuckets()
		t.Start = lastCut(c.segments(&one), p.f.storedAt)
	}
	return t
}

// Tick implements stream.Processor.
func (p *Processor) Tick(now time.Time) (time.Time, error) {
	if err := p.announce(now); err != nil {
		return time.Time{}, err
	}
	return p.tickDocuments(now), nil
}

// announceEvery is the least time between two announcements of the same
// configuration. During a change of owner, two processes with different
// configurations may both believe that they own the partition; they must not
// replace each other's configuration without a pause.
const announceEvery = time.Second

// announce publishes the configuration to USAGE if the state has another one. Its
// place in the stream decides to which events it applies.
func (p *Processor) announce(now time.Time) error {
	c := p.opt.Catalog()
	if c == p.configured && (!p.checkAgain || now.Before(p.announcedAt.Add(announceEvery))) {
		return nil
	}
	p.configured, p.checkAgain = c, false
	if catalogJSON(*c) == catalogJSON(p.f.catalog) {
		return nil
	}
	p.announcedAt = now
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

// usersOf answers questions.UsersOf.
func (p *Processor) usersOf(ids []string) (questions.Customers, error) {
	answer := questions.Customers{Total: int(p.f.customers.n)}
	for i, id := range ids {
		if p.f.customers.find(id) == nil {
			answer.Unknown = append(answer.Unknown, i)
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
				p.emissions = append(p.emissions, emission{c, u})
			}
		}
	}
	return none, p.Flush()
}
