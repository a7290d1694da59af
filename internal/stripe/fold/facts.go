package fold

import (
	"cmp"
	"slices"
	"time"
)

// maxVersions is how many versions of a subscription are kept apart. Events
// that come later than this many newer ones no longer count.
const maxVersions = 64

// stamp is the place of an event among those of one object. Stripe's times are
// whole seconds, so within one the kind of event decides, then its id.
type stamp struct {
	At     time.Time `cbor:"t"`
	Serial int64     `cbor:"s,omitempty"` // orders `tidegate dev`'s events of one second
	Rank   int       `cbor:"r,omitempty"`
	Seq    uint64    `cbor:"q,omitempty"` // orders what was fetched in one second; an event has none
	ID     string    `cbor:"i"`
}

// Ranks of events of one second.
const (
	rankCreated = iota + 1
	rankUpdated
	rankFetched // has seen the other changes, and if not, is fetched again after them
	rankDeleted // is final
)

func (a stamp) compare(b stamp) int {
	return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.Serial, b.Serial),
		cmp.Compare(a.Rank, b.Rank), cmp.Compare(a.Seq, b.Seq), cmp.Compare(a.ID, b.ID))
}

// before orders payments: the first one counts.
func (a stamp) before(b stamp) bool {
	return cmp.Or(a.At.Compare(b.At), cmp.Compare(a.ID, b.ID)) < 0
}

// party is all that is known of a Stripe customer.
type party struct {
	Object  object           `cbor:"o"`           // its newest version
	Deleted *stamp           `cbor:"d,omitempty"` // nothing of it counts from then on
	Mail    claim            `cbor:"m"`           // address given at the newest checkout
	Claims  map[string]claim `cbor:"c,omitempty"` // by source and subscription; see resolve
	Subs    map[string]*sub  `cbor:"s,omitempty"`
}

// object is a version of a Stripe customer.
type object struct {
	Stamp    stamp  `cbor:"s"`
	Email    string `cbor:"e,omitempty"`
	Customer string `cbor:"c,omitempty"` // ours, by its metadata
}

// claim is a value that the newest event wins.
type claim struct {
	Stamp stamp  `cbor:"s"`
	Value string `cbor:"v,omitempty"`
}

func (c claim) join(o claim) (claim, bool) {
	if o.Value == "" || c.Value != "" && o.Stamp.compare(c.Stamp) <= 0 {
		return c, false
	}
	return o, true
}

// sub is a subscription. It has no versions while only payments or sessions
// have spoken of it.
type sub struct {
	Created time.Time `cbor:"c,omitzero"`  // by the object itself
	Seen    time.Time `cbor:"f,omitzero"`  // time of the earliest event that showed it
	Base    *base     `cbor:"b,omitempty"` // what has fallen out of Log
	Log     []version `cbor:"l,omitempty"` // ascending
	Payment *evidence `cbor:"p,omitempty"` // the earliest above 0
}

// base sums up the versions that no longer are in the log.
type base struct {
	Run  stamp   `cbor:"r"` // first version of the run of alike ones that Last ends
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
	Customer    string            `cbor:"m,omitempty"` // ours, by its metadata
	Previous    map[string]string `cbor:"v,omitempty"` // see previousOf
}

func (v *version) compare(o *version) int {
	return cmp.Or(v.Stamp.At.Compare(o.Stamp.At), cmp.Compare(v.Stamp.Serial, o.Stamp.Serial),
		cmp.Compare(v.Stamp.Rank, o.Stamp.Rank), cmp.Compare(v.Stamp.Seq, o.Stamp.Seq), v.PeriodEnd.Compare(o.PeriodEnd),
		cmp.Compare(v.Stamp.ID, o.Stamp.ID))
}

// end is when the subscription is to end, or zero.
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
	Initial  bool      `cbor:"n,omitempty"` // it says itself that it is the subscription's first
	Billed   time.Time `cbor:"b,omitzero"`  // when the invoice was made
	Items    []item    `cbor:"i,omitempty"` // what was charged, when it says so
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
	if joined, ok := p.Claims[key].join(c); ok {
		if p.Claims == nil {
			p.Claims = map[string]claim{}
		}
		p.Claims[key] = joined
	}
}

// add joins a version.
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

func (s *sub) trim() {
	old := s.Log[0]
	b := &base{Run: old.Stamp, Last: old}
	if s.Base != nil && s.Base.Last.Status == old.Status && slices.Equal(s.Base.Last.Items, old.Items) {
		b.Run = s.Base.Run
	}
	s.Base, s.Log = b, slices.Delete(s.Log, 0, 1)
}

func (s *sub) pay(e evidence) {
	if s.Payment == nil || e.Stamp.before(s.Payment.Stamp) {
		s.Payment = &e
	}
}

// watched says whether the subscription has been seen from its beginning, so
// that no payment can have gone before the first known one.
func (s *sub) watched() bool {
	return s.Created.IsZero() || !s.Seen.IsZero() && !s.Seen.After(s.Created.Add(time.Hour))
}

// first says whether the payment can be the first of the subscription, which
// for one that is older than what we know must be seen from the payment.
func (s *sub) first(trialEnd time.Time) bool {
	e := s.Payment
	return e.Initial || s.watched() || !e.Billed.After(later(s.Created, trialEnd).Add(3*24*time.Hour))
}
