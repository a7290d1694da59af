package fold

import (
	"container/heap"
	"time"
)

// timers holds at most one moment per customer.
type timers struct {
	heap  []timer
	place map[string]int // customer → index in heap
}

type timer struct {
	at       time.Time
	customer string
}

// set replaces the customer's moment; zero removes it.
func (t *timers) set(customer string, at time.Time) {
	i, ok := t.place[customer]
	switch {
	case ok && at.IsZero():
		heap.Remove(t, i)
	case ok:
		t.heap[i].at = at
		heap.Fix(t, i)
	case !at.IsZero():
		heap.Push(t, timer{at: at, customer: customer})
	}
}

func (t *timers) Len() int           { return len(t.heap) }
func (t *timers) Less(i, j int) bool { return t.heap[i].at.Before(t.heap[j].at) }

func (t *timers) Swap(i, j int) {
	t.heap[i], t.heap[j] = t.heap[j], t.heap[i]
	t.place[t.heap[i].customer], t.place[t.heap[j].customer] = i, j
}

// Push implements heap.Interface.
func (t *timers) Push(x any) {
	if t.place == nil {
		t.place = map[string]int{}
	}
	t.place[x.(timer).customer] = len(t.heap)
	t.heap = append(t.heap, x.(timer))
}

// Pop implements heap.Interface.
func (t *timers) Pop() any {
	last := t.heap[len(t.heap)-1]
	t.heap = t.heap[:len(t.heap)-1]
	delete(t.place, last.customer)
	return last
}
