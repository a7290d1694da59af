package chaos

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"sync"
	"time"

	"github.com/tidegate-io/tidegate/events"
)

// gates are the gates of a run. About half of the customers reach the limits.
var gates = []Gate{
	{Feature: "api", Aggregate: Count, Limit: 30, Period: Anniversary, Mails: true},
	{Feature: "search", Aggregate: Count, Limit: 15, Period: Rolling},
	{Feature: "tokens", Aggregate: Sum, Limit: 300, Period: Day},
	{Feature: "seats", Aggregate: Unique, Limit: 6, Period: Month},
}

// configuration is the configuration of the run's processes.
const configuration = `partitions: 4
namespace: chaos
public_url: https://gate.acme.example
from: Acme <billing@acme.example>
upgrade: {url: https://acme.example/pricing}
plans:
  free: {default: true}
  pro: {any_subscription: true}
gates:
  - feature: api
    condition: {type: usage, limit: {free: 30, pro: unlimited}, period: 30d, warn_at: [80%]}
    action: {type: block, upgrade_prompt: {type: email, provider: resend, template: upgrade_prompt}}
  - feature: search
    condition: {type: usage, limit: {free: 15, pro: unlimited}, period: 30d, window: rolling}
    action: {type: block}
  - feature: tokens
    meter: {aggregate: sum, value: $.tokens}
    condition: {type: usage, limit: {free: 300, pro: unlimited}, period: day}
    action: {type: block}
  - feature: seats
    meter: {aggregate: unique, value: $.seat}
    condition: {type: usage, limit: {free: 6, pro: unlimited}, period: month}
    action: {type: block}
`

// perGeneration is the number of customers in a generation. With generations, a run of
// any length always has customers near their limits, and many above them.
const perGeneration = 6

// newCustomers returns the customers of a number of generations. Some have a given
// anchor; for the others it is their first use.
func newCustomers(generations int, now time.Time) []Customer {
	all := make([]Customer, generations*perGeneration)
	for i := range all {
		all[i].ID = fmt.Sprintf("c-%d", i)
		if i%3 == 1 {
			all[i].ID = fmt.Sprintf("Zoë.%d@acme example", i) // needs encoding in subjects and keys
		}
		if i%4 != 3 {
			all[i].Email = fmt.Sprintf("c%d@acme.example", i)
		}
		all[i].Paid = i%9 == 8
		if i%5 == 2 {
			all[i].Anchor = now.UTC().Truncate(time.Second).Add(-time.Duration(2+i%9) * 24 * time.Hour)
		}
	}
	return all
}

// load generates the events of a run. It is safe for concurrent use.
type load struct {
	mu         sync.Mutex
	rng        *rand.Rand
	customers  []Customer
	generation int // number of events of a generation
	made       int
	now        func() time.Time
	shift      time.Duration // error of the senders' clock
	again      []Event       // to be sent again
}

// move sets the error of the senders' clock.
func (l *load) move(by time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.shift = by
}

// take returns 1 to most events to send. Some of them were sent before.
func (l *load) take(most int) []Event {
	l.mu.Lock()
	defer l.mu.Unlock()
	list := make([]Event, 1+l.rng.IntN(most))
	for i := range list {
		if n := len(l.again); n > 0 && l.rng.IntN(6) == 0 {
			j := l.rng.IntN(n)
			list[i] = l.again[j]
			if l.rng.IntN(3) == 0 { // the same use with another time
				l.mistime(&list[i])
			}
			l.again[j] = l.again[n-1]
			l.again = l.again[:n-1]
			continue
		}
		list[i] = l.event()
		if l.rng.IntN(8) == 0 {
			l.again = append(l.again, list[i])
		}
	}
	return list
}

// unknown takes back events without an answer. Some of them will be sent again.
func (l *load) unknown(list []Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.rng.IntN(3) > 0 {
		l.again = append(l.again, list...)
	}
}

func (l *load) event() Event {
	l.made++
	e := Event{ID: fmt.Sprintf("e-%d", l.made), Customer: l.customer(), Type: gates[0].Feature}
	switch at := l.clock(); l.rng.IntN(10) {
	case 0:
		e.Type = "search"
		if l.rng.IntN(2) == 0 {
			e.Time = at.Add(-time.Duration(l.rng.IntN(72)) * time.Hour)
		}
	case 1:
		e.Type = "search"
	case 2, 3:
		e.Type, e.Time = "tokens", at
		if l.rng.IntN(4) == 0 {
			e.Time = at.AddDate(0, 0, -1-l.rng.IntN(3))
		}
		e.Amount = events.Value{Units: int64(l.rng.IntN(40)), Nanos: int32(l.rng.IntN(4)) * 250_000_000}
	case 4:
		e.Type, e.Member = "seats", fmt.Sprintf("user-%d", l.rng.IntN(10))
	default:
		if l.rng.IntN(2) == 0 {
			e.Time = at
		}
	}
	if l.rng.IntN(40) == 0 {
		l.mistime(&e)
	}
	return e
}

// clock returns the time of new events.
func (l *load) clock() time.Time { return l.now().Add(l.shift).UTC().Truncate(time.Millisecond) }

func (l *load) mistime(e *Event) {
	i := slices.IndexFunc(l.customers, func(c Customer) bool { return c.ID == e.Customer })
	mistime(l.rng, e, l.customers[i].Anchor, l.now().UTC().Truncate(time.Millisecond))
}

// customer draws a customer, mostly of the newest generation.
func (l *load) customer() string {
	newest := min(l.made/l.generation, len(l.customers)/perGeneration-1)
	generation := newest
	if newest > 0 {
		switch l.rng.IntN(10) {
		case 0:
			generation = l.rng.IntN(newest)
		case 1, 2:
			generation = newest - 1
		}
	}
	return l.customers[generation*perGeneration+min(l.rng.IntN(perGeneration), l.rng.IntN(perGeneration))].ID
}

// usage returns the event in the form of the API.
func (e *Event) usage() map[string]any {
	m := map[string]any{"id": e.ID, "source": Source, "type": e.Type, "subject": e.Customer}
	if !e.Time.IsZero() {
		m["time"] = e.Time.Format(time.RFC3339Nano)
	}
	if p := e.properties(); p != nil {
		m["data"] = p
	}
	return m
}

func (e *Event) properties() map[string]any {
	switch e.Type {
	case "tokens":
		return map[string]any{"tokens": number(e.Amount)}
	case "seats":
		return map[string]any{"seat": e.Member}
	case padding:
		return map[string]any{"pad": e.Member}
	}
	return nil
}
