package enforcer

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/stream"
)

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
			if p.isFromAbove(value) { // apps that have it take none that is lower, until it is deleted
				c.foreign = append(c.foreign, key)
				p.mirror.readAgain()
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
		if err := p.deleteKey(key); err != nil {
			return err
		}
		deleted++
	}
	arrived := c.listed == p.gatesAt.UnixNano() // they have no position
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

// isFromAbove reports whether a value of the bucket is a decision that has a position
// which no owner has given away.
func (p *Processor) isFromAbove(value []byte) bool {
	d, err := events.ParseDecision(value)
	return err == nil && d.Position > p.lastPosition()
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
