package aggregator

import (
	"time"

	"github.com/tidegate-io/tidegate/internal/fingerprint"
	"github.com/tidegate-io/tidegate/internal/gate"
)

// expire closes the windows, and drops the fingerprints and buckets, that can no
// longer change. It does so once in an hour of stream time.
func (f *folder) expire() {
	hour := fingerprint.Hour(f.now)
	if hour <= f.hour {
		return
	}
	f.hour = hour
	f.seen.Expire(f.oldestHour())
	if f.expiries == nil {
		f.expiries = &schedule{next: hour + 1}
		for c := range f.customers.all {
			for u := range c.windows {
				f.expireWindow(c, u)
			}
		}
		return
	}
	f.expiries.takeUntil(hour, func(number uint32) {
		c := f.customers.at(number)
		for u := range c.windows {
			if u.expireAt != 0 && u.expireAt <= hour {
				f.expireWindow(c, u)
			}
		}
	})
}

// expireWindow closes the window, or drops its old buckets, if it is time to, and
// schedules its next expiry.
func (f *folder) expireWindow(c *customer, u *usage) {
	u.expireAt = 0
	oldest := f.now.Truncate(time.Hour).Add(-f.horizon)
	switch {
	case u.closed:
	case u.end == 0:
		if f.dropBuckets(u, oldest) {
			f.onChange(c, u)
		}
	// storedAt keeps an old window open while an import still fills it.
	case max(u.end, u.storedAt) <= oldest.UnixMilli():
		u.closed, u.changed, c.changed = true, true, true
		c.close(u.feature, u.end)
		f.onChange(c, u)
	}
	f.scheduleExpiry(c, u)
}

// scheduleExpiry enters the window in the schedule, at the hour in which it closes
// or its first bucket expires.
func (f *folder) scheduleExpiry(c *customer, u *usage) {
	if f.expiries == nil || u.closed {
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
	hour := uint32((max(at, 0) + f.horizon.Milliseconds() + hourMillis - 1) / hourMillis)
	if hour = max(hour, f.expiries.next); u.expireAt == 0 || hour < u.expireAt {
		u.expireAt = f.expiries.add(hour, c.number)
	}
}

// dropBuckets drops the buckets of a rolling window that can neither count nor
// change any more, and reports whether there were any.
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
