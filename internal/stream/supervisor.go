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

// Supervisor owns partitions for a process: it takes the lease of each, runs
// its processor, and begins again after whatever ended it.
type Supervisor struct {
	env Env
	wg  sync.WaitGroup

	mu     sync.Mutex
	states map[string]string // by <role>.<partition>; "" is owned and running
}

// NewSupervisor returns a supervisor that owns nothing yet.
func NewSupervisor(env Env) *Supervisor {
	if env.LeaseTTL == 0 {
		env.LeaseTTL = DefaultLeaseTTL
	}
	return &Supervisor{env: env, states: map[string]string{}}
}

// Go owns the partition of spec until ctx is done, with a new processor for
// every ownership.
func (s *Supervisor) Go(ctx context.Context, spec Spec, processor func() Processor) {
	key := fmt.Sprintf("%s.%d", spec.Role, spec.Partition)
	s.set(key, "starting")
	s.wg.Go(func() {
		for {
			err := s.own(ctx, key, spec, processor())
			if ctx.Err() != nil {
				if err != nil {
					s.env.Log.Warn("partition_stopped_uncleanly", "key", key, "error", err)
				}
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
				return
			case <-time.After(wait):
			}
		}
	})
}

func (s *Supervisor) own(ctx context.Context, key string, spec Spec, p Processor) error {
	kv, err := s.env.JS.KeyValue(ctx, s.env.Names.Bucket(events.BucketOwners))
	if err != nil {
		return fmt.Errorf("leases: %w", err)
	}
	s.set(key, standby)
	lease, err := Acquire(ctx, s.env.JS, kv, key, s.env.Holder, s.env.LeaseTTL)
	if err != nil {
		return err
	}
	defer func() {
		release, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Second)
		defer cancel()
		lease.Release(release)
	}()
	s.set(key, "loading")
	err = Run(ctx, s.env, spec, p, lease.Lost(), func() { s.set(key, "") })
	if err == nil && ctx.Err() == nil {
		err = errors.New("stopped without a reason")
	}
	return err
}

func (s *Supervisor) set(key, state string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.states[key] = state
}

// standby is the state of a partition that another process owns.
const standby = "waiting for the lease"

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
		owners[e.Key()] = string(e.Value())
	}
	return owners, ctx.Err()
}
