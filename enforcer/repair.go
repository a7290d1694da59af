package enforcer

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/guard"
	"github.com/tidegate-io/tidegate/internal/records"
	"github.com/tidegate-io/tidegate/internal/stream"
)

// The decisions bucket can be set back to an older copy, purged, deleted or edited. The
// state knows what has to be in it. So an owner compares both as a whole, at once and
// from time to time, and puts again what differs. Between that it looks whether its fence
// stands, which no loss of the bucket's beginning or end leaves in place.

// Defaults of Options.CompareEvery and Options.ProbeEvery.
const (
	compareEvery = 5 * time.Minute
	probeEvery   = 10 * time.Second
	readTimeout  = time.Minute
)

// copied is what the bucket had of the partition at a moment.
type copied struct {
	begun   time.Time
	settled int64             // greatest position that was acknowledged before it was read
	values  map[string][]byte // by key
	gates   []byte
	foreign []string // keys that are none of Tidegate's; only in that of partition 0
}

// mirror compares the bucket with the state. Its goroutine reads; the Processor's own
// repairs.
type mirror struct {
	settled atomic.Int64 // greatest position of a decision that is acknowledged
	newest  atomic.Uint64
	copies  chan copied
	lost    chan error // why the partition has to be taken over again
}

func newMirror(epoch uint64) *mirror {
	m := &mirror{copies: make(chan copied, 1), lost: make(chan error, 1)}
	m.settled.Store(int64(epoch) << 32)
	return m
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
	for {
		select {
		case <-ctx.Done():
			return
		case <-compare.C:
			read()
		case _, ok := <-status:
			if !ok {
				status = nil // the connection is closed for good
				continue
			}
			read()
		case <-probe.C:
			err := p.fenceStands(ctx)
			if err != nil { // a replica that lags behind may have been asked
				err = p.fenceStandsLater(ctx)
			}
			if err != nil {
				p.mirror.lost <- err
				return
			}
		}
	}
}

// errBucketLost is returned when the bucket has not what this owner has put.
var errBucketLost = errors.New("the decisions bucket was set back, purged or deleted")

// fenceStands returns an errBucketLost when the bucket is gone, ends before what was
// acknowledged, or has not this owner's fence.
func (p *Processor) fenceStands(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, probeEvery)
	defer cancel()
	name := "KV_" + p.o.Names.Bucket(events.BucketDecisions)
	newest := max(p.fence, p.mirror.newest.Load())
	s, err := p.o.JS.Stream(ctx, name)
	if err == nil && s.CachedInfo().State.LastSeq < newest {
		return fmt.Errorf("%w: it ends at %d, and has had %d", errBucketLost, s.CachedInfo().State.LastSeq, newest)
	}
	if err == nil {
		var m *jetstream.RawStreamMsg
		if m, err = s.GetMsg(ctx, p.fence); err == nil && string(m.Data) != strconv.FormatUint(p.o.Epoch, 10) {
			err = jetstream.ErrMsgNotFound
		}
	}
	if errors.Is(err, jetstream.ErrStreamNotFound) || errors.Is(err, jetstream.ErrMsgNotFound) {
		return fmt.Errorf("%w: %w", errBucketLost, err)
	}
	return nil // not known now
}

func (p *Processor) fenceStandsLater(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return nil
	case <-time.After(p.opt.ProbeEvery / 10):
		return p.fenceStands(ctx)
	}
}

// copyBucket reads what the bucket has of the partition.
func (p *Processor) copyBucket(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, readTimeout)
	defer cancel()
	c := copied{begun: p.opt.Now(), settled: p.mirror.settled.Load(), values: map[string][]byte{}}
	kv, err := p.o.JS.KeyValue(ctx, p.o.Names.Bucket(events.BucketDecisions))
	if err != nil {
		return err
	}
	w, err := kv.WatchAll(ctx, jetstream.IgnoreDeletes())
	if err != nil {
		return err
	}
	defer func() { _ = w.Stop() }()
	for {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case e, ok := <-w.Updates():
			switch {
			case !ok:
				return errors.New("the watch ended")
			case e == nil: // a key that comes later was put meanwhile, above settled
				select {
				case <-p.mirror.copies: // the Processor was busy: a newer one is better
				default:
				}
				p.mirror.copies <- c
				return nil
			}
			p.copyKey(&c, e.Key(), e.Value())
		}
	}
}

