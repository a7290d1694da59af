// Package enforcer turns window totals, plans and overrides into decisions. It
// reads the streams WINDOWS and ACCOUNT, puts decisions into a key-value bucket
// that apps watch, and emits limits that customers reach to LIMITS.
package enforcer

import (
	"cmp"
	"context"
	"errors"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/gate"
	"github.com/tidegate-io/tidegate/internal/guard"
	"github.com/tidegate-io/tidegate/internal/questions"
	"github.com/tidegate-io/tidegate/internal/records"
	"github.com/tidegate-io/tidegate/internal/stream"
	"github.com/tidegate-io/tidegate/internal/wire"
	"github.com/tidegate-io/tidegate/internal/writeback"
)

// Store is where the documents of customers are written.
type Store interface {
	// WriteCustomers writes each document unless the stored one has a newer
	// Position. After an error some may have been written.
	WriteCustomers(ctx context.Context, docs []records.Customer) error
}

// Options are the options of all partitions. Link may be nil, the others must not.
type Options struct {
	Partitions int
	Store      Store
	// Catalog returns the configuration. It returns another pointer when the
	// configuration has changed.
	Catalog func() *gate.Catalog
	Now     func() time.Time
	// Link returns the address at which a blocked customer upgrades, with the
	// customer and the window in it, or "" for the gate's own address. For the same
	// arguments it must return the same address.
	Link func(customer, feature string, windowStart, expires time.Time) string
	// Repaired is called with how many keys of the decisions bucket were put right. It
	// must be safe for concurrent use. It may be nil.
	Repaired func(keys int)
	// CompareEvery is the time between two comparisons of the bucket with the state; 5
	// minutes. ProbeEvery is that between two looks whether the bucket lost something; 10 s.
	CompareEvery, ProbeEvery time.Duration
}

const (
	inputWindows = iota
	inputAccount
	inputs // the number of inputs
)

// Spec returns the inputs of a partition.
func Spec(n events.Names, partition int) stream.Spec {
	return stream.Spec{Role: stream.RoleEnforcer, Partition: partition, Inputs: []stream.Input{
		inputWindows: {Stream: events.StreamWindows, Filters: []string{n.Windows(partition)}},
		inputAccount: {Stream: events.StreamAccount, Filters: n.AccountOf(strconv.Itoa(partition))},
	}}
}

// Processor decides for the customers of one partition. It implements
// stream.Processor and stream.Documenter.
type Processor struct {
	*state
	opt     Options
	catalog *gate.Catalog
	o       *stream.Owner
	docs    *writeback.Writer[string, records.Customer]
	fence   uint64 // revision of the partition's key in the decisions bucket
	counter int64  // of decisions in this epoch
	timers  wakeups

	marked       map[mark]bool          // decisions to evaluate in Flush; true: because of usage
	dirty        map[*customer]struct{} // changed since the last commit
	documents    []*customer            // whose document changed since the last commit
	position     uint64                 // in ACCOUNT
	savedDocs    uint64                 // Documents of the last commit
	put          uint64                 // Put of the last commit
	gatesChanged bool                   // since the last commit
	backlog      backlog
	mirror       *mirror
	gatesAt      time.Time // when the gates were published last
}

// mark names a decision to evaluate.
type mark struct {
	c       *customer
	feature string // "": every gate
}

// New returns a processor for one ownership of a partition.
func New(opt Options) *Processor {
	opt.CompareEvery, opt.ProbeEvery = cmp.Or(opt.CompareEvery, compareEvery), cmp.Or(opt.ProbeEvery, probeEvery)
	if opt.Repaired == nil {
		opt.Repaired = func(int) {}
	}
	return &Processor{state: newState(), opt: opt, marked: map[mark]bool{}, dirty: map[*customer]struct{}{}}
}

// changed adds a customer to the next commit.
func (p *Processor) changed(c *customer) { p.dirty[c] = struct{}{} }

// mark has Flush evaluate a decision.
func (p *Processor) mark(c *customer, feature string, byUsage bool) {
	m := mark{c, feature}
	p.marked[m] = p.marked[m] || byUsage
}

