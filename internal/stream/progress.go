package stream

import (
	"cmp"
	"context"
	"slices"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Progress is how far the owner of a partition has come.
type Progress struct {
	Role      string `json:"role"`
	Partition int    `json:"partition"`
	Holder    string `json:"holder"` // the process that owns it
	Epoch     uint64 `json:"epoch"`
	Pending   uint64 `json:"pending"` // messages stored in its inputs and not yet handled
	// Lag is the age of the oldest of them.
	Lag       time.Duration `json:"lag"`
	Documents *Documents    `json:"documents,omitempty"` // nil: the role is no Documenter
	// Horizon is how far back repetitions are found; nil: the role is no Deduplicator.
	Horizon *time.Duration `json:"horizon,omitempty"`
	Trouble Trouble        `json:"trouble,omitzero"` // of the role in the holder's process
}

// Documents counts the documents of a partition that are not written to the store
// yet.
type Documents struct {
	Collection string        `json:"collection"`
	Waiting    int           `json:"waiting"`
	Oldest     time.Duration `json:"oldest"` // how long the oldest has waited since this owner took over
}

// Documenter is a Processor that writes documents behind its commits.
type Documenter interface {
	// Documents is safe for concurrent use once Start has returned.
	Documents() Documents
}

// Deduplicator is a Processor that ignores repetitions.
type Deduplicator interface {
	// DuplicatesHorizon returns how long ago an event may have been stored so that
	// its repetition is surely found. It is safe for concurrent use.
	DuplicatesHorizon() time.Duration
}

// None is the request of a question that needs none.
type None struct{}

// ProgressOf asks how far the owner of a role's partition has come. It is
// answered also while the Processor waits for something.
func ProgressOf(role string) Question[None, Progress] {
	return Question[None, Progress]{Role: role, Kind: "progress"}
}

func (r *run) progress(ctx context.Context) Progress {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	p := Progress{Role: r.Role, Partition: r.Partition, Holder: r.Holder, Epoch: r.log.Epoch(), Trouble: r.ledger.role(r.Role).read()}
	for i, rd := range r.readers {
		pending, at := rd.pendingAfter(ctx, r.handled[i].Load())
		p.Pending += pending
		if !at.IsZero() {
			p.Lag = max(p.Lag, r.Now().Sub(at))
		}
	}
	if d, ok := r.proc.(Documenter); ok {
		docs := d.Documents()
		p.Documents = &docs
	}
	if d, ok := r.proc.(Deduplicator); ok {
		horizon := d.DuplicatesHorizon()
		p.Horizon = &horizon
	}
	return p
}

// pendingAfter returns how many messages lie after a sequence, and when the first
// of them was stored. It asks the stream, because the reader's consumer counts
// messages as delivered that are still in the inbox.
func (r *reader) pendingAfter(ctx context.Context, seq uint64) (n uint64, oldest time.Time) {
	newest, err := r.newest(ctx)
	if err != nil || newest <= seq {
		return 0, oldest
	}
	first := r.nextAfter(ctx, seq)
	if first == nil { // it has expired meanwhile, or no server answers
		return 0, oldest
	}
	cons, err := r.stream.CreateConsumer(ctx, jetstream.ConsumerConfig{
		FilterSubjects: r.filters, DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: first.Sequence,
		AckPolicy: jetstream.AckNonePolicy, MemoryStorage: true, Replicas: 1, InactiveThreshold: 5 * time.Second,
	})
	if err != nil {
		return 1, first.Time
	}
	info := cons.CachedInfo()
	_ = r.stream.DeleteConsumer(ctx, info.Name) // otherwise it expires
	return info.NumPending, first.Time
}

// nextAfter returns the first message after a sequence, or nil.
func (r *reader) nextAfter(ctx context.Context, seq uint64) (first *jetstream.RawStreamMsg) {
	for _, filter := range r.filters {
		m, err := r.stream.GetMsg(ctx, seq+1, jetstream.WithGetMsgSubject(filter))
		if err == nil && (first == nil || m.Sequence < first.Sequence) {
			first = m
		}
	}
	return first
}

// Progress returns the progress of every partition that this process owns,
// ordered by role and partition.
func (s *Supervisor) Progress(ctx context.Context) []Progress {
	s.mu.Lock()
	var owned []func(context.Context) Progress
	for key, state := range s.states {
		if f := s.observed[key]; f != nil && state == "" {
			owned = append(owned, f)
		}
	}
	s.mu.Unlock()
	ps := make([]Progress, len(owned))
	var wg sync.WaitGroup
	for i, f := range owned {
		wg.Go(func() { ps[i] = f(ctx) })
	}
	wg.Wait()
	slices.SortFunc(ps, func(a, b Progress) int {
		return cmp.Or(cmp.Compare(a.Role, b.Role), cmp.Compare(a.Partition, b.Partition))
	})
	return ps
}
