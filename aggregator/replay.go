package aggregator

import (
	"bytes"
	"cmp"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/fingerprint"
	"github.com/tidegate-io/tidegate/internal/gate"
	"github.com/tidegate-io/tidegate/internal/guard"
	"github.com/tidegate-io/tidegate/internal/records"
	"github.com/tidegate-io/tidegate/internal/stream"
)

// Replay folds the stream USAGE again. It does not own the partitions and changes
// nothing, so it can run beside their owners.
type Replay struct {
	JS         jetstream.JetStream
	Names      events.Names
	Partitions int
	Horizon    time.Duration
	// Catalog, if not nil, replaces the configurations that were in force. The
	// result is what the windows would be with it.
	Catalog *gate.Catalog
	// Wanted, if not nil, selects customers and features.
	Wanted func(customer, feature string) bool
	Now    time.Time // for totals of rolling windows
}

// Difference is a window that differs between the owner's state and the replay.
type Difference struct {
	Customer string          `json:"customer"`
	Feature  string          `json:"feature"`
	Start    time.Time       `json:"window_start"`
	Live     *records.Window `json:"live"`     // nil: missing
	Replayed *records.Window `json:"replayed"` // nil: not in the stream
}

// Result is the result of verifying one partition.
type Result struct {
	Partition   int          `json:"partition"`
	Position    uint64       `json:"position"` // in USAGE, of the live state's last commit
	Messages    int          `json:"messages"`
	Windows     int          `json:"windows"`
	Differences []Difference `json:"differences"`
}

// Verify compares the windows of a partition as of the owner's last commit with
// those of a replay up to the same position: every byte of every window.
func (r *Replay) Verify(ctx context.Context, partition int) (Result, error) {
	newest, err := stream.Newest(ctx, r.JS, r.Names, Spec(r.Names, partition).Inputs[0])
	if err != nil {
		return Result{Partition: partition}, err
	}
	live, err := r.committed(ctx, partition, func(live committed) bool {
		return newest == 0 || live.position >= newest
	})
	if err != nil || live.position == 0 {
		return Result{Partition: partition}, err
	}
	res := Result{Partition: partition, Position: live.position}
	replayed, n, err := r.derive(ctx, partition, live, live.position)
	if err != nil {
		return res, err
	}
	res.Messages = n
	r.compare(&res, live, replayed)
	return res, nil
}

// committed is what the log of a partition says.
type committed struct {
	*Processor                  // as of the last commit
	position   uint64           // of that commit; 0: there is none
	dead       stream.DeadParts // what the owner has left out
	shifted    bool             // messages had other numbers for the owner: the stream lost some, or was restored
}

// committed returns the state as of the last commit. If enough returns false for
// it, committed waits for further commits, which an owner makes about once a
// second. After three seconds it returns what there is, because there may be no owner.
func (r *Replay) committed(ctx context.Context, partition int, enough func(committed) bool) (committed, error) {
	live, err := r.live(ctx, partition)
	for attempts := 10; err == nil && attempts > 0 && !enough(live); attempts-- {
		select {
		case <-ctx.Done():
			return live, ctx.Err()
		case <-time.After(300 * time.Millisecond):
			live, err = r.live(ctx, partition)
		}
	}
	return live, err
}

// live returns the state as of the last commit.
func (r *Replay) live(ctx context.Context, partition int) (c committed, err error) {
	c.Processor = New(Options{Partitions: r.Partitions, Horizon: r.Horizon}, partition)
	positions, dead, err := stream.ReadLog(ctx, r.JS, r.Names, stream.RoleAggregator, partition, c.Processor)
	if len(positions) > 0 {
		c.position, c.shifted = positions[0].Seq, positions[0].Shift > 0
	}
	c.dead = dead
	return c, err
}

// Windows returns the windows of a partition as of the end of the stream.
func (r *Replay) Windows(ctx context.Context, partition int) ([]records.Window, error) {
	newest, err := stream.Newest(ctx, r.JS, r.Names, Spec(r.Names, partition).Inputs[0])
	if err != nil {
		return nil, err
	}
	live, err := r.committed(ctx, partition, func(live committed) bool {
		return newest == 0 || live.f.hasBase // the first commit contains the base
	})
	if err != nil || !live.f.hasBase {
		return nil, err
	}
	s, _, err := r.derive(ctx, partition, live, ^uint64(0))
	if err != nil {
		return nil, err
	}
	var ws []records.Window
	for _, c := range s.sortedCustomers() {
		for _, u := range c.sortedWindows(nil) {
			if r.wanted(c.id(), u.feature.name) {
				ws = append(ws, r.window(s, c, u, partition))
			}
		}
	}
	return ws, nil
}

