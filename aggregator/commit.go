package aggregator

import (
	"encoding/json"
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
	b, err := p.f.encode(&r, p.changed, false, n*max(p.saved.size, 100))
	if err != nil {
		return nil, err
	}
	p.saved.written, p.saved.size = written, min(len(b)/n, mostExpected)
	p.handOver(p.opt.Now())
	return b, nil
}

// mostExpected is what a commit is taken to need for each customer, at most: the
// one before may have been fingerprints or one customer's values for the most part.
const mostExpected = 1 << 10

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
func (p *Processor) changed(yield func(*customer) bool) {
	for n := range p.dirty.all {
		c := p.f.customers.at(n)
		if !yield(c) {
			return
		}
		p.committed(c)
	}
	p.dirty.clear()
}

// committed notes that a document is to be written of what has changed.
func (p *Processor) committed(c *customer) {
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
	r := record{Seen: fingerprint.Encode(slices.Clone(p.unchunked)), Chunks: p.archive.Runs(), Obsolete: slices.Concat(p.deletable, p.obsolete),
		Documents: p.saved.written.seq, Flipped: p.saved.written.end}
	return p.f.snapshot(r)
}
