package aggregator

import (
	"encoding/json"
	"slices"

	"github.com/tidegate-io/tidegate/internal/fingerprint"
	"github.com/tidegate-io/tidegate/internal/wire"
)

// Commit implements stream.Processor.
func (p *Processor) Commit() ([]byte, error) {
	r := record{Documents: p.docs.Watermark(), Position: p.f.position, StoredAt: ns(p.f.storedAt), Hour: p.f.hour}
	if p.flipped > p.saved.flipped && p.docs.Settled() {
		p.saved.flipped = p.flipped
	}
	r.Flipped = p.saved.flipped
	p.commitMerge(&r)
	changed := p.baseNew || len(p.dirty) > 0 || len(p.newSeen) > 0 || len(r.Gone) > 0 || r.Documents > p.saved.documents
	if !changed {
		return nil, nil
	}
	if err := p.commitCatalogs(&r); err != nil {
		return nil, err
	}
	p.commitWindows(&r)
	p.commitSeen(&r)
	p.saved.documents = r.Documents
	b, err := wire.Marshal(&r)
	return b, err
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

// commitWindows takes down changed customers and windows, hands the windows'
// documents over, and lets go of closed windows whose document is written.
func (p *Processor) commitWindows(r *record) {
	dirty := make([]*customer, 0, len(p.dirty))
	for c := range p.dirty {
		dirty = append(dirty, c)
	}
	slices.SortFunc(dirty, func(a, b *customer) int {
		if a.id < b.id {
			return -1
		}
		return 1
	})
	var docs []emission
	for _, c := range dirty {
		if c.changed {
			r.Customers = append(r.Customers, c.record())
			c.changed = false
		}
		for _, u := range c.windows {
			if !u.changed {
				continue
			}
			r.Windows = append(r.Windows, u.record(c.id, false))
			docs = append(docs, emission{c, u})
			u.changed, u.newBuckets, u.newMembers = false, nil, nil
		}
		c.windows = slices.DeleteFunc(c.windows, func(u *usage) bool { return u.closed && u.seq <= r.Documents })
	}
	clear(p.dirty)
	p.docs.Add(docs, p.f.position)
}

// Snapshot implements stream.Processor.
func (p *Processor) Snapshot() ([]byte, error) {
	r, err := p.f.snapshot()
	if err != nil {
		return nil, err
	}
	r.Seen, r.Chunks = fingerprint.Encode(slices.Clone(p.unchunked)), p.archive.Runs()
	r.Obsolete = slices.Concat(p.deletable, p.obsolete)
	r.Documents, r.Flipped = p.saved.documents, p.saved.flipped
	return wire.Marshal(&r)
}
