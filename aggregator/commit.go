package aggregator

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/fingerprint"
	"github.com/tidegate-io/tidegate/internal/stream"
	"github.com/tidegate-io/tidegate/internal/wire"
)

// defaultChunk is how many fingerprints make a chunk of SEEN. Fewer stay in the
// log until an hour has passed, so that a quiet partition does not make a
// message of every commit.
const defaultChunk = 60_000

// Commit implements stream.Processor.
func (p *Processor) Commit() ([]byte, error) {
	r := record{Documents: p.docs.Watermark(), Position: p.f.position, StoredAt: ns(p.f.storedAt), Hour: p.f.hour}
	if p.flipped > p.saved.flipped && p.docs.Settled() {
		p.saved.flipped = p.flipped
	}
	r.Flipped = p.saved.flipped
	changed := p.baseNew || len(p.dirty) > 0 || len(p.newSeen) > 0 || r.Documents > p.saved.documents
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
	now := p.opt.Now()
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
	var docs []events.Window
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
			docs = append(docs, p.document(c, u, now))
			u.changed, u.newBuckets, u.newMembers = false, nil, nil
		}
		c.windows = slices.DeleteFunc(c.windows, func(u *usage) bool { return u.closed && u.seq <= r.Documents })
	}
	clear(p.dirty)
	p.docs.Add(docs, p.f.position)
}

// commitSeen puts the new fingerprints into the record or, when there are many
// or they are old, all that are in no chunk yet into a chunk of SEEN.
func (p *Processor) commitSeen(r *record) {
	p.unchunked = append(p.unchunked, p.newSeen...)
	fresh := p.newSeen
	p.newSeen = nil
	full := len(p.unchunked) >= p.chunkSize
	old := len(p.unchunked) > 0 && p.unchunked[0].Hour < p.f.hour
	if full || old {
		if chunks, err := p.writeChunks(p.unchunked); err == nil {
			r.Chunks = chunks
			p.chunks = append(slices.DeleteFunc(p.chunks, func(c chunk) bool { return c.Hour < p.f.oldest() }), chunks...)
			p.unchunked = nil
			return
		}
		// The stream is away: the log takes them as well.
	}
	r.Seen = fingerprint.Encode(fresh)
}

func (p *Processor) writeChunks(entries []fingerprint.Entry) ([]chunk, error) {
	ctx, cancel := context.WithTimeout(p.owned, time.Second)
	defer cancel()
	var chunks []chunk
	for part := range slices.Chunk(slices.Clone(entries), p.chunkSize) {
		newest := part[0].Hour
		for _, e := range part {
			newest = max(newest, e.Hour)
		}
		ack, err := p.o.JS.Publish(ctx, p.o.Names.Seen(p.o.Partition), fingerprint.Encode(part))
		if err != nil {
			return nil, err
		}
		chunks = append(chunks, chunk{Seq: ack.Sequence, Hour: newest})
	}
	return chunks, nil
}

// wantedChunks are the chunks that the state names and that still count.
func (p *Processor) wantedChunks(ctx context.Context) (map[uint64]bool, error) {
	p.f.now = p.f.storedAt
	wanted := map[uint64]bool{}
	s, err := p.o.JS.Stream(ctx, p.o.Names.Stream(events.StreamSeen))
	if err != nil {
		return nil, err
	}
	first, expired, lost := s.CachedInfo().State.FirstSeq, 0, 0
	// The stream's time stands still while nobody uses the partition.
	needed := fingerprint.Hour(p.opt.Now().Add(-p.opt.Horizon))
	for _, c := range p.chunks {
		switch {
		case c.Hour < p.f.oldest():
		case c.Seq >= first:
			wanted[c.Seq] = true
		case c.Hour < needed:
			expired++
		default:
			lost++
		}
	}
	if lost > 0 {
		return nil, p.chunksAreGone(lost)
	}
	if expired > 0 {
		p.o.Log.Info("fingerprints_have_expired", "chunks", expired)
	}
	return wanted, nil
}

func (p *Processor) chunksAreGone(n int) error {
	return fmt.Errorf("%d chunks of the stream %s are gone before their time: was it purged?", n, p.o.Names.Stream(events.StreamSeen))
}

// loadChunks reads the chunks that the state names; others do not count.
func (p *Processor) loadChunks(ctx context.Context) error {
	wanted, err := p.wantedChunks(ctx)
	if err != nil || len(wanted) == 0 {
		return err
	}
	seqs := slices.Sorted(maps.Keys(wanted))
	first, last := seqs[0], seqs[len(seqs)-1]
	newest, err := stream.Newest(ctx, p.o.JS, p.o.Names, stream.Input{Stream: events.StreamSeen, Filter: p.o.Names.Seen(p.o.Partition)})
	if err != nil {
		return err
	}
	if newest < last { // reading would wait for it
		return p.chunksAreGone(len(wanted))
	}
	cons, err := p.o.JS.OrderedConsumer(ctx, p.o.Names.Stream(events.StreamSeen), jetstream.OrderedConsumerConfig{
		FilterSubjects: []string{p.o.Names.Seen(p.o.Partition)},
		DeliverPolicy:  jetstream.DeliverByStartSequencePolicy, OptStartSeq: first,
	})
	if err != nil {
		return err
	}
	it, err := cons.Messages(jetstream.PullMaxMessagesWithBytesLimit(1000, 16<<20))
	if err != nil {
		return err
	}
	defer it.Stop()
	for {
		m, err := it.Next(jetstream.NextContext(ctx))
		if err != nil {
			return err
		}
		md, err := m.Metadata()
		if err != nil {
			return err
		}
		if wanted[md.Sequence.Stream] {
			delete(wanted, md.Sequence.Stream)
			if err := fingerprint.Decode(m.Data(), func(e fingerprint.Entry) { p.f.seen.Add(e.FP, e.Hour) }); err != nil {
				return err
			}
		}
		if md.Sequence.Stream >= last {
			break
		}
	}
	if len(wanted) > 0 {
		return p.chunksAreGone(len(wanted))
	}
	return nil
}

// Snapshot implements stream.Processor.
func (p *Processor) Snapshot() ([]byte, error) {
	r, err := p.f.snapshot()
	if err != nil {
		return nil, err
	}
	r.Seen, r.Chunks = fingerprint.Encode(slices.Clone(p.unchunked)), p.chunks
	r.Documents, r.Flipped = p.saved.documents, p.saved.flipped
	return wire.Marshal(&r)
}
