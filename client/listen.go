package client

import (
	"sync"

	"github.com/tidegate-io/tidegate/events"
)

// Watch calls f with every decision about a customer ("": all customers) that
// arrives from now on, and with all of them after a reconnect, until stop is
// called. A count-down in this process causes no call. f runs on the goroutine
// that keeps the cache: it must not block, and must not call stop.
func (c *Client) Watch(customer string, f func(events.Decision)) (stop func()) {
	return c.cache.listen.add(customer, f)
}

// listeners are the functions of Watch.
type listeners struct {
	mu   sync.RWMutex
	next int
	all  map[int]listener
}

type listener struct {
	customer string // "": every one
	f        func(events.Decision)
}

func (l *listeners) add(customer string, f func(events.Decision)) (stop func()) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.all == nil {
		l.all = map[int]listener{}
	}
	id := l.next
	l.next++
	l.all[id] = listener{customer, f}
	return func() {
		l.mu.Lock()
		defer l.mu.Unlock()
		delete(l.all, id)
	}
}

func (l *listeners) any() bool {
	l.mu.RLock()
	defer l.mu.RUnlock()
	return len(l.all) > 0
}

func (l *listeners) emit(d *events.Decision) {
	l.mu.RLock()
	defer l.mu.RUnlock()
	for _, one := range l.all {
		if one.customer == "" || one.customer == d.Customer {
			one.f(*d)
		}
	}
}