// Restore implements stream.Processor.
func (p *Processor) Restore(snapshot []byte) error {
	p.state = newState()
	if snapshot == nil {
		return nil
	}
	return p.Apply(snapshot)
}

// Apply implements stream.Processor.
func (p *Processor) Apply(commit []byte) error {
	r, err := p.apply(commit)
	p.savedDocs, p.put = max(p.savedDocs, r.Documents), max(p.put, r.Put)
	return err
}

// Start implements stream.Processor.
func (p *Processor) Start(ctx context.Context, o *stream.Owner) error {
	p.o, p.catalog = o, p.opt.Catalog()
	p.position = o.Inputs[inputAccount].Position
	if err := p.takeFence(ctx); err != nil {
		return err
	}
	p.put = min(p.put, p.fence) // a bucket that was set back ends before what was put
	if err := p.readDecisions(ctx); err != nil {
		return err
	}
	p.docs = writeback.New(func(c *records.Customer) string { return c.ID }, p.opt.Store.WriteCustomers, o.Log)
	p.docs.Refused = func(c records.Customer, why error) { o.RejectDocument("customers", c.ID, c, why) }
	go p.docs.Run(ctx)
	for _, c := range p.customers {
		if c.known && o.Restored {
			c.doc.Position = p.position
			p.changed(c)
		}
		if c.known && c.doc.Position > p.savedDocs {
			p.documents = append(p.documents, c)
		}
		p.mark(c, "", false) // time has passed, and the configuration may have changed
	}
	if o.Inputs[inputWindows].Gap() {
		o.Log.Info("windows_have_a_gap_asking_for_all")
		go p.requestTotals(ctx)
	}
	stream.Answer(o, questions.StandingOf, p.standingOf)
	stream.Answer(o, questions.SettingsOf, p.settingsOf)
	stream.Answer(o, questions.SwitchedOff, func(stream.None) (map[string]records.GateSwitch, error) { return maps.Clone(p.gatesOff), nil })
	stream.Answer(o, questions.ProfilesOf, p.profilesOf)
	if err := p.publishGates(); err != nil {
		return err
	}
	p.mirror = newMirror(o.Epoch)
	go p.mirrorForever(ctx)
	return nil
}

// Documents implements stream.Documenter.
func (p *Processor) Documents() stream.Documents {
	l := p.docs.Lag()
	return stream.Documents{Collection: "customers", Waiting: l.Waiting, Oldest: l.Oldest}
}

// requestTotals has the aggregator emit all open windows again.
func (p *Processor) requestTotals(ctx context.Context) {
	asker := stream.Asker{NC: p.o.JS.Conn(), Names: p.o.Names}
	for ctx.Err() == nil {
		if _, err := questions.Resend.Ask(ctx, asker, p.o.Partition, stream.None{}); err == nil {
			return
		}
		select {
		case <-ctx.Done():
		case <-time.After(time.Second):
		}
	}
}

// Handle implements stream.Processor.
func (p *Processor) Handle(m *stream.Message) error {
	p.backlog.handled[m.Input] = m.Seq
	if m.Input == inputAccount {
		p.position = m.Seq
		return p.applyAccount(m)
	}
	totals, err := wire.ParseTotals(m.Data)
	if errors.Is(err, events.ErrFormat) {
		return stream.Outage(err) // a process of the newer version takes the partition over
	}
	if err != nil {
		return stream.Reject(err)
	}
	now := p.opt.Now()
	for i := range totals {
		t := &totals[i]
		c := p.customer(t.Customer)
		e := c.feature(t.Feature)
		if !e.merge(t, c.cutAt, now) {
			continue
		}
		p.changed(c)
		p.mark(c, t.Feature, true)
		// The notice period begins with the total that crossed the limit. Flush would
		// see only the last of the totals that came together.
		if g, ok := p.catalog.Gate(t.Feature); ok && g.Window.Kind == gate.Rolling {
			d, w := p.decide(c, g, e, now)
			if err := p.emitCrossings(c, g, e, &d, w, true); err != nil {
				return err
			}
		}
	}
	return nil
}

