package aggregator

import (
	"bytes"
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/fingerprint"
	"github.com/tidegate-io/tidegate/internal/gate"
	"github.com/tidegate-io/tidegate/internal/records"
	"github.com/tidegate-io/tidegate/internal/stream"
)

// Replay derives windows anew from the stream USAGE, beside whoever owns the
// partitions, and changes nothing.
type Replay struct {
	JS         jetstream.JetStream
	Names      events.Names
	Partitions int
	Horizon    time.Duration
	// Catalog, when set, is used instead of the configurations that were in
	// force: what the windows would be.
	Catalog *gate.Catalog
	// Wanted, when set, says which customers and features are looked at.
	Wanted func(customer, feature string) bool
	Now    time.Time // for totals of rolling windows
}

// Difference is a window whose live state is not what the stream says.
type Difference struct {
	Customer string          `json:"customer"`
	Feature  string          `json:"feature"`
	Start    time.Time       `json:"window_start"`
	Live     *records.Window `json:"live"`     // nil: missing
	Replayed *records.Window `json:"replayed"` // nil: not in the stream
}

// Result is what a replay of one partition found.
type Result struct {
	Partition   int          `json:"partition"`
	Position    uint64       `json:"position"` // in USAGE, of the live state's last commit
	Messages    int          `json:"messages"`
	Windows     int          `json:"windows"`
	Differences []Difference `json:"differences"`
}

// Verify compares the live windows of a partition, as of its last commit, with
// what the stream gives up to there: every byte of every window.
func (r *Replay) Verify(ctx context.Context, partition int) (Result, error) {
	newest, err := stream.Newest(ctx, r.JS, r.Names, Spec(r.Names, partition).Inputs[0])
	if err != nil {
		return Result{Partition: partition}, err
	}
	live, positions, err := r.committed(ctx, partition, func(_ *Processor, ps []stream.Position) bool {
		return newest == 0 || len(ps) > 0 && ps[0].Seq >= newest
	})
	if err != nil || len(positions) == 0 {
		return Result{Partition: partition}, err
	}
	res := Result{Partition: partition, Position: positions[0].Seq}
	replayed, n, err := r.derive(ctx, partition, live.f.state, positions[0].Seq)
	if err != nil {
		return res, err
	}
	res.Messages = n
	r.compare(&res, live.f.state, replayed)
	return res, nil
}

// committed is the state as of the last commit. Commits follow about once a
// second: what is not enough yet is waited for, unless nobody is there to
// commit it.
func (r *Replay) committed(ctx context.Context, partition int, enough func(*Processor, []stream.Position) bool) (*Processor, []stream.Position, error) {
	live, positions, err := r.live(ctx, partition)
	for patience := 10; err == nil && patience > 0 && !enough(live, positions); patience-- {
		select {
		case <-ctx.Done():
			return nil, nil, ctx.Err()
		case <-time.After(300 * time.Millisecond):
			live, positions, err = r.live(ctx, partition)
		}
	}
	return live, positions, err
}

// live is the state as of the last commit.
func (r *Replay) live(ctx context.Context, partition int) (*Processor, []stream.Position, error) {
	live := New(Options{Partitions: r.Partitions, Horizon: r.Horizon}, partition)
	positions, err := stream.ReadLog(ctx, r.JS, r.Names, stream.RoleAggregator, partition, live)
	return live, positions, err
}

// Windows derives the windows of a partition up to the end of the stream.
func (r *Replay) Windows(ctx context.Context, partition int) ([]records.Window, error) {
	newest, err := stream.Newest(ctx, r.JS, r.Names, Spec(r.Names, partition).Inputs[0])
	if err != nil {
		return nil, err
	}
	live, _, err := r.committed(ctx, partition, func(live *Processor, _ []stream.Position) bool {
		return newest == 0 || live.f.hasBase // the configuration to begin with is in the first commit
	})
	if err != nil || !live.f.hasBase {
		return nil, err
	}
	s, _, err := r.derive(ctx, partition, live.f.state, ^uint64(0))
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

// derive folds the stream from its beginning on the base of the live state.
func (r *Replay) derive(ctx context.Context, partition int, live *state, last uint64) (*state, int, error) {
	s := newState()
	s.base, s.hasBase = live.base, true
	if r.Catalog != nil {
		s.base = *r.Catalog
	}
	s.setCatalog(s.base)
	f := folder{state: s, partition: partition, partitions: r.Partitions, horizon: r.Horizon, fixed: r.Catalog != nil,
		touched: func(*customer, *usage) {}, tell: func(*customer, *usage) {}, reject: ignore, counted: func(fingerprint.Entry) {}}
	n := 0
	err := stream.Read(ctx, r.JS, r.Names, Spec(r.Names, partition).Inputs[0], last, func(m *stream.Message) error {
		n++
		return f.fold(m)
	})
	return s, n, err
}

// ignore is a rejecter: the live fold has written the dead letters.
func ignore(*stream.Message, int, []byte, error) error { return nil }

func (r *Replay) compare(res *Result, live, replayed *state) {
	for _, c := range replayed.sortedCustomers() {
		other := live.customers.find(c.id())
		for _, u := range c.sortedWindows(nil) {
			if u.closed || !r.wanted(c.id(), u.feature.name) {
				continue // closed ones leave the live state once they are written
			}
			res.Windows++
			var l *usage
			if other != nil {
				l = other.find(live.feature(u.feature.name), u.start)
			}
			if l == nil || !bytes.Equal(l.append(nil, c, true), u.append(nil, c, true)) {
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

// sortedCustomers are in an order for people.
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
