package enforcer

import (
	"container/heap"
	"time"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/gate"
)

// wakeup is a time at which a decision may change without a message.
type wakeup struct {
	at       time.Time
	customer string
	feature  string
}

// wakeups is a heap of wakeups, the earliest first.
type wakeups []wakeup

func (w wakeups) Len() int           { return len(w) }
func (w wakeups) Less(i, j int) bool { return w[i].at.Before(w[j].at) }
func (w wakeups) Swap(i, j int)      { w[i], w[j] = w[j], w[i] }
func (w *wakeups) Push(x any)        { *w = append(*w, x.(wakeup)) }
func (w *wakeups) Pop() any {
	last := (*w)[len(*w)-1]
	*w = (*w)[:len(*w)-1]
	return last
}

// schedule notes when to evaluate a decision again. The log does not hold timers:
// every owner rebuilds them from the state.
func (p *Processor) schedule(c *customer, feature string, e *entitlement, g *gate.Gate, d *events.Decision, now time.Time) {
	var next time.Time
	earlier := func(t *time.Time) {
		if t != nil && t.After(now) && (next.IsZero() || t.Before(next)) {
			next = *t
		}
	}
	if e.Published != nil { // an absent key stays right when the window ends
		earlier(d.WindowEnd)
	}
	earlier(d.UnblocksAt)
	if o := c.override(feature); o != nil {
		earlier(o.Until)
	}
	if d.WouldBlock {
		earlier(g.EnforceFrom)
	}
	if next.IsZero() || next.Equal(e.wake) {
		return
	}
	e.wake = next
	heap.Push(&p.timers, wakeup{next, c.doc.ID, feature})
}

// due marks the decisions whose time has come and returns the time of the next one,
// or zero.
func (p *Processor) due(now time.Time) time.Time {
	for len(p.timers) > 0 && !p.timers[0].at.After(now) {
		w := heap.Pop(&p.timers).(wakeup)
		if c := p.customers[w.customer]; c != nil {
			if e := c.features[w.feature]; e != nil && e.wake.Equal(w.at) {
				e.wake = time.Time{}
			}
			p.mark(c, w.feature, false)
		}
	}
	if len(p.timers) == 0 {
		return time.Time{}
	}
	return p.timers[0].at
}