// Flush implements stream.Processor.
func (p *Processor) Flush() error {
	if p.backlog.pending(p.opt.Now()) {
		return nil
	}
	for len(p.marked) > 0 {
		marked := p.marked
		p.marked = map[mark]bool{}
		for m, byUsage := range marked {
			if m.feature != "" {
				if err := p.evaluateApart(m.c, m.feature, byUsage); err != nil {
					return err
				}
				continue
			}
			for feature := range p.featuresOf(m.c) {
				if err := p.evaluateApart(m.c, feature, marked[mark{m.c, feature}]); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// evaluateApart is evaluate. A customer about whom it cannot decide keeps the decision
// that apps have, and does not hold up the others.
func (p *Processor) evaluateApart(c *customer, feature string, byUsage bool) error {
	err := guard.Do(func() error { return p.evaluate(c, feature, byUsage) })
	if err == nil || stream.IsStop(err) {
		return err
	}
	p.o.Failed("decide", err)
	return nil
}

// featuresOf returns the features of all gates, and those of which the customer has
// an entitlement though their gate is not configured.
func (p *Processor) featuresOf(c *customer) map[string]struct{} {
	fs := make(map[string]struct{}, len(p.catalog.Gates))
	for i := range p.catalog.Gates {
		fs[p.catalog.Gates[i].Feature] = struct{}{}
	}
	for f := range c.features {
		fs[f] = struct{}{}
	}
	return fs
}

// Tick implements stream.Processor.
func (p *Processor) Tick(now time.Time) (time.Time, error) {
	if c := p.opt.Catalog(); c != p.catalog {
		p.catalog = c
		if err := p.publishGates(); err != nil {
			return time.Time{}, err
		}
		for _, c := range p.customers {
			p.mark(c, "", false)
		}
	}
	if err := p.heal(now); err != nil {
		return time.Time{}, err
	}
	if err := p.switchOn(now); err != nil {
		return time.Time{}, err
	}
	next := now.Add(time.Second) // when to look for a new configuration again
	if at := p.due(now); !at.IsZero() && at.Before(next) {
		next = at
	}
	return next, nil
}

// Commit implements stream.Processor.
func (p *Processor) Commit() ([]byte, error) {
	docs := make([]records.Customer, 0, len(p.documents))
	for _, c := range p.documents {
		docs = append(docs, c.doc)
	}
	p.documents = nil
	p.docs.Add(docs, p.position)
	r := record{Documents: p.docs.Watermark(), Gates: p.gatesChanged}
	p.put = max(p.put, p.fence, p.o.Acked("KV_"+p.o.Names.Bucket(events.BucketDecisions)))
	r.Put = p.put
	p.mirror.settled.Store(p.lastPosition())
	p.mirror.gates.Store(p.gatesAt.UnixNano())
	p.mirror.newest.Store(p.o.Acked("KV_" + p.o.Names.Bucket(events.BucketDecisions)))
	if len(p.dirty) == 0 && !p.gatesChanged && r.Documents == p.savedDocs {
		return nil, nil
	}
	if p.gatesChanged {
		p.switches(&r)
	}
	for c := range p.dirty {
		r.Customers = append(r.Customers, c.record())
	}
	sortRecords(r.Customers)
	clear(p.dirty)
	p.gatesChanged, p.savedDocs = false, r.Documents
	return wire.Marshal(&r)
}

func sortRecords(rs []customerRec) {
	slices.SortFunc(rs, func(a, b customerRec) int { return strings.Compare(a.Doc.ID, b.Doc.ID) })
}

// Snapshot implements stream.Processor.
func (p *Processor) Snapshot() ([]byte, error) {
	r := record{Documents: p.savedDocs, Gates: true, Put: p.put}
	p.switches(&r)
	for _, c := range p.customers {
		r.Customers = append(r.Customers, c.record())
	}
	sortRecords(r.Customers)
	return wire.Marshal(&r)
}
