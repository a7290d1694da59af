package ingest

import (
	"context"
	"errors"
	"hash/maphash"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/limit"
	"github.com/tidegate-io/tidegate/internal/questions"
	"github.com/tidegate-io/tidegate/internal/stream"
)

// newcomers bounds how many customers a key brings that Tidegate did not know. Only the
// owners of partitions know whom Tidegate knows, and to ask them about every event
// would cost more than the event. So it asks them once a second how many customers
// there are. Only while these become many does it look at each event: it asks the
// owners about customers that it has not asked about before, and counts the unknown
// ones for the key that brought them.
type newcomers struct {
	bounds     *bounds
	question   stream.Question[[]string, questions.Customers]
	asker      stream.Asker
	partitions int
	log        *slog.Logger

	growth  limit.Bucket // new customers of all keys
	polled  atomic.Int64 // when, on the clock of bounds
	polling atomic.Bool
	totals  []int // by partition, -1: not known; only for the one who polls

	seed   maphash.Seed
	places int
	seen   atomic.Pointer[[]atomic.Uint64] // hashes of customers not to ask about; nil: nothing is watched
}

const (
	pollEvery = time.Second
	// alwaysWatched is the bound below which every event is looked at.
	alwaysWatched = 10_000
	// calm is the part of a key's bound that all keys together may reach before events
	// are looked at.
	calm = 10

	userPlaces    = 1 << 20 // customers that are remembered while it watches, 8 bytes each
	profilePlaces = 1 << 16

	maxAsked      = 1000 // customers in one question
	maxAskedBytes = 64 << 10
	// newcomerRetry is when one should try again who brought too many.
	newcomerRetry = 30 * time.Second
)

func (s *Server) newNewcomers(b *bounds, q stream.Question[[]string, questions.Customers], places int) *newcomers {
	n := &newcomers{bounds: b, question: q, asker: stream.Asker{NC: s.NC, Names: s.Names}, partitions: s.Partitions, log: s.Log,
		totals: make([]int, s.Partitions), seed: maphash.MakeSeed(), places: places}
	for p := range n.totals {
		n.totals[p] = -1
	}
	n.polled.Store(int64(-pollEvery))
	return n
}

// watching reports whether customers have to be looked at now.
func (n *newcomers) watching(most int) bool {
	if most == 0 {
		return false
	}
	now, rate := n.bounds.since(), newcomerRate(most)
	if most < alwaysWatched {
		return true
	}
	if now-time.Duration(n.polled.Load()) >= pollEvery && n.polling.CompareAndSwap(false, true) {
		n.polled.Store(int64(now))
		go n.poll(rate)
	}
	if n.growth.Content(now, rate) >= most/calm {
		return true
	}
	if n.seen.Load() != nil {
		n.seen.Store(nil)
	}
	return false
}

func newcomerRate(most int) limit.Rate { return limit.Per(most, time.Hour, time.Hour) }

// poll asks how many customers there are, and adds those that have come since.
func (n *newcomers) poll(rate limit.Rate) {
	defer n.polling.Store(false)
	ctx, cancel := context.WithTimeout(context.Background(), ownerTimeout)
	defer cancel()
	for _, a := range n.question.AskAll(ctx, n.asker, n.partitions, []string{}) {
		if a.Err != nil {
			continue
		}
		if was := n.totals[a.Partition]; was >= 0 && a.Answer.Total > was {
			n.growth.Add(n.bounds.since(), a.Answer.Total-was, rate)
		}
		n.totals[a.Partition] = a.Answer.Total
	}
}

// remembered returns the places of customers that need not be asked about.
func (n *newcomers) remembered() []atomic.Uint64 {
	if seen := n.seen.Load(); seen != nil {
		return *seen
	}
	fresh := make([]atomic.Uint64, n.places)
	if n.seen.CompareAndSwap(nil, &fresh) {
		return fresh
	}
	if seen := n.seen.Load(); seen != nil {
		return *seen
	}
	return fresh
}

// refuse returns those of the customers, which may repeat themselves, that are new and
// more than the key may bring. It fills bucket with the new ones that it lets pass.
// Where an owner gives no answer, all pass: usage must not wait for it.
func (n *newcomers) refuse(ctx context.Context, bucket *limit.Bucket, most int, customers func(yield func(string) bool)) map[string]bool {
	seen := n.remembered()
	place := func(id string) (*atomic.Uint64, uint64) {
		h := maphash.String(n.seed, id) | 1 // 0 is an empty place
		return &seen[h>>1%uint64(len(seen))], h
	}
	asked := map[string]bool{}
	byPartition := map[int][]string{}
	for id := range customers {
		if at, h := place(id); at.Load() == h || asked[id] {
			continue
		}
		asked[id] = true
		p := events.PartitionOf(id, n.partitions)
		byPartition[p] = append(byPartition[p], id)
	}
	if len(asked) == 0 {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, ownerTimeout)
	defer cancel()
	var (
		wg      sync.WaitGroup
		mu      sync.Mutex
		refused map[string]bool
	)
	for p, ids := range byPartition {
		for len(ids) > 0 {
			part := ids[:askable(ids)]
			ids = ids[len(part):]
			wg.Go(func() {
				answer, err := n.question.Ask(ctx, n.asker, p, part)
				if err != nil {
					n.notAsked(err)
					return
				}
				mu.Lock()
				defer mu.Unlock()
				unknown := answer.Unknown
				for i, id := range part {
					if len(unknown) > 0 && unknown[0] == i {
						unknown = unknown[1:]
						if bucket.Take(n.bounds.since(), 1, newcomerRate(most)) > 0 {
							if refused == nil {
								refused = map[string]bool{}
							}
							refused[id] = true
							continue
						}
					}
					at, h := place(id)
					at.Store(h)
				}
			})
		}
	}
	wg.Wait()
	return refused
}

// askable returns how many of the customers fit into one question.
func askable(ids []string) int {
	size := 0
	for i, id := range ids {
		if size += len(id); i > 0 && (i == maxAsked || size > maxAskedBytes) {
			return i
		}
	}
	return len(ids)
}

func (n *newcomers) notAsked(err error) {
	if !errors.Is(err, context.Canceled) {
		n.log.Debug("owner did not say which customers are new, so all pass", slog.Any("error", err))
	}
}
