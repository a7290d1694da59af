package enforcer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/guard"
	"github.com/tidegate-io/tidegate/internal/records"
)

// The decisions bucket can be set back to an older copy, purged, deleted or edited. The
// state knows what has to be in it. So an owner compares both as a whole, at once and
// from time to time, and puts again what differs. Between that it looks whether its fence
// stands, which no loss of the bucket's beginning or end leaves in place, and whether keys
// are missing: their number never falls, as a deleted key leaves a marker.

// Defaults of Options.CompareEvery and Options.ProbeEvery.
const (
	compareEvery = 5 * time.Minute
	probeEvery   = 10 * time.Second
	readTimeout  = time.Minute
)

// copied is what the bucket had of the partition at a moment.
type copied struct {
	settled int64             // greatest position that was acknowledged before it was read
	listed  int64             // when the gates were published that were acknowledged before
	values  map[string][]byte // by key
	gates   []byte
	foreign []string // keys that are none of Tidegate's; only in that of partition 0
}

// mirror compares the bucket with the state. Its goroutine reads; the Processor's own
// repairs.
type mirror struct {
	settled atomic.Int64 // greatest position of a decision that is acknowledged
	newest  atomic.Uint64
	keys    uint64 // that the bucket had at the last probe; only mirrorForever's
	copies  chan copied
	lost    chan error // why the partition has to be taken over again
	again   chan struct{}
	gates   atomic.Int64 // when the gates were published that are acknowledged
}

func newMirror(epoch uint64) *mirror {
	m := &mirror{copies: make(chan copied, 1), lost: make(chan error, 1), again: make(chan struct{}, 1)}
	m.settled.Store(int64(epoch) << 32)
	return m
}

// readAgain has the bucket read again soon, when watchers have seen what was deleted.
func (m *mirror) readAgain() {
	select {
	case m.again <- struct{}{}:
	default:
	}
}

// mirrorForever reads the bucket until the ownership ends.
func (p *Processor) mirrorForever(ctx context.Context) {
	status := p.o.JS.Conn().StatusChanged(nats.CONNECTED)
	defer p.o.JS.Conn().RemoveStatusListener(status)
	compare, probe := time.NewTicker(p.opt.CompareEvery), time.NewTicker(p.opt.ProbeEvery)
	defer compare.Stop()
	defer probe.Stop()
	read := func() {
		if err := guard.Do(func() error { return p.copyBucket(ctx) }); err != nil && ctx.Err() == nil {
			p.o.Log.Warn("decisions_not_compared", slog.Any("error", err))
		}
	}
	read()
	var again <-chan time.Time
	for {
		select {
		case <-ctx.Done():
			return
		case <-p.mirror.again:
			again = time.After(p.opt.ProbeEvery / 10)
		case <-again:
			again = nil
			read()
		case <-compare.C:
			read()
		case _, ok := <-status:
			if !ok {
				status = nil // the connection is closed for good
				continue
			}
			read()
		case <-probe.C:
			fewer, err := p.fenceStands(ctx)
			if err != nil { // a replica that lags behind may have been asked
				fewer, err = p.fenceStandsLater(ctx)
			}
			if err != nil {
				p.mirror.lost <- err
				return
			}
			if fewer {
				read()
			}
		}
	}
}

// errBucketLost is returned when the bucket has not what this owner has put.
var errBucketLost = errors.New("the decisions bucket was set back, purged or deleted")

