package refetch

import (
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tidegate-io/tidegate/internal/guard"
	"github.com/tidegate-io/tidegate/internal/stripe/api"
	"github.com/tidegate-io/tidegate/internal/stripe/fold"
)

// job is an object to fetch.
type job struct {
	due      time.Time
	last     time.Time // the latest moment for the fetch
	attempts int
	asked    uint64 // Seq of what made it wanted, while it is asked for; 0: it is not
}

// jobs holds the objects to fetch. Those that changed recently come first,
// because a customer may be waiting.
type jobs struct{ fresh, old map[fold.Ref]*job }

// recent is for how long a change is fresh.
const recent = time.Hour

func newJobs() jobs { return jobs{fresh: map[fold.Ref]*job{}, old: map[fold.Ref]*job{}} }

func (q *jobs) len() int { return len(q.fresh) + len(q.old) }

func (q *jobs) get(ref fold.Ref) *job {
	if j := q.fresh[ref]; j != nil {
		return j
	}
	return q.old[ref]
}

// put adds a job or moves it to the other map.
func (q *jobs) put(ref fold.Ref, j *job, fresh bool) {
	q.drop(ref)
	if fresh {
		q.fresh[ref] = j
	} else {
		q.old[ref] = j
	}
}

func (q *jobs) drop(ref fold.Ref) {
	delete(q.fresh, ref)
	delete(q.old, ref)
}

// result is the result of a fetch.
type result struct {
	ref    fold.Ref
	object api.Object
	err    error
}

// startDue starts the fetches that are due, and returns when the next one will be
// (zero: none).
func (p *Processor) startDue(now time.Time) (next time.Time) {
	if p.fetching.paused(now) && p.jobs.len() > 0 {
		return p.fetching.until
	}
	next = p.startDueIn(p.jobs.fresh, now)
	return earlier(next, p.startDueIn(p.jobs.old, now))
}

func (p *Processor) startDueIn(some map[fold.Ref]*job, now time.Time) (next time.Time) {
	for ref, j := range some {
		if p.running >= p.fetching.width() {
			return next // an answer has to come first
		}
		switch {
		case j.asked != 0:
		case now.Before(p.denied[ref.Type]):
			p.drop(ref)
		case j.due.After(now):
			next = earlier(next, j.due)
		default:
			p.running++
			j.attempts++
			j.asked = p.state.Pending[ref].Seq
			go func() {
				o, err := guard.Value(func() (api.Object, error) { return p.opt.Stripe.Fetch(p.ctx, ref.Type, ref.ID) })
				p.answers <- result{ref, o, err}
			}()
		}
	}
	return next
}

// handleResult publishes a fetched object and finishes its job, or schedules
// another attempt.
func (p *Processor) handleResult(r result, now time.Time) {
	p.running--
	j, w := p.jobs.get(r.ref), p.state.Pending[r.ref]
	newest := j.asked == w.Seq
	j.asked = 0
	switch {
	case r.err == nil:
		p.fetching.succeeded(p.log)
		p.figures.fetched.Inc()
		p.publish(r.object)
		if r.ref.Type == "product" {
			p.products[r.ref.ID] = now
		}
		switch fresh := r.object.At.After(w.Created); {
		case newest && (fresh || j.attempts >= maxAttempts):
			p.drop(r.ref)
		case newest:
			j.due = now.Add(retryAfter)
		default: // newer events have come
			j.attempts = 0
		}
	case errors.Is(r.err, api.ErrMissing), errors.Is(r.err, api.ErrRequest), errors.Is(r.err, api.ErrDenied):
		p.fetching.succeeded(p.log)
		p.figures.refused.Inc()
		p.refused(r, now)
		if newest {
			p.drop(r.ref)
		}
	default:
		p.figures.failed.Inc()
		p.fetching.failed(r.err, now, p.log)
		j.attempts = 0 // and j.due stays
	}
}

// refused logs a failure that another attempt can't repair.
func (p *Processor) refused(r result, now time.Time) {
	if !errors.Is(r.err, api.ErrDenied) {
		p.log.Warn("an object of stripe was not fetched, its events have to do: is STRIPE_SECRET_KEY of the same account and mode?",
			"type", r.ref.Type, "id", r.ref.ID, "error", r.err)
		return
	}
	if !now.Before(p.denied[r.ref.Type]) {
		p.log.Warn("stripe's objects of a type may not be fetched, their events have to do: let STRIPE_SECRET_KEY read them",
			"type", r.ref.Type, "error", r.err)
	}
	p.denied[r.ref.Type] = now.Add(deniedPause)
}

func (p *Processor) drop(ref fold.Ref) {
	p.jobs.drop(ref)
	delete(p.state.Pending, ref)
	p.dirty.set(ref)
}

// maxBody is how many bytes fit into a NATS message beside its header.
const maxBody = 1<<20 - 4<<10

// publish queues an object for BILLING.
func (p *Processor) publish(o api.Object) {
	f, err := fold.NewFetched(o.JSON, api.APIVersion, o.At)
	var body []byte
	if err == nil {
		body, err = json.Marshal(f)
	}
	if err == nil && len(body) > maxBody {
		err = fmt.Errorf("it has %d bytes", len(body))
	}
	if err == nil {
		m := nats.NewMsg(p.names.Billing(string(fold.KindFetched)))
		m.Data = body
		p.queue = append(p.queue, m)
		return
	}
	p.log.Warn("an object of stripe cannot be stored, its events have to do", "id", o.ID, "error", err)
}