func (r *Replay) wanted(customer, feature string) bool {
	return r.Wanted == nil || r.Wanted(customer, feature)
}

// derive folds the stream up to the message last, beginning with the base of the
// live state. It returns the state and the number of messages.
func (r *Replay) derive(ctx context.Context, partition int, live committed, last uint64) (*state, int, error) {
	s := newState()
	s.base, s.hasBase = live.f.base, true
	if r.Catalog != nil {
		s.base = *r.Catalog
	}
	s.setCatalog(s.base)
	f := folder{state: s, partition: partition, partitions: r.Partitions, horizon: r.Horizon, fixedCatalog: r.Catalog != nil,
		onChange: func(*customer, *usage) {}, emitNow: func(*customer, *usage) {}, reject: ignoreReject, onCounted: func(fingerprint.Entry) {}}
	n := 0
	fold := live.dead.LeaveOut(func(m *stream.Message) error {
		n++
		if err := guard.Do(func() error { return f.fold(m) }); err != nil {
			return fmt.Errorf("message %d of %s: %w", m.Seq, events.StreamUsage, err)
		}
		return nil
	})
	err := stream.Read(ctx, r.JS, r.Names, Spec(r.Names, partition).Inputs[0], last, fold)
	return s, n, err
}

// ignoreReject is the rejectFunc of a replay: the owner has written the dead
// letters.
func ignoreReject(*stream.Message, int, []byte, error) error { return nil }

// compare adds the differences between the two states to res.
func (r *Replay) compare(res *Result, of committed, replayed *state) {
	live := of.f.state
	for _, c := range replayed.sortedCustomers() {
		other := live.customers.find(c.id())
		for _, u := range c.sortedWindows(nil) {
			if u.closed || !r.wanted(c.id(), u.feature.name) {
				continue // the owner removes closed windows once their documents are written
			}
			res.Windows++
			var l *usage
			if other != nil {
				l = other.find(live.feature(u.feature.name), u.start)
			}
			if l == nil || !sameWindow(c, l, u, of.shifted) {
				res.Differences = append(res.Differences, r.difference(live, other, l, replayed, c, u, res.Partition))
			}
		}
	}
	for _, c := range live.sortedCustomers() {
		for _, u := range c.sortedWindows(nil) {
			rc := replayed.customers.find(c.id())
			if !u.closed && r.wanted(c.id(), u.feature.name) && (rc == nil || rc.find(replayed.feature(u.feature.name), u.start) == nil) {
				res.Differences = append(res.Differences, r.difference(live, c, u, replayed, nil, nil, res.Partition))
			}
		}
	}
}

// sameWindow reports whether a window is the same in the owner's state and in the replayed one.
func sameWindow(c *customer, live, replayed *usage, shifted bool) bool {
	l := *live
	if shifted {
		l.seq = replayed.seq
	}
	return bytes.Equal(l.append(nil, c, true), replayed.append(nil, c, true))
}

// sortedCustomers returns the customers by id.
func (s *state) sortedCustomers() []*customer {
	cs := slices.Collect(s.customers.all)
	slices.SortFunc(cs, func(a, b *customer) int { return cmp.Compare(a.id(), b.id()) })
	return cs
}

func (r *Replay) difference(live *state, lc *customer, l *usage, replayed *state, rc *customer, u *usage, partition int) Difference {
	var d Difference
	if l != nil {
		w := r.window(live, lc, l, partition)
		d.Live, d.Customer, d.Feature, d.Start = &w, w.Customer, w.Feature, w.Start
	}
	if u != nil {
		w := r.window(replayed, rc, u, partition)
		d.Replayed, d.Customer, d.Feature, d.Start = &w, w.Customer, w.Feature, w.Start
	}
	return d
}

func (r *Replay) window(s *state, c *customer, u *usage, partition int) records.Window {
	return s.window(c, u, partition, r.Now)
}
