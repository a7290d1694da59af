package stream

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/guard"
)

// The states of a partition that is not owned and running here.
const (
	stateStarting = "starting"
	stateStandby  = "owned by another process"
	stateWaiting  = "waiting for the lease"
	stateLoading  = "loading"
)

// Supervisor owns the partitions that are assigned to this process among all
// processes that are there. It takes the lease of each, runs the Processor, and
// starts again when an ownership ends. It is safe for concurrent use.
type Supervisor struct {
	env     Env
	wg      sync.WaitGroup
	members *members

	mu         sync.Mutex
	states     map[string]string // by <role>.<partition>; "": owned and running
	partitions map[string]int    // by role
	observed   map[string]func(context.Context) Progress
	follow     sync.Once
}

// NewSupervisor returns a supervisor that owns nothing yet.
func NewSupervisor(env Env) *Supervisor {
	if env.LeaseTTL == 0 {
		env.LeaseTTL = DefaultLeaseTTL
	}
	env.ledger = newLedger()
	s := &Supervisor{states: map[string]string{}, partitions: map[string]int{}, members: newMembers(),
		observed: map[string]func(context.Context) Progress{}}
	env.Observe = func(spec Spec, f func(context.Context) Progress) {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.observed[spec.key()] = f
	}
	s.env = env
	return s
}

// Go runs the partition of spec whenever it is assigned to this process, until
// ctx is done. It calls processor for each ownership. The partitions of a role
// are numbered from 0, and all of them must be given to Go.
func (s *Supervisor) Go(ctx context.Context, spec Spec, processor func() Processor) {
	key := spec.key()
	s.mu.Lock()
	s.states[key] = stateStarting
	first := s.partitions[spec.Role] == 0
	s.partitions[spec.Role] = max(s.partitions[spec.Role], spec.Partition+1)
	s.mu.Unlock()
	s.follow.Do(func() { s.wg.Go(func() { s.members.follow(ctx, s.env) }) })
	if first {
		s.wg.Go(func() { s.announce(ctx, spec.Role) })
	}
	s.wg.Go(func() {
		failures := 0 // in a row, without one that got further
		for ctx.Err() == nil {
			if !s.waitForAssignment(ctx, key, spec) {
				return
			}
			failures = s.ownOnce(ctx, key, spec, processor, failures)
		}
	})
}

func (s Spec) key() string { return fmt.Sprintf("%s.%d", s.Role, s.Partition) }

// The bounds of the pause after failures in a row.
const (
	minFailurePause = 2 * time.Second
	maxFailurePause = time.Minute
)

// ownOnce owns the partition until the ownership ends. Unless the partition was
// assigned to another process, it then waits a moment: the longer, the more failures
// there were in a row. It returns their number.
func (s *Supervisor) ownOnce(ctx context.Context, key string, spec Spec, processor func() Processor, failures int) int {
	assigned, cancel := context.WithCancel(ctx)
	defer cancel()
	go s.cancelWhenReassigned(assigned, spec, cancel)
	began := time.Now()
	err := guard.Do(func() error { return s.own(assigned, key, spec, processor()) })
	if ctx.Err() != nil {
		if err != nil && !errors.Is(err, context.Canceled) {
			s.env.Log.Warn("partition_stopped_uncleanly", "key", key, "error", err)
		}
		return 0
	}
	if assigned.Err() != nil {
		s.set(key, stateStandby)
		return 0
	}
	s.set(key, err.Error())
	wait := s.pauseAfter(err, &failures, time.Since(began))
	if wait >= minFailurePause {
		s.env.Log.Error("partition_failed", "key", key, "error", err)
	}
	select {
	case <-ctx.Done():
	case <-time.After(wait):
	}
	return failures
}

// pauseAfter returns how long to wait after an ownership that ended with err, and
// counts failures.
func (s *Supervisor) pauseAfter(err error, failures *int, lasted time.Duration) time.Duration {
	var f *failure
	switch {
	case IsStop(err):
		return 200 * time.Millisecond
	case errors.Is(err, ErrSetBack), errors.As(err, &f) && f.noted: // the next owner gets further
		*failures = 0
		return 0
	case lasted > maxFailurePause:
		*failures = 0
	}
	*failures++
	if guard.As(err) == nil && f == nil && !errors.Is(err, ErrLogLost) { // such as a server that is away
		return minFailurePause
	}
	return min(minFailurePause<<min(*failures-1, 10), maxFailurePause)
}

