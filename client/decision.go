package client

import (
	"math"
	"time"

	"github.com/tidegate-io/tidegate/events"
)

// record is a decision in the form in which a million of them are kept: what
// many share stands once, and what every check reads stands together, for
// misses of the processor's cache are what a check costs. It does not change.
type record struct {
	same      *shared // nil: the key was deleted
	end       int64   // of the window, Unix nanoseconds; MaxInt64: none
	position  int64
	decidedAt int64 // Unix nanoseconds; noTime: zero
	asOf      int64
	units     int64 // used
	nanos     int32
	has       has
	times     [3]time.Time // start and end of the window, end of the block
}

// has says which of a decision's optional fields are there.
type has uint8

const (
	hasUsed has = 1 << iota
	hasRemaining
	hasStart
	hasEnd
	hasUnblocks
)

// shared is what many decisions have in common.
type shared struct {
	look
	plain bool // allowed, whatever the clock says
	gate  *gateSlot
}

type look struct {
	feature    string
	allowed    bool
	wouldBlock bool
	reason     events.Reason
	plan       string
	limit      events.NullValue
	message    string
	upgradeURL string
}

const noTime = math.MinInt64

func newRecord(d *events.Decision, same *shared) record {
	r := record{same: same, end: math.MaxInt64, position: d.Position, decidedAt: nanos(d.DecidedAt), asOf: nanos(d.AsOf), units: d.Used.Units, nanos: d.Used.Nanos}
	if d.Used.Valid {
		r.has |= hasUsed
		if d.Remaining.Valid {
			r.has |= hasRemaining
		}
	}
	for i, t := range [...]*time.Time{d.WindowStart, d.WindowEnd, d.UnblocksAt} {
		if t != nil {
			r.has |= hasStart << i
			r.times[i] = t.UTC()
		}
	}
	if d.WindowEnd != nil {
		r.end = d.WindowEnd.UnixNano()
	}
	return r
}

func lookOf(d *events.Decision) look {
	return look{d.Feature, d.Allowed, d.WouldBlock, d.Reason, d.Plan, d.Limit, d.Message, d.UpgradeURL}
}

// known says whether there is a decision.
func (r *record) known() bool { return r != nil && r.same != nil }

func (r *record) used() events.Value { return events.Value{Units: r.units, Nanos: r.nanos} }

// decision fills in the decision about a customer.
func (r *record) decision(d *events.Decision, customer string) {
	s := r.same
	d.Customer, d.Feature, d.Plan = customer, s.feature, s.plan
	d.Allowed, d.WouldBlock, d.Reason = s.allowed, s.wouldBlock, s.reason
	d.Limit, d.Message, d.UpgradeURL = s.limit, s.message, s.upgradeURL
	d.Position = r.position
	if r.decidedAt != noTime {
		d.DecidedAt = time.Unix(0, r.decidedAt).UTC()
	}
	if r.asOf != noTime {
		d.AsOf = time.Unix(0, r.asOf).UTC()
	}
	if r.has == 0 {
		return
	}
	if r.has&hasUsed != 0 {
		d.Used = events.Some(r.used())
	}
	if r.has&hasRemaining != 0 && s.limit.Valid {
		d.Remaining = events.Some(s.limit.Sub(r.used()).Max(events.Value{}))
	}
	if r.has&hasStart != 0 {
		d.WindowStart = &r.times[0]
	}
	if r.has&hasEnd != 0 {
		d.WindowEnd = &r.times[1]
	}
	if r.has&hasUnblocks != 0 {
		d.UnblocksAt = &r.times[2]
	}
}

// pointer is the decision, or nil when there is none.
func (r *record) pointer(customer string) *events.Decision {
	if !r.known() {
		return nil
	}
	d := &events.Decision{}
	r.decision(d, customer)
	return d
}

func nanos(t time.Time) int64 {
	if y := t.Year(); y < 1678 || y > 2261 { // what Unix nanoseconds can't hold
		return noTime
	}
	return t.UnixNano()
}
