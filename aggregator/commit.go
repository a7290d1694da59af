package aggregator

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/tidegate-io/tidegate/internal/fingerprint"
	"github.com/tidegate-io/tidegate/internal/stream"
)

// Commit implements stream.Processor.
func (p *Processor) Commit() ([]byte, error) {
	if p.seenAgain {
		return nil, stream.Outage(fmt.Errorf("the fingerprints: %w", stream.ErrSetBack))
	}
	written := p.docs.written()
	r := record{Documents: written.seq, EndedTo: written.end, Position: p.f.position, StoredAt: toNanos(p.f.storedAt), Hour: p.f.hour}
	p.commitLost(&r)
	p.seenChecked = true
	if err := p.commitMerge(&r); err != nil {
		return nil, err
	}
	changed := p.baseNew || p.dirty.nonEmpty || len(p.unarchived) > p.inLog || len(r.Gone) > 0 || len(r.Lost) > 0 || written.seq > p.logged.written.seq
	if !changed {
		return nil, nil
	}
	if err := p.commitCatalogs(&r); err != nil {
		return nil, err
	}
	if err := p.commitSeen(&r); err != nil {
		return nil, err
	}
	n := p.dirty.len() + 1
	b, err := p.f.encode(&r, p.takeChanged, false, n*max(p.logged.size, 100))
	if err != nil {
		return nil, err
	}
	p.logged.written, p.logged.size = written, min(len(b)/n, maxSizeGuess)
	p.handOver(p.opt.Now())
	return b, nil
}

// maxSizeGuess bounds the number of bytes for each customer that Commit expects.
// The commit before may have needed many more, because it contained mostly
// fingerprints, or many members of one customer.
const maxSizeGuess = 1 << 10

// commitCatalogs adds the catalogs that are not in the log yet.
func (p *Processor) commitCatalogs(r *record) (err error) {
	if p.baseNew {
		if r.Base, err = json.Marshal(p.f.base); err != nil {
			return err
		}
		p.baseNew = false
	}
	if d := catalogJSON(p.f.catalog); d != p.logged.catalog {
		r.Catalog = []byte(d)
		p.logged.catalog = d
	}
	return nil
}

// takeChanged calls yield with each customer that has changed since the last
// commit. yield must encode it, because it counts as committed afterwards.
func (p *Processor) takeChanged(yield func(*customer) bool) {
	for n := range p.dirty.all {
		c := p.f.customers.at(n)
		if !yield(c) {
			return
		}
		p.noteCommitted(c)
	}
	p.dirty.clear()
}

// noteCommitted marks a customer and its windows as unchanged since the last
// commit, and notes that their documents must be written.
func (p *Processor) noteCommitted(c *customer) {
	c.changed = false
	for u := range c.windows {
		u.changed = false
		if u.detail != nil {
			u.detail.newBuckets, u.detail.newMembers = nil, nil
		}
	}
	p.docs.changed.add(c.number)
}

// Snapshot implements stream.Processor.
func (p *Processor) Snapshot() ([]byte, error) {
	r := record{Seen: fingerprint.Encode(slices.Clone(p.unarchived)), Chunks: p.archive.Runs(), Obsolete: slices.Concat(p.deletable, p.obsolete),
		LostTo:    p.lostTo.Load(),
		Documents: p.logged.written.seq, EndedTo: p.logged.written.end}
	return p.f.snapshot(r)
}
