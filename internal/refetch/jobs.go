package refetch

import (
	"encoding/json"
	"errors"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tidegate-io/tidegate/internal/billing"
	"github.com/tidegate-io/tidegate/internal/stripeapi"
)

// job is an object to be asked for.
type job struct {
	due   time.Time
	last  time.Time // when it is asked for at the latest
	tries int
	asked uint64 // Seq of what made it wanted, while it is asked for; 0: it is not
}

// result is how asking for an object ended.
type result struct {
	ref    billing.Ref
	object stripeapi.Object
	err    error
}

// begin asks for what is due, and says when something will be.
func (p *Processor) begin(now time.Time) (next time.Time) {
	if p.fetching.paused(now) && len(p.jobs) > 0 {
		return p.fetching.until
	}
	for ref, j := range p.jobs {
		if p.busy >= p.fetching.width() {
			return time.Time{} // an answer has to come first
		}
		switch {
		case j.asked != 0:
		case now.Before(p.denied[ref.Type]):
			p.drop(ref)
		case j.due.After(now):
			next = earlier(next, j.due)
		default:
			p.busy++
			j.tries++
			j.asked = p.state.Pending[ref].Seq
			go func() {
				o, err := p.opt.Stripe.Fetch(p.ctx, ref.Type, ref.ID)
				p.answers <- result{ref, o, err}
			}()
		}
	}
	return next
}

// take is what follows from an answer.
func (p *Processor) take(r result, now time.Time) {
	p.busy--
	j, w := p.jobs[r.ref], p.state.Pending[r.ref]
	newest := j.asked == w.Seq
	j.asked = 0
	switch {
	case r.err == nil:
		p.fetching.works(p.log)
		p.figures.fetched.Inc()
		p.publish(r.object)
		if r.ref.Type == "product" {
			p.products[r.ref.ID] = now
		}
		switch fresh := r.object.At.After(w.Created); {
		case newest && (fresh || j.tries >= tries):
			p.drop(r.ref)
		case newest:
			j.due = now.Add(askAgain)
		default: // events have come meanwhile
			j.tries = 0
		}
	case errors.Is(r.err, stripeapi.ErrMissing), errors.Is(r.err, stripeapi.ErrRequest), errors.Is(r.err, stripeapi.ErrDenied):
		p.fetching.works(p.log)
		p.figures.refused.Inc()
		p.refused(r, now)
		if newest {
			p.drop(r.ref)
		}
	default:
		p.figures.failed.Inc()
		p.fetching.fails(r.err, now, p.log)
		j.tries = 0 // due as it was
	}
}

// refused tells the operator what asking again does not mend.
func (p *Processor) refused(r result, now time.Time) {
	if !errors.Is(r.err, stripeapi.ErrDenied) {
		p.log.Warn("an object of stripe was not fetched, its events have to do: is STRIPE_SECRET_KEY of the same account and mode?",
			"type", r.ref.Type, "id", r.ref.ID, "error", r.err)
		return
	}
	if !now.Before(p.denied[r.ref.Type]) {
		p.log.Warn("stripe's objects of a type may not be fetched, their events have to do: let STRIPE_SECRET_KEY read them",
			"type", r.ref.Type, "error", r.err)
	}
	p.denied[r.ref.Type] = now.Add(deniedFor)
}

func (p *Processor) drop(ref billing.Ref) {
	delete(p.jobs, ref)
	delete(p.state.Pending, ref)
	p.dirty.set(ref)
}

// publish queues an object for BILLING.
func (p *Processor) publish(o stripeapi.Object) {
	f, err := billing.NewFetched(o.JSON, stripeapi.APIVersion, o.At)
	if err == nil {
		var body []byte
		if body, err = json.Marshal(f); err == nil {
			m := nats.NewMsg(p.names.Billing(string(billing.KindFetched)))
			m.Data = body
			p.queue = append(p.queue, m)
			return
		}
	}
	p.log.Warn("an object of stripe is unreadable, its events have to do", "id", o.ID, "error", err)
}
