package aggregator

import (
	"fmt"
	"slices"
	"time"

	"github.com/tidegate-io/tidegate/internal/fingerprint"
	"github.com/tidegate-io/tidegate/internal/stream"
)

// SEEN can lose its end, or all of it. Then the runs of which a part is missing are
// left out: the partition goes on, and repetitions of the events in them count again. An
// owner that finds one such run hands over, because a takeover looks at all of them.

// seenSetBack ends the ownership: SEEN gives numbers again that runs have. The next
// owner finds out which runs are lost.
func seenSetBack(number uint64) error {
	return stream.Outage(fmt.Errorf("the fingerprints: %w: %d is the number of another message now", stream.ErrSetBack, number))
}

// commitLost puts the runs into the record that were found to be lost, and says so.
func (p *Processor) commitLost(r *record) {
	lost := p.archive.TakeLost()
	if len(lost) == 0 {
		return
	}
	n, from, to := 0, lost[0].From, lost[0].Hour
	for i := range lost {
		r.Lost = append(r.Lost, lost[i].ID())
		n, from, to = n+lost[i].Len(), min(from, lost[i].From), max(to, lost[i].Hour)
	}
	// Other messages may have the numbers of these now. They expire.
	p.obsolete, p.deletable = nil, nil
	p.lostTo.Store(max(p.lostTo.Load(), to))
	r.LostTo = p.lostTo.Load()
	p.seenAgain = p.seenChecked
	p.o.Forgot(n, fingerprint.Time(from), fingerprint.Time(to+1))
}

// applyLost applies what commitLost has put into a record.
func (p *Processor) applyLost(r *record) {
	if len(r.Lost) > 0 {
		p.archive.Remove(r.Lost)
		p.obsolete, p.deletable = nil, nil
	}
	p.lostTo.Store(max(p.lostTo.Load(), r.LostTo))
}

// unnamed returns the messages that no run has.
func (p *Processor) unnamed(numbers []uint64) []uint64 {
	named := map[uint64]bool{}
	for _, run := range p.archive.Runs() {
		for _, number := range run.Messages() {
			named[number] = true
		}
	}
	return slices.DeleteFunc(numbers, func(n uint64) bool { return named[n] })
}

// DuplicatesHorizon implements stream.Deduplicator.
func (p *Processor) DuplicatesHorizon() time.Duration {
	lostTo := p.lostTo.Load()
	if lostTo == 0 {
		return p.opt.Horizon
	}
	return min(p.opt.Horizon, max(p.opt.Now().Sub(fingerprint.Time(lostTo+1)), 0))
}
