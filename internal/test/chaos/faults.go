package chaos

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"time"
)

// Kind is a kind of fault.
type Kind string

// The kinds of faults.
const (
	KillProcess     Kind = "kill -9 of a process"
	FreezeProcess   Kind = "freeze of a process"
	StopProcess     Kind = "SIGTERM of a process"
	CutLink         Kind = "cut connections"
	StallLink       Kind = "stalled connections"
	DelayLink       Kind = "slow connections"
	KillBroker      Kind = "kill -9 of a broker"
	StopBroker      Kind = "SIGTERM of a broker"
	FreezeBroker    Kind = "freeze of a broker"
	RestartStore    Kind = "kill -9 of the database"
	FillUsage       Kind = "full stream of usage"
	MoveClock       Kind = "wrong clock of the input"
	longestFault         = 5 * time.Second
	longestGap           = 800 * time.Millisecond
	leaseAndABit         = 2500 * time.Millisecond
	shortestHolding      = 50 * time.Millisecond
)

// deck holds each kind as often as it is drawn in len(deck) draws.
var deck = []Kind{
	KillProcess, KillProcess, KillProcess, KillProcess, FreezeProcess, FreezeProcess, FreezeProcess, StopProcess,
	CutLink, CutLink, StallLink, StallLink, DelayLink, KillBroker, KillBroker, StopBroker, FreezeBroker, RestartStore,
	FillUsage, MoveClock,
}

// Fault is one fault to inject.
type Fault struct {
	Kind   Kind
	Target int           // which process, link or broker
	After  time.Duration // since the fault before
	Length time.Duration // how long it lasts, or how long a stopped server stays stopped
	Shift  time.Duration // of the clock
}

func (f Fault) String() string {
	s := fmt.Sprintf("%s %d for %v", f.Kind, f.Target, f.Length.Round(time.Millisecond))
	if f.Shift != 0 {
		s += fmt.Sprintf(", by %v", f.Shift)
	}
	return s
}

// Plan draws n faults. Each process has a link, and the app has one more.
func Plan(rng *rand.Rand, n int, o Options) []Fault {
	deck := deck
	if o.Database == nil {
		deck = slices.DeleteFunc(slices.Clone(deck), func(k Kind) bool { return k == RestartStore })
	}
	faults := make([]Fault, 0, n)
	var left []Kind
	for range n {
		if len(left) == 0 {
			left = append(left, deck...)
			rng.Shuffle(len(left), func(i, j int) { left[i], left[j] = left[j], left[i] })
		}
		f := Fault{Kind: left[0], After: time.Duration(rng.Int64N(int64(longestGap)))}
		left = left[1:]
		switch f.Kind {
		case KillProcess, FreezeProcess, StopProcess:
			f.Target = rng.IntN(o.Processes)
		case CutLink, StallLink, DelayLink:
			f.Target = rng.IntN(o.Processes + 1)
		case KillBroker, StopBroker, FreezeBroker:
			f.Target = rng.IntN(o.Brokers)
		case MoveClock:
			f.Shift = shifts[rng.IntN(len(shifts))]
		}
		f.Length = lengthOf(rng, f.Kind)
		faults = append(faults, f)
	}
	return faults
}

// lengthOf draws the length of a fault: mostly short, and often longer than a lease
// where that matters.
func lengthOf(rng *rand.Rand, k Kind) time.Duration {
	d := shortestHolding + time.Duration(rng.Int64N(int64(time.Second)))
	switch k {
	case FreezeProcess, StallLink, CutLink, FreezeBroker, MoveClock:
		if rng.IntN(2) == 0 {
			d = leaseAndABit + time.Duration(rng.Int64N(int64(longestFault-leaseAndABit)))
		}
	}
	return d
}
