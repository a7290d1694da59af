package stream

import (
	"context"
	"slices"
	"time"
)

// Progress is how far the owner of a partition has come.
type Progress struct {
	Role      string
	Partition int
	Epoch     uint64
	Pending   uint64 // messages stored in its inputs and not yet handled
	// Lag is how much time the newest handled message lies back while others
	// wait behind it; 0 when none do.
	Lag time.Duration
}

func (r *run) progress(ctx context.Context) Progress {
	p := Progress{Role: r.Role, Partition: r.Partition, Epoch: r.log.Epoch(), Pending: uint64(r.inbox.len())}
	for _, rd := range r.readers {
		if info := rd.feed.info(ctx); info != nil {
			p.Pending += info.NumPending
		}
	}
	if at := r.handled.Load(); at != 0 && p.Pending > 0 {
		p.Lag = max(0, r.Now().Sub(time.Unix(0, at)))
	}
	return p
}

// Progress is that of every partition that this process owns, by role and
// partition.
func (s *Supervisor) Progress(ctx context.Context) []Progress {
	s.mu.Lock()
	var owned []func(context.Context) Progress
	for key, state := range s.states {
		if f := s.observed[key]; f != nil && state == "" {
			owned = append(owned, f)
		}
	}
	s.mu.Unlock()
	ps := make([]Progress, 0, len(owned))
	for _, f := range owned {
		ps = append(ps, f(ctx))
	}
	slices.SortFunc(ps, func(a, b Progress) int {
		if a.Role != b.Role {
			if a.Role < b.Role {
				return -1
			}
			return 1
		}
		return a.Partition - b.Partition
	})
	return ps
}