func (p *Processor) copyKey(c *copied, key string, value []byte) {
	token, last, ok := strings.Cut(key, ".")
	switch {
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
		if p.o.Partition == 0 {
			c.foreign = append(c.foreign, key)
		}
	case events.Partition(token, p.opt.Partitions) == p.o.Partition:
		c.values[key] = value
	}
}

// heal does what the newest look at the bucket asks for. An owner that still reads what
// came before it does not know which keys are foreign.
func (p *Processor) heal(now time.Time) error {
	select {
	case err := <-p.mirror.lost: // the next owner takes the fence, and compares
		return fmt.Errorf("%w: %w", stream.ErrFenced, err)
	default:
	}
	if p.backlog.pending(now) {
		return nil
	}
	select {
	case c := <-p.mirror.copies:
		return p.repair(c)
	default:
		return nil
	}
}

// repair puts again what a copy of the bucket lacks or has otherwise, and deletes what
// is not the state's. Decisions above what was settled may be younger than the copy.
func (p *Processor) repair(c copied) error {
	var put, deleted int
	for _, customer := range p.customers {
		for feature, e := range customer.features {
			if e.Published == nil {
				continue
			}
			key := events.DecisionKey(customer.doc.ID, feature)
			value, there := c.values[key]
			delete(c.values, key)
			if e.Published.Position > c.settled || there && isValue(value, e.Published) {
				continue
			}
			if err := p.putAgain(customer, e); err != nil {
				return err
			}
			put++
		}
	}
	for key := range c.values { // what is left
		c.foreign = append(c.foreign, key)
	}
	for _, key := range c.foreign {
		if err := p.putDecision(key, nil, nats.Header{"KV-Operation": {"DEL"}}); err != nil {
			return err
		}
		deleted++
	}
	arrived := c.begun.After(p.gatesAt.Add(3 * p.opt.ProbeEvery)) // they have no position
	if p.o.Partition == 0 && arrived && !p.areGates(c.gates) {
		if err := p.publishGates(); err != nil {
			return err
		}
		put++
	}
	if put+deleted > 0 {
		p.o.Log.Warn("decisions_repaired", slog.Int("put", put), slog.Int("deleted", deleted))
		p.opt.Repaired(put + deleted)
	}
	return nil
}

// putAgain puts the published decision with a new position, so that apps take it.
func (p *Processor) putAgain(c *customer, e *entitlement) error {
	d := *e.Published
	d.Position = p.nextPosition()
	b, err := json.Marshal(&d)
	if err != nil {
		return err
	}
	e.Published = &d
	p.changed(c)
	return p.putDecision(events.DecisionKey(d.Customer, d.Feature), b, nil)
}

// isValue reports whether a value of the bucket is a decision.
func isValue(value []byte, d *events.Decision) bool {
	got, err := events.ParseDecision(value)
	if err != nil || got.Position != d.Position {
		return false
	}
	a, aerr := json.Marshal(&got)
	b, berr := json.Marshal(d)
	return aerr == nil && berr == nil && bytes.Equal(a, b)
}

// areGates reports whether a value of the bucket is the list of gates, whenever it was
// made.
func (p *Processor) areGates(value []byte) bool {
	got, err := events.ParseGates(value)
	if err != nil {
		return false
	}
	want := p.gates()
	got.UpdatedAt = want.UpdatedAt
	a, aerr := json.Marshal(&got)
	b, berr := json.Marshal(&want)
	return aerr == nil && berr == nil && bytes.Equal(a, b)
}

// ensureBucket makes the bucket anew if it is gone.
func (p *Processor) ensureBucket(ctx context.Context) error {
	name := p.o.Names.Bucket(events.BucketDecisions)
	_, err := p.o.JS.KeyValue(ctx, name)
	if !errors.Is(err, jetstream.ErrBucketNotFound) {
		return err
	}
	state, err := p.o.JS.Stream(ctx, p.o.Names.Stream(events.StreamState))
	if err != nil {
		return err
	}
	_, err = p.o.JS.CreateKeyValue(ctx, stream.DecisionsBucket(p.o.Names, state.CachedInfo().Config.Replicas))
	if errors.Is(err, jetstream.ErrBucketExists) {
		return nil // another owner was faster
	}
	if err == nil {
		p.o.Log.Warn("decisions_bucket_made_anew")
	}
	return err
}
