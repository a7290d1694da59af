package client

import (
	"math"
	"time"

	"github.com/tidegate-io/tidegate/events"
)

// record is a decision in a form of which a million fit into memory. Fields that
// many decisions share are stored once (look), and fields that most checks do not
// read are stored apart (more).
type record struct {
	look     *shared // nil: there is no such key
	more     *more
	position int64
	decided  moment
	asOf     moment
	rest     int64  // what is there, and, above, the whole units of the usage
	until    uint32 // Unix seconds: before, the window is not over
}

// The bits of record.rest.
const (
	hasUsed = 1 << iota
	hasRemaining
	hasStart
	hasEnd
	hasUnblocks
	isOdd     // see odd
	contested // another key has the same hash

	restBits = 8
	optional = hasUsed | hasRemaining | hasStart | hasEnd | hasUnblocks
)

// moment is a time between 1970 and 2514: Unix seconds above 30 bits of
// nanoseconds, so that reading it needs no division. 0 is the zero time.
type moment uint64

func momentOf(t time.Time) (m moment, ok bool) {
	if t.IsZero() {
		return 0, true
	}
	m = moment(t.Unix())<<30 | moment(t.Nanosecond())
	return m, m != 0 && t.Unix() >= 0 && t.Unix() < 1<<34
}

func (m moment) time() time.Time {
	if m == 0 {
		return time.Time{}
	}
	return time.Unix(int64(m>>30), int64(m&(1<<30-1))).UTC()
}

// more holds the fields that most checks do not read. It does not change.
type more struct {
	customer string
	times    [3]time.Time // start and end of the window, end of the block
	odd      *odd
}

// odd holds values that do not fit into a record's numbers: fractions, and times
// that are zero or far away.
type odd struct {
	used            events.Value
	decidedAt, asOf time.Time
}

// shared holds the fields that many decisions have in common.
type shared struct {
	look
	plain bool // allowed whatever the clock says
	gate  *gateSlot
}

type look struct {
	feature    string
	gone       bool // the key was deleted
	allowed    bool
	wouldBlock bool
	reason     events.Reason
	plan       string
	limit      events.NullValue
	message    string
	upgradeURL string
}

func newShared(l look, gate *gateSlot) *shared {
	return &shared{look: l, gate: gate, plain: l.allowed && !l.wouldBlock && l.reason != events.GateOff && (!l.limit.Valid || l.limit.Sign() > 0)}
}

func lookOf(d *events.Decision) look {
	return look{d.Feature, false, d.Allowed, d.WouldBlock, d.Reason, d.Plan, d.Limit, d.Message, d.UpgradeURL}
}

func newRecord(d *events.Decision, same *shared) record {
	r := record{look: same, more: &more{customer: d.Customer}, position: d.Position, until: math.MaxUint32}
	if d.Used.Valid {
		r.rest |= hasUsed
		if d.Remaining.Valid {
			r.rest |= hasRemaining
		}
	}
	for i, t := range [...]*time.Time{d.WindowStart, d.WindowEnd, d.UnblocksAt} {
		if t != nil {
			r.rest |= hasStart << i
			r.more.times[i] = t.UTC()
		}
	}
	if d.WindowEnd != nil {
		r.until = uint32(min(max(d.WindowEnd.Unix(), 0), math.MaxUint32))
	}
	var fits [2]bool
	r.decided, fits[0] = momentOf(d.DecidedAt)
	r.asOf, fits[1] = momentOf(d.AsOf)
	units := d.Used.Units << restBits
	r.rest |= units
	if d.Used.Nanos != 0 || units>>restBits != d.Used.Units || !fits[0] || !fits[1] {
		r.rest |= isOdd
		r.more.odd = &odd{d.Used.Value, d.DecidedAt.UTC(), d.AsOf.UTC()}
	}
	return r
}

// known reports whether there is a decision.
func (r *record) known() bool { return r.look != nil && !r.look.gone }

func (r *record) is(customer, feature string) bool {
	return r.more.customer == customer && r.look.feature == feature
}

// time is a pointer to one of more's times, or nil if the record lacks it.
func (r *record) time(has int64, i int) *time.Time {
	if r.rest&has == 0 {
		return nil
	}
	return &r.more.times[i]
}

// decision returns the decision about a customer.
func (r *record) decision(customer string) events.Decision {
	s := r.look
	d := events.Decision{Customer: customer, Feature: s.feature, Allowed: s.allowed, WouldBlock: s.wouldBlock, Reason: s.reason, Plan: s.plan,
		Limit: s.limit, Message: s.message, UpgradeURL: s.upgradeURL, Position: r.position}
	used := events.Value{Units: r.rest >> restBits}
	if r.rest&isOdd == 0 {
		d.DecidedAt, d.AsOf = r.decided.time(), r.asOf.time()
	} else {
		used, d.DecidedAt, d.AsOf = r.more.odd.used, r.more.odd.decidedAt, r.more.odd.asOf
	}
	if r.rest&hasUsed != 0 {
		d.Used = events.Some(used)
	}
	if r.rest&hasRemaining != 0 && d.Limit.Valid {
		d.Remaining = events.Some(d.Limit.Sub(used).Max(events.Value{}))
	}
	d.WindowStart, d.WindowEnd, d.UnblocksAt = r.time(hasStart, 0), r.time(hasEnd, 1), r.time(hasUnblocks, 2)
	return d
}

// pointer returns the decision about its customer, or nil when there is none.
func (r record) pointer() *events.Decision {
	if !r.known() {
		return nil
	}
	d := r.decision(r.more.customer)
	return &d
}