// announce makes this process a member of the role until ctx is done.
func (s *Supervisor) announce(ctx context.Context, role string) {
	for ctx.Err() == nil {
		kv, err := s.env.JS.KeyValue(ctx, s.env.Names.Bucket(events.BucketOwners))
		if err == nil {
			var l *Lease
			if l, err = Acquire(ctx, s.env.JS, kv, memberPrefix+role+"."+s.member(), s.env.Holder, s.env.LeaseTTL); err == nil {
				select {
				case <-ctx.Done():
				case <-l.Lost():
				}
				release(ctx, l)
				continue
			}
		}
		select {
		case <-ctx.Done():
		case <-time.After(handoverDelay):
		}
	}
}

// member returns the name of this process among the members.
func (s *Supervisor) member() string { return events.Token(s.env.Holder) }

// assigned returns the member to which the partition is assigned, "" when none is
// known, and a channel that is closed when that may have changed.
func (s *Supervisor) assigned(spec Spec) (member string, changed <-chan struct{}) {
	list, changed := s.members.of(spec.Role)
	s.mu.Lock()
	n := s.partitions[spec.Role]
	s.mu.Unlock()
	return Assign(spec.Role, n, list)[spec.Partition], changed
}

// waitForAssignment waits until the partition is assigned to this process. It
// returns false when ctx is done.
func (s *Supervisor) waitForAssignment(ctx context.Context, key string, spec Spec) bool {
	for {
		member, changed := s.assigned(spec)
		if member == s.member() {
			return true
		}
		if member != "" {
			s.set(key, stateStandby)
		}
		select {
		case <-ctx.Done():
			return false
		case <-changed:
		}
	}
}

// cancelWhenReassigned calls cancel when the partition has been assigned to
// another process for handoverDelay.
func (s *Supervisor) cancelWhenReassigned(ctx context.Context, spec Spec, cancel func()) {
	var due <-chan time.Time
	for {
		member, changed := s.assigned(spec)
		switch {
		case member == s.member() || member == "":
			due = nil
		case due == nil:
			due = time.After(handoverDelay)
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
		case <-due:
			cancel()
			return
		}
	}
}

// own takes the lease and runs the partition.
func (s *Supervisor) own(ctx context.Context, key string, spec Spec, p Processor) error {
	kv, err := s.env.JS.KeyValue(ctx, s.env.Names.Bucket(events.BucketOwners))
	if err != nil {
		return fmt.Errorf("leases: %w", err)
	}
	s.set(key, stateWaiting)
	lease, err := Acquire(ctx, s.env.JS, kv, key, s.env.Holder, s.env.LeaseTTL)
	if err != nil {
		return err
	}
	defer release(ctx, lease)
	s.set(key, stateLoading)
	err = Run(ctx, s.env, spec, p, lease.Lost(), func() { s.set(key, "") })
	if err == nil && ctx.Err() == nil {
		err = errors.New("stopped without a reason")
	}
	return err
}

func release(ctx context.Context, l *Lease) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
	defer cancel()
	l.Release(ctx)
}

func (s *Supervisor) set(key, state string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.states[key] = state
}

// Ready returns nil when every partition is owned and running here or, as far as
// this process knows, elsewhere. Otherwise the error names the other partitions
// and why they are not.
func (s *Supervisor) Ready() error { return s.check(stateStandby) }

// Owning returns nil when every partition is owned and running here, otherwise an
// error like Ready's.
func (s *Supervisor) Owning() error { return s.check("") }

// check returns an error that names the partitions which neither run here nor are
// in the state fine.
func (s *Supervisor) check(fine string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var others []string
	for key, state := range s.states {
		if state != "" && state != fine {
			others = append(others, key+": "+state)
		}
	}
	if len(others) == 0 {
		return nil
	}
	slices.Sort(others)
	return errors.New(strings.Join(others, "; "))
}

// Wait waits until every partition has stopped. The contexts given to Go must be
// done, or become so.
func (s *Supervisor) Wait() { s.wg.Wait() }

// Owners returns the holders of the leases, by <role>.<partition>.
func Owners(ctx context.Context, js jetstream.JetStream, n events.Names) (map[string]string, error) {
	kv, err := js.KeyValue(ctx, n.Bucket(events.BucketOwners))
	if err != nil {
		return nil, err
	}
	w, err := kv.WatchAll(ctx, jetstream.IgnoreDeletes())
	if err != nil {
		return nil, err
	}
	defer func() { _ = w.Stop() }()
	owners := map[string]string{}
	for e := range w.Updates() {
		if e == nil {
			return owners, nil
		}
		if !strings.HasPrefix(e.Key(), memberPrefix) && !strings.HasPrefix(e.Key(), markPrefix) {
			owners[e.Key()] = string(e.Value())
		}
	}
	return owners, ctx.Err()
}
