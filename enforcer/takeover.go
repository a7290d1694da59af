package enforcer

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/records"
	"github.com/tidegate-io/tidegate/internal/stream"
)

// takeFence makes the partition's key in the decisions bucket ours: from then
// on the former owner's puts are refused.
func (p *Processor) takeFence(ctx context.Context) error {
	kv, err := p.o.JS.KeyValue(ctx, p.o.Names.Bucket(events.BucketDecisions))
	if err != nil {
		return fmt.Errorf("decisions: %w", err)
	}
	key, value := records.FenceKey(p.o.Partition), []byte(strconv.FormatUint(p.o.Epoch, 10))
	for {
		e, err := stream.Ask(ctx, func(ctx context.Context) (jetstream.KeyValueEntry, error) { return kv.Get(ctx, key) })
		switch {
		case errors.Is(err, jetstream.ErrKeyNotFound):
			p.fence, err = kv.Create(ctx, key, value)
		case err != nil:
		default:
			if theirs, _ := strconv.ParseUint(string(e.Value()), 10, 64); theirs > p.o.Epoch {
				return fmt.Errorf("%w: the decisions bucket is at epoch %d, this is %d", stream.ErrFenced, theirs, p.o.Epoch)
			}
			p.fence, err = kv.Update(ctx, key, value, e.Revision())
		}
		if err == nil {
			return nil
		}
		if !errors.Is(err, jetstream.ErrKeyExists) { // somebody was faster: look again
			return fmt.Errorf("fence of decisions: %w", err)
		}
	}
}

// takeOver learns what the former owner put into the decisions bucket after its
// last commit: what is there and not known here would never be corrected. It
// also finds out what that owner may have known. The fence is taken already, so
// nothing is added to either by a decision of the former owner.
func (p *Processor) takeOver(ctx context.Context) error {
	kv, err := p.o.JS.KeyValue(ctx, p.o.Names.Bucket(events.BucketDecisions))
	if err != nil {
		return fmt.Errorf("decisions: %w", err)
	}
	w, err := kv.WatchAll(ctx, jetstream.ResumeFromRevision(p.put+1))
	if err != nil {
		return fmt.Errorf("decisions: %w", err)
	}
	defer func() { _ = w.Stop() }()
	for done := false; !done; {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case e := <-w.Updates():
			if done = e == nil; !done {
				p.correct(e)
			}
		}
	}
	return p.backlog.begin(ctx, p.o, p.opt.Now())
}

// correct makes what the bucket holds the published decision.
func (p *Processor) correct(entry jetstream.KeyValueEntry) {
	token, last, ok := strings.Cut(entry.Key(), ".")
	if !ok || events.Partition(token, p.opt.Partitions) != p.o.Partition {
		return
	}
	id, err := events.ParseToken(token)
	feature, ferr := events.ParseToken(last)
	if err != nil || ferr != nil {
		return // no key of a decision
	}
	var published *events.Decision
	if entry.Operation() == jetstream.KeyValuePut {
		published = new(events.Decision)
		if json.Unmarshal(entry.Value(), published) != nil {
			return
		}
	}
	c := p.customer(id)
	c.feature(feature).Published = published
	p.changed(c)
}

// patience bounds how long a new owner reads before it decides.
const patience = 10 * time.Second

// backlog is what was in the inputs when the partition was taken over. To
// decide before all of it is read would put what the former owner has already
// decided back for a moment.
type backlog struct {
	handled, until [inputs]uint64
	deadline       time.Time
	read           bool
}

func (b *backlog) begin(ctx context.Context, o *stream.Owner, now time.Time) (err error) {
	b.deadline = now.Add(patience)
	for i, in := range Spec(o.Names, o.Partition).Inputs {
		b.handled[i] = o.Inputs[i].Position
		if b.until[i], err = stream.Newest(ctx, o.JS, o.Names, in); err != nil {
			return fmt.Errorf("backlog: %w", err)
		}
	}
	return nil
}

func (b *backlog) waits(now time.Time) bool {
	if b.read {
		return false
	}
	b.read = now.After(b.deadline)
	for i := range b.until {
		if !b.read && b.handled[i] < b.until[i] {
			return true
		}
	}
	b.read = true
	return false
}
