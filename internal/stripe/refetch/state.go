package refetch

import (
	"time"

	"github.com/VictoriaMetrics/metrics"

	"github.com/tidegate-io/tidegate/internal/stripe/fold"
	"github.com/tidegate-io/tidegate/internal/wire"
)

// state is what the next owner needs to continue.
type state struct {
	From       time.Time // events that were stored earlier are ignored
	Reconciled time.Time // BILLING has all events up to this moment of Stripe's clock
	Pending    map[fold.Ref]wanted
}

// wanted says why an object is to be fetched.
type wanted struct {
	Seq     uint64    `cbor:"s"` // of the newest event about it, in BILLING
	Created time.Time `cbor:"c"` // of that event, by Stripe's clock
}

func newState() state { return state{Pending: map[fold.Ref]wanted{}} }

// entry is an object that is to be fetched or, without Wanted, no longer is.
type entry struct {
	Type   string  `cbor:"t"`
	ID     string  `cbor:"i"`
	Wanted *wanted `cbor:"w,omitempty"`
}

// record is a commit. A snapshot is a commit from the empty state.
type record struct {
	From       time.Time `cbor:"f"`
	Reconciled time.Time `cbor:"r"`
	Entries    []entry   `cbor:"e,omitempty"`
}

// dirty lists what has changed since the last commit.
type dirty struct {
	head bool
	refs map[fold.Ref]bool
}

func newDirty() dirty { return dirty{refs: map[fold.Ref]bool{}} }

func (d *dirty) set(ref fold.Ref) { d.refs[ref] = true }

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
	var r record
	if err := wire.Unmarshal(commit, &r); err != nil {
		return err
	}
	p.state.From, p.state.Reconciled = r.From.UTC(), r.Reconciled.UTC()
	for _, e := range r.Entries {
		ref := fold.Ref{Type: e.Type, ID: e.ID}
		if e.Wanted == nil {
			delete(p.state.Pending, ref)
			continue
		}
		p.state.Pending[ref] = *e.Wanted
	}
	return nil
}

// Commit implements stream.Processor.
func (p *Processor) Commit() ([]byte, error) {
	if !p.dirty.head && len(p.dirty.refs) == 0 {
		return nil, nil
	}
	b, err := p.encode(p.dirty.refs)
	if err == nil {
		p.dirty = newDirty()
	}
	return b, err
}

// Snapshot implements stream.Processor.
func (p *Processor) Snapshot() ([]byte, error) {
	all := map[fold.Ref]bool{}
	for ref := range p.state.Pending {
		all[ref] = true
	}
	return p.encode(all)
}

func (p *Processor) encode(refs map[fold.Ref]bool) ([]byte, error) {
	r := record{From: p.state.From, Reconciled: p.state.Reconciled}
	for ref := range refs {
		e := entry{Type: ref.Type, ID: ref.ID}
		if w, ok := p.state.Pending[ref]; ok {
			e.Wanted = &w
		}
		r.Entries = append(r.Entries, e)
	}
	return wire.Marshal(r)
}

// figures holds the metrics.
type figures struct {
	fetched, refused, failed, found *metrics.Counter
	pending, reconciled             *metrics.Gauge
}

func newFigures(set *metrics.Set) figures {
	return figures{
		fetched:    set.GetOrCreateCounter(`tidegate_stripe_fetches_total{result="fetched"}`),
		refused:    set.GetOrCreateCounter(`tidegate_stripe_fetches_total{result="refused"}`),
		failed:     set.GetOrCreateCounter(`tidegate_stripe_fetches_total{result="failed"}`),
		found:      set.GetOrCreateCounter(`tidegate_stripe_lost_webhooks_total`),
		pending:    set.GetOrCreateGauge(`tidegate_stripe_pending`, nil),
		reconciled: set.GetOrCreateGauge(`tidegate_stripe_reconciled_timestamp_seconds`, nil),
	}
}

// updateMetrics sets the gauges.
func (p *Processor) updateMetrics() {
	p.figures.pending.Set(float64(p.jobs.len()))
	if !p.state.Reconciled.IsZero() {
		p.figures.reconciled.Set(float64(p.state.Reconciled.Unix()))
	}
}
