package aggregator

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/gate"
)

// customer is what the fold knows of one. There are millions, so what most of
// them don't have lies elsewhere, and what most of them have lies here, id and
// first window too: three lines of the processor's cache (see table), of which
// the first says whether it is the right one.
type customer struct {
	name    [40]byte // the id, unless there is an extra one
	extra   *extra
	anchor  int64 // (ms) of the only segment, unless there are extra ones
	number  uint32
	length  uint8 // of the id; longID: extra
	known   bool  // it has an anchor
	changed bool  // anything but windows, since the last commit

	more  []*usage // windows that found no room in first
	first usage
}

const longID = 255

// extra is what only some customers have.
type extra struct {
	id        string
	segments  []gate.Segment // all of them; nil: only the first anchor
	plan      string         // "": the default one
	overrides map[string]gate.Override
	settings  []setting
	closed    []closing
	cutAt     int64 // newest moment (ms) at which windows were cut, or would have been had there been any
}

// setting is the newest position in ACCOUNT of what set something.
type setting struct {
	what     string // plan, or override/<feature>
	position uint64
}

// closing is the end (ms) of the newest window of a feature that was closed for good.
type closing struct {
	*feature
	end int64
}

// usage is one window of one feature. Times are Unix milliseconds.
type usage struct {
	feature         *feature // nil: no window
	detail          *detail
	start, end      int64 // rolling: both 0
	used            events.Value
	events          int64
	firstAt, lastAt int64
	seq             uint64 // sequence of the message of its last change
	storedAt        int64  // when that was stored

	index   uint32 // of its last change among those of the message
	sweepAt uint32 // hour in the calendar of sweeps; 0: none
	endsAt  uint32 // likewise of ends
	closed  bool   // too old to change; kept until its document is written
	changed bool   // since the last commit
	emit    bool
	silent  bool
}

// detail is what only some windows have: rolling ones, those of unique meters.
type detail struct {
	buckets    []bucket         // rolling, sorted by start; unique: how many values are newest there
	members    map[uint64]int64 // unique: hash of a value → start of its newest bucket (0 unless rolling)
	newBuckets []int64          // since the last commit
	newMembers map[uint64]struct{}
	dropped    int64  // rolling: buckets that begin before were forgotten
	plan       string // in force when the window ended; "": the customer's
	sums       sums
}

type bucket struct {
	_     struct{} `cbor:",toarray"`
	Start int64
	Used  events.Value
}

func (c *customer) setID(id string) {
	if c.length = longID; len(id) > len(c.name) {
		c.rare().id = strings.Clone(id) // it is a part of its message
		return
	}
	c.length = uint8(copy(c.name[:], id))
}

func (c *customer) id() string {
	if c.length == longID {
		return c.extra.id
	}
	return string(c.name[:c.length])
}

func (c *customer) is(id string) bool {
	if c.length == longID {
		return c.extra.id == id
	}
	return string(c.name[:c.length]) == id // allocates nothing
}

// windows are all windows of a customer.
func (c *customer) windows(yield func(*usage) bool) {
	if c.first.feature != nil && !yield(&c.first) {
		return
	}
	for _, u := range c.more {
		if !yield(u) {
			return
		}
	}
}

// find is a window, or nil. The newest is what nearly every event looks for.
func (c *customer) find(ft *feature, start int64) *usage {
	for i := len(c.more) - 1; i >= 0; i-- {
		if u := c.more[i]; u.feature == ft && u.start == start {
			return u
		}
	}
	if u := &c.first; u.feature == ft && u.start == start {
		return u
	}
	return nil
}

func (c *customer) open(ft *feature, start int64) *usage {
	u := &c.first
	if u.feature != nil {
		u = &usage{}
		c.more = append(c.more, u)
	}
	u.feature, u.start = ft, start
	return u
}

// forget lets go of windows. Nobody may hold one of them.
func (c *customer) forget(gone func(*usage) bool) {
	if c.more = slices.DeleteFunc(c.more, gone); len(c.more) == 0 {
		c.more = nil
	}
	if c.first.feature != nil && gone(&c.first) {
		c.first = usage{}
	}
}

// segments are the customer's; one is room for the usual case.
func (c *customer) segments(one *[1]gate.Segment) []gate.Segment {
	switch {
	case c.extra != nil && c.extra.segments != nil:
		return c.extra.segments
	case c.known:
		one[0] = gate.Segment{Anchor: time.UnixMilli(c.anchor).UTC()}
		return one[:]
	}
	return nil
}

func (c *customer) setSegments(ss []gate.Segment) {
	c.known = len(ss) > 0
	if len(ss) == 1 && ss[0].From.IsZero() && ss[0].Anchor.Equal(ss[0].Anchor.Truncate(time.Millisecond)) {
		c.anchor = ss[0].Anchor.UnixMilli()
		if c.extra != nil {
			c.extra.segments = nil
		}
	} else if len(ss) > 0 || c.extra != nil {
		c.rare().segments = ss
	}
}

// rare is extra, to be changed.
func (c *customer) rare() *extra {
	if c.extra == nil {
		c.extra = &extra{}
	}
	return c.extra
}

func (c *customer) planName() string {
	if c.extra == nil {
		return ""
	}
	return c.extra.plan
}

func (c *customer) override(feature string) (o gate.Override, ok bool) {
	if c.extra != nil {
		o, ok = c.extra.overrides[feature]
	}
	return o, ok
}

func (c *customer) cutAt() int64 {
	if c.extra == nil {
		return 0
	}
	return c.extra.cutAt
}

// closedAt is the end of the newest window of a feature that was closed.
func (c *customer) closedAt(ft *feature) int64 {
	if c.extra != nil {
		for _, cl := range c.extra.closed {
			if cl.feature == ft {
				return cl.end
			}
		}
	}
	return 0
}

func (c *customer) close(ft *feature, end int64) {
	for i, cl := range c.rare().closed {
		if cl.feature == ft {
			c.extra.closed[i].end = max(cl.end, end)
			return
		}
	}
	c.extra.closed = append(c.extra.closed, closing{ft, end})
}

// detailed is detail, to be changed.
func (u *usage) detailed() *detail {
	if u.detail == nil {
		u.detail = &detail{}
	}
	return u.detail
}

func (u *usage) buckets() []bucket {
	if u.detail == nil {
		return nil
	}
	return u.detail.buckets
}

func (u *usage) planName() string {
	if u.detail == nil {
		return ""
	}
	return u.detail.plan
}

func compareUsage(a, b *usage) int {
	return cmp.Or(cmp.Compare(a.feature.name, b.feature.name), cmp.Compare(a.start, b.start))
}
