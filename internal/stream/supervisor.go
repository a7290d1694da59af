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
)

// Supervisor owns partitions for a process: those that fall to it among the
// processes that are there. It takes the lease of each, runs its processor, and
// begins again after whatever ended it.
type Supervisor struct {
	env     Env
	wg      sync.WaitGroup
	members *members

	mu         sync.Mutex
	states     map[string]string // by <role>.<partition>; "" is owned and running
	partitions map[string]int    // by role
	observed   map[string]func(context.Context) Progress
	follow     sync.Once
}

// NewSupervisor returns a supervisor that owns nothing yet.
func NewSupervisor(env Env) *Supervisor {
	if env.LeaseTTL == 0 {
		env.LeaseTTL = DefaultLeaseTTL
	}
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

// Go runs the partition of spec whenever it falls to this process, until ctx is
// done, with a new processor for every ownership. A role's partitions are
// numbered from 0, and all of them must be given to Go.
func (s *Supervisor) Go(ctx context.Context, spec Spec, processor func() Processor) {
	key := spec.key()
	s.mu.Lock()
	s.states[key] = "starting"
	first := s.partitions[spec.Role] == 0
	s.partitions[spec.Role] = max(s.partitions[spec.Role], spec.Partition+1)
	s.mu.Unlock()
	s.follow.Do(func() { s.wg.Go(func() { s.members.follow(ctx, s.env) }) })
	if first {
		s.wg.Go(func() { s.attend(ctx, spec.Role) })
	}
	s.wg.Go(func() {
		for ctx.Err() == nil {
			if !s.untilMine(ctx, key, spec) {
				return
			}
			s.ownOnce(ctx, key, spec, processor)
		}
	})
}

func (s Spec) key() string { return fmt.Sprintf("%s.%d", s.Role, s.Partition) }

// ownOnce owns the partition until it ends, and waits a moment when that was
// not because it falls to another.
func (s *Supervisor) ownOnce(ctx context.Context, key string, spec Spec, processor func() Processor) {
	mine, cancel := context.WithCancel(ctx)
	defer cancel()
	go s.untilTheirs(mine, spec, cancel)
	err := s.own(mine, key, spec, processor())
	if ctx.Err() != nil {
		if err != nil && !errors.Is(err, context.Canceled) {
			s.env.Log.Warn("partition_stopped_uncleanly", "key", key, "error", err)
		}
		return
	}
	if mine.Err() != nil {
		s.set(key, standby)
		return
	}
	s.set(key, err.Error())
	wait := 200 * time.Millisecond
	if !IsStop(err) {
		wait = 2 * time.Second
		s.env.Log.Error("partition_failed", "key", key, "error", err)
	}
	select {
	case <-ctx.Done():
	case <-time.After(wait):
	}
}

// attend says for as long as ctx is not done that this process is there.
func (s *Supervisor) attend(ctx context.Context, role string) {
	for ctx.Err() == nil {
		kv, err := s.env.JS.KeyValue(ctx, s.env.Names.Bucket(events.BucketOwners))
		if err == nil {
			var l *Lease
			if l, err = Acquire(ctx, s.env.JS, kv, memberPrefix+role+"."+s.holder(), s.env.Holder, s.env.LeaseTTL); err == nil {
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
		case <-time.After(memberSettle):
		}
	}
}

// holder is this process in keys.
func (s *Supervisor) holder() string { return events.Token(s.env.Holder) }

func (s *Supervisor) owner(spec Spec) (holder string, changed <-chan struct{}) {
	list, changed := s.members.of(spec.Role)
	s.mu.Lock()
	n := s.partitions[spec.Role]
	s.mu.Unlock()
	return Assign(spec.Role, n, list)[spec.Partition], changed
}

// untilMine waits until the partition falls to this process; false when ctx is
// done.
func (s *Supervisor) untilMine(ctx context.Context, key string, spec Spec) bool {
	for {
		holder, changed := s.owner(spec)
		if holder == s.holder() {
			return true
		}
		if holder != "" {
			s.set(key, standby)
		}
		select {
		case <-ctx.Done():
			return false
		case <-changed:
		}
	}
}

// untilTheirs calls cancel once the partition has fallen to another for a
// while.
func (s *Supervisor) untilTheirs(ctx context.Context, spec Spec, cancel func()) {
	var settled <-chan time.Time
	for {
		holder, changed := s.owner(spec)
		switch {
		case holder == s.holder() || holder == "":
			settled = nil
		case settled == nil:
			settled = time.After(memberSettle)
		}
		select {
		case <-ctx.Done():
			return
		case <-changed:
		case <-settled:
			cancel()
			return
		}
	}
}

func (s *Supervisor) own(ctx context.Context, key string, spec Spec, p Processor) error {
	kv, err := s.env.JS.KeyValue(ctx, s.env.Names.Bucket(events.BucketOwners))
	if err != nil {
		return fmt.Errorf("leases: %w", err)
	}
	s.set(key, "waiting for the lease")
	lease, err := Acquire(ctx, s.env.JS, kv, key, s.env.Holder, s.env.LeaseTTL)
	if err != nil {
		return err
	}
	defer release(ctx, lease)
	s.set(key, "loading")
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

// standby is the state of a partition that another process owns.
const standby = "owned by another process"

// Ready is nil when every partition is owned and running here or, as far as is
// known, elsewhere; else the error names those that are not, and why.
func (s *Supervisor) Ready() error { return s.report(standby) }

// Owning is nil when every partition is owned and running here.
func (s *Supervisor) Owning() error { return s.report("") }

func (s *Supervisor) report(fine string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	var waiting []string
	for key, state := range s.states {
		if state != "" && state != fine {
			waiting = append(waiting, key+": "+state)
		}
	}
	if len(waiting) == 0 {
		return nil
	}
	slices.Sort(waiting)
	return errors.New(strings.Join(waiting, "; "))
}

// Wait returns when every partition has stopped, after the contexts given to
// Go are done.
func (s *Supervisor) Wait() { s.wg.Wait() }

// Owners are the holders of the leases, by <role>.<partition>.
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
		if !strings.HasPrefix(e.Key(), memberPrefix) {
			owners[e.Key()] = string(e.Value())
		}
	}
	return owners, ctx.Err()
}
