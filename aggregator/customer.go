package aggregator

import (
	"cmp"
	"slices"
	"strings"
	"time"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/gate"
)

// customer is the state of one customer.
//
// There can be millions, and an event mostly waits for memory. So the struct
// contains what nearly every customer has, including a short id and the first
// window, and points to what few have. It fills three lines of the processor's
// cache (see table); the first one contains the id.
type customer struct {
	name    [40]byte // the id, if it is not in extra
	extra   *extra
	anchor  int64  // (ms) of the only segment, if the segments are not in extra
	number  uint32 // in the table
	length  uint8  // of the id; longID: it is in extra
	known   bool   // the customer has an anchor
	changed bool   // since the last commit, apart from the windows

	more  []*usage // all windows but first
	first usage
}

const longID = 255

// extra contains what few customers have.
type extra struct {
	id        string
	segments  []gate.Segment           // nil: there is only the one of anchor
	plan      string                   // "": the default plan
	overrides map[string]gate.Override // by feature
	settings  []setting
	closed    []closing
	cutAt     int64 // newest time (ms) at which a control event cut the windows, even if there were none
}

// setting says which control event has set something last.
type setting struct {
	key      string // plan, or override/<feature>
	position uint64 // in ACCOUNT
}

// closing is the end (ms) of the newest closed window of a feature.
type closing struct {
	*feature
	end int64
}

// usage is one window of one feature: what was used in it. Times are Unix
// milliseconds.
type usage struct {
	feature         *feature // nil: customer.first is no window
	detail          *detail
	start, end      int64 // rolling: both 0
	used            events.Value
	events          int64
	firstAt, lastAt int64
	seq             uint64 // sequence of the last message that changed it
	storedAt        int64  // when that message was stored

	index    uint32 // of that change among the changes by that message
	expireAt uint32 // its hour in state.expiries; 0: it has none
	endsAt   uint32 // its hour in Processor.endings; 0: it has none
	closed   bool   // too old to change; kept until its document is written
	changed  bool   // since the last commit
	emit     bool   // the next Flush emits its total
	silent   bool   // and the total causes no mail
}

// detail contains what few windows have: those of rolling windows and of unique
// meters.
type detail struct {
	buckets    []bucket            // of a rolling window, by start
	members    map[uint64]int64    // of a unique meter: hash of each value → start of its newest bucket (0 unless rolling)
	newBuckets []int64             // starts of the buckets that have changed since the last commit, ascending
	newMembers map[uint64]struct{} // members that have changed since the last commit
	dropped    int64               // buckets that begin before this time were dropped
	plan       string              // the plan in force when the window ended; "": the customer's
	sums       sums
}

// bucket is an hour of a rolling window. For a unique meter, its value is the
// number of members whose newest bucket it is.
type bucket struct {
	_     struct{} `cbor:",toarray"`
	Start int64
	Used  events.Value
}

func (c *customer) setID(id string) {
	if c.length = longID; len(id) > len(c.name) {
		c.ensureExtra().id = strings.Clone(id) // id would keep its whole message in memory
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

// hasID reports whether the customer has that id.
func (c *customer) hasID(id string) bool {
	if c.length == longID {
		return c.extra.id == id
	}
	return string(c.name[:c.length]) == id // the compiler makes no copy
}

// windows calls yield with each window of the customer.
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

// find returns the window of a feature that begins at start, or nil. It begins with
// the newest window, which nearly every event looks for.
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

// open adds a window.
func (c *customer) open(ft *feature, start int64) *usage {
	u := &c.first
	if u.feature != nil {
		u = &usage{}
		c.more = append(c.more, u)
	}
	u.feature, u.start = ft, start
	return u
}

// removeWindows removes the windows for which remove returns true. Nobody may use
// them afterwards.
func (c *customer) removeWindows(remove func(*usage) bool) {
	if c.more = slices.DeleteFunc(c.more, remove); len(c.more) == 0 {
		c.more = nil
	}
	if c.first.feature != nil && remove(&c.first) {
		c.first = usage{}
	}
}

// segments returns the customer's segments. If there is only one, it is in buf, so
// that the call allocates nothing.
func (c *customer) segments(buf *[1]gate.Segment) []gate.Segment {
	switch {
	case c.extra != nil && c.extra.segments != nil:
		return c.extra.segments
	case c.known:
		buf[0] = gate.Segment{Anchor: time.UnixMilli(c.anchor).UTC()}
		return buf[:]
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
		c.ensureExtra().segments = ss
	}
}

// ensureExtra returns extra, after making it if there is none.
func (c *customer) ensureExtra() *extra {
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

// closedUntil returns the end of the feature's newest closed window; 0 if there is
// none.
func (c *customer) closedUntil(ft *feature) int64 {
	if c.extra != nil {
		for _, cl := range c.extra.closed {
			if cl.feature == ft {
				return cl.end
			}
		}
	}
	return 0
}

// close notes that a window of the feature was closed.
func (c *customer) close(ft *feature, end int64) {
	for i, cl := range c.ensureExtra().closed {
		if cl.feature == ft {
			c.extra.closed[i].end = max(cl.end, end)
			return
		}
	}
	c.extra.closed = append(c.extra.closed, closing{ft, end})
}

// ensureDetail returns detail, after making it if there is none.
func (u *usage) ensureDetail() *detail {
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
