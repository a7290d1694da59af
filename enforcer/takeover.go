package enforcer

import (
	"context"
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

// takeFence writes this owner's epoch to the partition's fence key in the decisions
// bucket. From then on the server refuses the former owner's puts.
func (p *Processor) takeFence(ctx context.Context) error {
	if err := p.ensureBucket(ctx); err != nil {
		return fmt.Errorf("decisions: %w", err)
	}
	kv, err := p.o.JS.KeyValue(ctx, p.o.Names.Bucket(events.BucketDecisions))
	if err != nil {
		return fmt.Errorf("decisions: %w", err)
	}
	key, value := records.FenceKey(p.o.Partition), []byte(strconv.FormatUint(p.o.Epoch, 10))
	for {
		e, err := stream.Retry(ctx, func(ctx context.Context) (jetstream.KeyValueEntry, error) { return kv.Get(ctx, key) })
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
		if !errors.Is(err, jetstream.ErrKeyExists) { // another owner was faster: look again
			return fmt.Errorf("fence of decisions: %w", err)
		}
	}
}

// readDecisions reads the decisions that the former owner put into the bucket after
// its last commit, so that it does not decide against them. It also notes the ends of the inputs; see backlog. The fence is
// taken, so the former owner adds nothing to either.
func (p *Processor) readDecisions(ctx context.Context) error {
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
				p.setPublished(e)
			}
		}
	}
	return p.backlog.begin(ctx, p.o, p.opt.Now())
}

// setPublished notes a key of the bucket as the published decision.
func (p *Processor) setPublished(entry jetstream.KeyValueEntry) {
	token, last, ok := strings.Cut(entry.Key(), ".")
	if !ok || events.Partition(token, p.opt.Partitions) != p.o.Partition {
		return
	}
	id, err := events.ParseToken(token)
	feature, ferr := events.ParseToken(last)
	if err != nil || ferr != nil {
		return // the key is not a decision's
	}
	var published *events.Decision
	if entry.Operation() == jetstream.KeyValuePut {
		d, err := events.ParseDecision(entry.Value())
		if err != nil || d.Position > p.lastPosition() { // no owner has put it: repair puts the right one
			return
		}
		published = &d
	}
	c := p.customers[id]
	if c == nil { // the backlog speaks of the customer, or the key is foreign and repair deletes it
		p.found(id)[feature] = published
		return
	}
	c.feature(feature).Published = published
	p.changed(c)
}

// backlogTimeout bounds how long a new owner reads messages before it decides.
const backlogTimeout = 10 * time.Second

// backlog is the messages that were in the inputs when the partition was taken
// over. The former owner may have decided on all of them, so a decision on the
// first of them alone would set apps back for a moment.
type backlog struct {
	handled, until [inputs]uint64
	deadline       time.Time
	read           bool
}

// begin notes the ends of the inputs.
func (b *backlog) begin(ctx context.Context, o *stream.Owner, now time.Time) (err error) {
	b.deadline = now.Add(backlogTimeout)
	for i := range b.until {
		b.handled[i] = o.Inputs[i].Position
		if b.until[i], err = o.Newest(ctx, i); err != nil {
			return fmt.Errorf("backlog: %w", err)
		}
	}
	return nil
}

// pending reports whether decisions must wait: some of the backlog is not handled
// and the time for it has not passed.
func (b *backlog) pending(now time.Time) bool {
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
