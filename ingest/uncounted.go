package ingest

import (
	"context"
	"fmt"
	"net/http"
	"sync/atomic"
	"time"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/stream"
)

// uncounted knows since when nobody counts a partition. It asks owners while usage
// comes, so what it knows is some seconds old. It is safe for concurrent use.
type uncounted struct {
	asker  stream.Asker
	now    func() time.Duration // a clock that never goes back
	next   atomic.Int64         // when to ask again
	asking atomic.Bool
	any    atomic.Bool    // some partition is not counted
	silent []atomic.Int64 // by partition: since when; 0: it is counted
}

// askOwnersEvery is how often owners are asked whether they are there.
const askOwnersEvery = 5 * time.Second

func newUncounted(asker stream.Asker, partitions int, now func() time.Duration) *uncounted {
	return &uncounted{asker: asker, now: now, silent: make([]atomic.Int64, partitions)}
}

// refuse returns an answer for usage of a partition that nobody has counted for longer
// than after; 0: never.
func (u *uncounted) refuse(list []events.Event, after time.Duration) error {
	if after == 0 {
		return nil
	}
	now := u.now()
	if int64(now) >= u.next.Load() && u.asking.CompareAndSwap(false, true) {
		go u.ask()
	}
	if !u.any.Load() {
		return nil
	}
	for i := range list {
		p := events.PartitionOf(list[i].Subject, len(u.silent))
		if since := time.Duration(u.silent[p].Load()); since > 0 && now-since >= after {
			return &problem{Status: http.StatusServiceUnavailable, Retry: 30,
				Detail: fmt.Sprintf("nobody has counted partition %d for %v: see what `tidegate doctor` says, and send it again with the same ids", p, (now - since).Round(time.Second))}
		}
	}
	return nil
}

func (u *uncounted) ask() {
	defer u.asking.Store(false)
	ctx, cancel := context.WithTimeout(context.Background(), ownerTimeout)
	defer cancel()
	found := false
	for _, a := range stream.ProgressOf(stream.RoleAggregator).AskAll(ctx, u.asker, len(u.silent), stream.None{}) {
		if a.Err == nil {
			u.silent[a.Partition].Store(0)
			continue
		}
		found = true
		u.silent[a.Partition].CompareAndSwap(0, int64(max(u.now(), 1)))
	}
	u.any.Store(found)
	u.next.Store(int64(u.now() + askOwnersEvery))
}