// fenceStands returns an errBucketLost when the bucket is gone, ends before what was
// acknowledged, or has not this owner's fence. It reports whether the bucket has fewer
// keys than before.
func (p *Processor) fenceStands(ctx context.Context) (fewer bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, probeEvery)
	defer cancel()
	name := "KV_" + p.o.Names.Bucket(events.BucketDecisions)
	newest := max(p.fence, p.mirror.newest.Load())
	s, err := p.o.JS.Stream(ctx, name)
	if err == nil && s.CachedInfo().State.LastSeq < newest {
		return false, fmt.Errorf("%w: it ends at %d, and has had %d", errBucketLost, s.CachedInfo().State.LastSeq, newest)
	}
	if err == nil {
		var m *jetstream.RawStreamMsg
		if m, err = s.GetMsg(ctx, p.fence); err == nil && !p.isFence(m) {
			err = jetstream.ErrMsgNotFound
		}
	}
	if errors.Is(err, jetstream.ErrStreamNotFound) || errors.Is(err, jetstream.ErrMsgNotFound) {
		return false, fmt.Errorf("%w: %w", errBucketLost, err)
	}
	if err != nil {
		return false, nil // not known now
	}
	now := s.CachedInfo().State.Msgs
	fewer = now < p.mirror.keys
	p.mirror.keys = now
	return fewer, nil
}

// isFence reports whether a message of the bucket is this owner's fence. In a bucket that
// was made anew another partition's may have its sequence, and the same epoch.
func (p *Processor) isFence(m *jetstream.RawStreamMsg) bool {
	return string(m.Data) == strconv.FormatUint(p.o.Epoch, 10) && strings.HasSuffix(m.Subject, "."+records.FenceKey(p.o.Partition))
}

func (p *Processor) fenceStandsLater(ctx context.Context) (fewer bool, err error) {
	select {
	case <-ctx.Done():
		return false, nil
	case <-time.After(p.opt.ProbeEvery / 10):
		return p.fenceStands(ctx)
	}
}

// copyBucket reads what the bucket has of the partition.
func (p *Processor) copyBucket(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	c := copied{settled: p.mirror.settled.Load(), listed: p.mirror.gates.Load(), values: map[string][]byte{}}
	kv, err := p.o.JS.KeyValue(ctx, p.o.Names.Bucket(events.BucketDecisions))
	if err != nil {
		return err
	}
	w, err := kv.WatchAll(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = w.Stop() }()
	for read, end := uint64(0), uint64(math.MaxUint64); read < end; {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case e, ok := <-w.Updates():
			switch {
			case !ok:
				return errors.New("the watch ended")
			case e == nil: // comes too early when keys are put meanwhile
				if end, err = p.bucketEnd(ctx); err != nil {
					return err
				}
				continue
			}
			read = e.Revision()
			p.copyKey(&c, e)
		}
	}
	select {
	case <-p.mirror.copies: // the Processor was busy: a newer one is better
	default:
	}
	p.mirror.copies <- c
	return nil
}

// bucketEnd returns the sequence of the newest message that the bucket has, 0 if it has
// none. The last sequence of the stream may be that of a message which was purged.
func (p *Processor) bucketEnd(ctx context.Context) (uint64, error) {
	bucket := p.o.Names.Bucket(events.BucketDecisions)
	s, err := p.o.JS.Stream(ctx, "KV_"+bucket)
	if err != nil {
		return 0, err
	}
	m, err := s.GetLastMsgForSubject(ctx, "$KV."+bucket+".>")
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return 0, nil
	}
	if err != nil {
		return 0, err
	}
	return m.Sequence, nil
}

func (p *Processor) copyKey(c *copied, e jetstream.KeyValueEntry) {
	key, value := e.Key(), e.Value()
	token, last, ok := strings.Cut(key, ".")
	switch {
	case e.Operation() != jetstream.KeyValuePut: // also of a key that was read before
		delete(c.values, key)
		c.foreign = slices.DeleteFunc(c.foreign, func(k string) bool { return k == key })
		if key == events.GatesKey {
			c.gates = nil
		}
		return
	case key == events.GatesKey:
		c.gates = value
		return
	case strings.HasPrefix(key, records.FencePrefix):
		return
	}
	_, err := events.ParseToken(token)
	_, ferr := events.ParseToken(last)
	switch {
	case !ok || err != nil || ferr != nil:
		if p.o.Partition == 0 && !slices.Contains(c.foreign, key) {
			c.foreign = append(c.foreign, key)
		}
	case events.Partition(token, p.opt.Partitions) == p.o.Partition:
		c.values[key] = value
	}
}
