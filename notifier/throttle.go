package notifier

import (
	"context"
	"net/http"
	"strconv"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// defaultRate is what the provider allows unless its answers say otherwise.
const defaultRate = rate.Limit(2)

// throttle keeps to the provider's rate: a token bucket that follows what the
// answers say of it. Its methods are safe for concurrent use.
type throttle struct {
	bucket *rate.Limiter

	mu    sync.Mutex
	until time.Time // nothing may be sent before
}

func newThrottle() *throttle { return &throttle{bucket: rate.NewLimiter(defaultRate, 1)} }

// wait returns when a request may be made, or with ctx's error.
func (t *throttle) wait(ctx context.Context) error {
	t.mu.Lock()
	left := time.Until(t.until)
	t.mu.Unlock()
	if left > 0 && !sleep(ctx, left) {
		return context.Cause(ctx)
	}
	return t.bucket.Wait(ctx)
}

// observe takes over what an answer says of the rate.
func (t *throttle) observe(status int, h http.Header, now time.Time) {
	t.mu.Lock()
	defer t.mu.Unlock()
	reset, hasReset := seconds(h.Get("ratelimit-reset"))
	if limit, err := strconv.Atoi(h.Get("ratelimit-limit")); err == nil && limit > 0 && hasReset && reset > 0 {
		t.bucket.SetLimitAt(now, rate.Limit(float64(limit)/reset.Seconds()))
	}
	var stop time.Duration
	if h.Get("ratelimit-remaining") == "0" && hasReset {
		stop = reset
	}
	if status == http.StatusTooManyRequests {
		stop = max(stop, retryAfterHeader(h, now))
	}
	// Hours mean a quota, for which the sending loop pauses by itself.
	if stop > 0 && stop <= maxThrottle {
		t.until = now.Add(stop)
	}
}

// maxThrottle bounds what a header can make a Send wait.
const maxThrottle = 30 * time.Second

// retryAfterHeader reads retry-after: seconds or a date.
func retryAfterHeader(h http.Header, now time.Time) time.Duration {
	v := h.Get("retry-after")
	if d, ok := seconds(v); ok {
		return d
	}
	if at, err := http.ParseTime(v); err == nil && at.After(now) {
		return at.Sub(now)
	}
	return 0
}

func seconds(s string) (time.Duration, bool) {
	f, err := strconv.ParseFloat(s, 64)
	if err != nil || !(f >= 0 && f < 1e7) { // not NaN
		return 0, false
	}
	return time.Duration(f * float64(time.Second)), true
}
