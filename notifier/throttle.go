package notifier

import (
	"context"
	"net/http"
	"strconv"
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// defaultRate is the rate until an answer of the provider names another one.
const defaultRate = rate.Limit(2)

// throttle is a token bucket whose rate follows the provider's answers. It is safe
// for concurrent use.
type throttle struct {
	bucket *rate.Limiter

	mu    sync.Mutex
	until time.Time // nothing may be sent before then
}

func newThrottle() *throttle { return &throttle{bucket: rate.NewLimiter(defaultRate, 1)} }

// wait waits until a request may be made, or returns ctx's error.
func (t *throttle) wait(ctx context.Context) error {
	t.mu.Lock()
	left := time.Until(t.until)
	t.mu.Unlock()
	if left > 0 && !sleep(ctx, left) {
		return context.Cause(ctx)
	}
	return t.bucket.Wait(ctx)
}

// observe adapts the rate to an answer.
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
	// Hours mean that a quota is used up; then the sending goroutine pauses.
	if stop > 0 && stop <= maxThrottle {
		t.until = now.Add(stop)
	}
}

// maxThrottle bounds how long a header can make Send wait.
const maxThrottle = 30 * time.Second

// retryAfterHeader returns the pause in the header retry-after, which holds seconds or
// a date.
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
