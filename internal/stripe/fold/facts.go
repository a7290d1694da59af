package fold

import (
	"cmp"
	"slices"
	"time"
)

// maxVersions is how many versions of a subscription are kept. An event is
// ignored when it comes after this many newer ones.
const maxVersions = 64

// stamp orders the events of one object. Stripe's times are whole seconds, so
// within one second the kind of event decides, then its id.
type stamp struct {
	At     time.Time `cbor:"t"`
	Serial int64     `cbor:"s,omitempty"` // orders `tidegate dev`'s events of one second
	Rank   int       `cbor:"r,omitempty"`
	Seq    uint64    `cbor:"q,omitempty"` // orders fetched objects of one second; 0 for an event
	ID     string    `cbor:"i"`
}

// Ranks order the events of one second.
const (
	rankCreated = iota + 1
	rankUpdated
	rankFetched // shows the changes of its second, or is fetched again after them
	rankDeleted // is final
)

func (a stamp) compare(b stamp) int {
	return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.Serial, b.Serial),
		cmp.Compare(a.Rank, b.Rank), cmp.Compare(a.Seq, b.Seq), cmp.Compare(a.ID, b.ID))
}

// before reports whether a payment with stamp a is earlier than one with stamp b.
func (a stamp) before(b stamp) bool {
	return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.ID, b.ID)) < 0
}

// party holds all facts about a Stripe customer.
type party struct {
	Object  object           `cbor:"o"`           // its newest version
	Deleted *stamp           `cbor:"d,omitempty"` // from then on it has no subscription
	Mail    claim            `cbor:"m"`           // address given at the newest checkout
	Claims  map[string]claim `cbor:"c,omitempty"` // by source and subscription; see subOwner
	Subs    map[string]*sub  `cbor:"s,omitempty"`
}

// object is a version of a Stripe customer.
type object struct {
	Stamp    stamp  `cbor:"s"`
	Email    string `cbor:"e,omitempty"`
	Customer string `cbor:"c,omitempty"` // ours, from its metadata
}

// claim is a value of which the newest event's counts.
type claim struct {
	Stamp stamp  `cbor:"s"`
	Value string `cbor:"v,omitempty"`
}

func (c claim) merge(o claim) (claim, bool) {
	if o.Value == "" || c.Value != "" && o.Stamp.compare(c.Stamp) <= 0 {
		return c, false
	}
	return o, true
}

// sub holds the facts about a subscription. It has no versions while only
// payments or checkout sessions have named it.
type sub struct {
	Created time.Time `cbor:"c,omitzero"`  // from the object
	Seen    time.Time `cbor:"f,omitzero"`  // time of the earliest event that showed it
	Base    *base     `cbor:"b,omitempty"` // summary of the versions removed from Log
	Log     []version `cbor:"l,omitempty"` // ascending
	Payment *evidence `cbor:"p,omitempty"` // the earliest above 0
}

// base sums up the versions that are no longer in the log.
type base struct {
	Run  stamp   `cbor:"r"` // since when the subscription had the status and items of Last
	Last version `cbor:"l"`
}

// version is a subscription as one event showed it.
type version struct {
	Stamp       stamp             `cbor:"s"`
	Status      string            `cbor:"a"`
	Items       []item            `cbor:"i,omitempty"`
	PeriodEnd   time.Time         `cbor:"e,omitzero"`
	CancelAt    time.Time         `cbor:"c,omitzero"`
	AtPeriodEnd bool              `cbor:"p,omitempty"`
	TrialEnd    time.Time         `cbor:"t,omitzero"`
	Customer    string            `cbor:"m,omitempty"` // ours, from its metadata
	Previous    map[string]string `cbor:"v,omitempty"` // see previousOf
}

func (v *version) compare(o *version) int {
	return cmp.Or(v.Stamp.At.Compare(o.Stamp.At), cmp.Compare(v.Stamp.Serial, o.Stamp.Serial),
		cmp.Compare(v.Stamp.Rank, o.Stamp.Rank), cmp.Compare(v.Stamp.Seq, o.Stamp.Seq), v.PeriodEnd.Compare(o.PeriodEnd),
		cmp.Compare(v.Stamp.ID, o.Stamp.ID))
}

// end returns when the subscription is going to end, or zero.
func (v *version) end() time.Time {
	if v.CancelAt.IsZero() && v.AtPeriodEnd {
		return v.PeriodEnd
	}
	return v.CancelAt
}

// evidence is a payment above 0 for a subscription.
type evidence struct {
	Stamp    stamp     `cbor:"s"`
	Amount   int64     `cbor:"a"`
	Currency string    `cbor:"c,omitempty"`
	Initial  bool      `cbor:"n,omitempty"` // the payment says that it is the subscription's first
	Billed   time.Time `cbor:"b,omitzero"`  // when the invoice was made
	Items    []item    `cbor:"i,omitempty"` // charged prices, when the payment names them
}

func (p *party) sub(id string) *sub {
	s := p.Subs[id]
	if s == nil {
		if p.Subs == nil {
			p.Subs = map[string]*sub{}
		}
		s = &sub{}
		p.Subs[id] = s
	}
	return s
}

func (p *party) claim(source source, sub string, c claim) {
	key := string(source) + sub
	if newest, ok := p.Claims[key].merge(c); ok {
		if p.Claims == nil {
			p.Claims = map[string]claim{}
		}
		p.Claims[key] = newest
	}
}

// add merges a version of the subscription, which was created at created (zero:
// unknown).
func (s *sub) add(v version, created time.Time) {
	if s.Created.IsZero() || !created.IsZero() && created.Before(s.Created) {
		s.Created = created
	}
	if s.Seen.IsZero() || v.Stamp.At.Before(s.Seen) {
		s.Seen = v.Stamp.At
	}
	if s.Base != nil && v.compare(&s.Base.Last) <= 0 {
		return
	}
	i, found := slices.BinarySearchFunc(s.Log, v, func(a, b version) int { return a.compare(&b) })
	if found {
		return
	}
	s.Log = slices.Insert(s.Log, i, v)
	if len(s.Log) > maxVersions {
		s.trim()
	}
}

// trim moves the oldest version from the log to the base.
func (s *sub) trim() {
	old := s.Log[0]
	b := &base{Run: old.Stamp, Last: old}
	if s.Base != nil && s.Base.Last.Status == old.Status && slices.Equal(s.Base.Last.Items, old.Items) {
		b.Run = s.Base.Run
	}
	s.Base, s.Log = b, slices.Delete(s.Log, 0, 1)
}

func (s *sub) addPayment(e evidence) {
	if s.Payment == nil || e.Stamp.before(s.Payment.Stamp) {
		s.Payment = &e
	}
}

// seenFromStart reports whether the subscription's events are known from its
// beginning, so that no payment came before the first known one.
func (s *sub) seenFromStart() bool {
	return s.Created.IsZero() || !s.Seen.IsZero() && !s.Seen.After(s.Created.Add(time.Hour))
}

// mayBeFirst reports whether the known payment can be the subscription's first
// one. When the beginning of the subscription was not seen, the payment itself
// has to show it.
func (s *sub) mayBeFirst(trialEnd time.Time) bool {
	e := s.Payment
	return e.Initial || s.seenFromStart() || !e.Billed.After(later(s.Created, trialEnd).Add(3*24*time.Hour))
}
