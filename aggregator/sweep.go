package aggregator

import (
	"time"

	"github.com/tidegate-io/tidegate/internal/fingerprint"
	"github.com/tidegate-io/tidegate/internal/gate"
)

// sweep forgets, once an hour of stream time, what can no longer change.
func (f *folder) sweep() {
	hour := fingerprint.Hour(f.now)
	if hour <= f.hour {
		return
	}
	f.hour = hour
	f.seen.Expire(f.oldest())
	if f.sweeps == nil {
		f.sweeps = &calendar{next: hour + 1}
		for c := range f.customers.all {
			for u := range c.windows {
				f.sweepWindow(c, u)
			}
		}
		return
	}
	f.sweeps.take(hour, func(number uint32) {
		c := f.customers.at(number)
		for u := range c.windows {
			if u.sweepAt != 0 && u.sweepAt <= hour {
				f.sweepWindow(c, u)
			}
		}
	})
}

func (f *folder) sweepWindow(c *customer, u *usage) {
	u.sweepAt = 0
	oldest := f.now.Truncate(time.Hour).Add(-f.horizon)
	switch {
	case u.closed:
	case u.end == 0:
		if f.dropBuckets(u, oldest) {
			f.touched(c, u)
		}
	// An import may fill old windows for as long as it takes.
	case max(u.end, u.storedAt) <= oldest.UnixMilli():
		u.closed, u.changed, c.changed = true, true, true
		c.close(u.feature, u.end)
		f.touched(c, u)
	}
	f.schedule(c, u)
}

// schedule sees to it that sweep looks at a window as soon as it has to.
func (f *folder) schedule(c *customer, u *usage) {
	if f.sweeps == nil || u.closed {
		return
	}
	at := max(u.end, u.storedAt)
	if u.end == 0 {
		g := u.feature.gate
		if g == nil || g.Window.Kind != gate.Rolling || len(u.buckets()) == 0 {
			return
		}
		at = u.detail.buckets[0].Start + g.Window.Length().Milliseconds()
	}
	hour := uint32((max(at, 0) + f.horizon.Milliseconds() + hourLength - 1) / hourLength)
	if hour = max(hour, f.sweeps.next); u.sweepAt == 0 || hour < u.sweepAt {
		u.sweepAt = f.sweeps.add(hour, c.number)
	}
}

// dropBuckets forgets the buckets of a rolling window that can neither count
// nor change any more.
func (f *folder) dropBuckets(u *usage, oldest time.Time) (dropped bool) {
	g := u.feature.gate
	if g == nil || g.Window.Kind != gate.Rolling {
		return false
	}
	start := g.Window.Oldest(oldest).UnixMilli()
	if len(u.buckets()) == 0 || u.detail.buckets[0].Start >= start {
		return false
	}
	u.dropBefore(start)
	return true
}
