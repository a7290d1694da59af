package aggregator

import (
	"encoding/json"
	"iter"
	"slices"

	"github.com/tidegate-io/tidegate/internal/fingerprint"
)

// Commit implements stream.Processor.
func (p *Processor) Commit() ([]byte, error) {
	written := p.docs.written()
	r := record{Documents: written.seq, Flipped: written.end, Position: p.f.position, StoredAt: ns(p.f.storedAt), Hour: p.f.hour}
	p.commitMerge(&r)
	changed := p.baseNew || p.dirty.some || len(p.unchunked) > p.logged || len(r.Gone) > 0 || written.seq > p.saved.written.seq
	if !changed {
		return nil, nil
	}
	if err := p.commitCatalogs(&r); err != nil {
		return nil, err
	}
	p.commitSeen(&r)
	n := p.dirty.len() + 1
	b, err := p.f.encode(&r, p.changed(written.seq), false, n*max(p.saved.size, 100))
	if err != nil {
		return nil, err
	}
	p.saved.written, p.saved.size = written, len(b)/n
	p.handOver(p.opt.Now())
	return b, nil
}

func (p *Processor) commitCatalogs(r *record) (err error) {
	if p.baseNew {
		if r.Base, err = json.Marshal(p.f.base); err != nil {
			return err
		}
		p.baseNew = false
	}
	if d := digest(p.f.catalog); d != p.saved.catalog {
		r.Catalog = []byte(d)
		p.saved.catalog = d
	}
	return nil
}

// changed hands over the customers that changed since the last commit, each to
// be taken down at once: it counts as committed after that.
func (p *Processor) changed(documents uint64) iter.Seq[*customer] {
	return func(yield func(*customer) bool) {
		for n := range p.dirty.all {
			c := p.f.customers.at(n)
			if !yield(c) {
				return
			}
			p.committed(c, documents)
		}
		p.dirty.clear()
	}
}

// committed notes that a document is to be written of what has changed, and lets
// go of closed windows whose document is written.
func (p *Processor) committed(c *customer, documents uint64) {
	c.changed = false
	closed := false
	for u := range c.windows {
		u.changed = false
		if u.detail != nil {
			u.detail.newBuckets, u.detail.newMembers = nil, nil
		}
		closed = closed || u.closed
	}
	p.docs.changed.add(c.number)
	if closed {
		c.forget(func(u *usage) bool { return u.closed && u.seq <= documents })
	}
}

// Snapshot implements stream.Processor.
func (p *Processor) Snapshot() ([]byte, error) {
	r := record{Seen: fingerprint.Encode(slices.Clone(p.unchunked)), Chunks: p.archive.Runs(), Obsolete: slices.Concat(p.deletable, p.obsolete),
		Documents: p.saved.written.seq, Flipped: p.saved.written.end}
	return p.f.snapshot(r)
}
