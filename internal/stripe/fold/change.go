package fold

import (
	"maps"
	"reflect"
	"slices"
	"time"

	"github.com/tidegate-io/tidegate/internal/records"
)

// finalAge is the age from which a conversion is no longer taken back: no event
// comes that late, and facts that old may have been summed up.
const finalAge = seenDays * 24 * time.Hour

// change compares the customer's view with what was last emitted, and returns
// the differences.
func (s *State) change(customer string) []Change {
	v := s.view(customer)
	s.timers.set(customer, v.next)
	old := s.facts.Customers[customer]
	if old == nil {
		old = &emitted{}
	}
	now := emitted{State: v.state, Email: v.email, Party: v.party, Payments: old.Payments, Refunds: old.Refunds, Digest: old.Digest, Document: old.Document, Unknown: v.unknown}
	first := Change{Customer: customer}
	account := records.Account{Customer: customer}
	if !sameState(old.State, now.State) {
		account.Subscription = &v.state
	} else {
		now.State.Position = old.State.Position
	}
	if old.Email != now.Email {
		account.Email, account.EmailSource = &v.email, "stripe"
	}
	if old.Party != now.Party {
		account.StripeCustomer = &v.party
	}
	moves := s.changedMoves(&now, old.Moves, &v)
	if account.Subscription != nil && len(moves) > 0 { // the move that changed it
		account.Move, moves = &moves[0], moves[1:]
	}
	if !reflect.DeepEqual(account, records.Account{Customer: customer}) {
		first.Account = &account
	}
	if d := digest(v.doc); d != old.Digest && (old.Digest != 0 || len(v.doc.Subscriptions) > 0) {
		s.facts.Documents++
		now.Digest, now.Document = d, s.facts.Documents
		first.Subscription, first.Document = &v.doc, s.facts.Documents
	}
	if len(v.unknown) > 0 && !slices.Equal(old.Unknown, v.unknown) {
		first.UnknownPrices = v.unknown
	}
	var out []Change
	if first.Account != nil || first.Subscription != nil || first.UnknownPrices != nil {
		out = append(out, first)
	}
	for i := range moves {
		out = append(out, Change{Customer: customer, Account: &records.Account{Customer: customer, Move: &moves[i]}})
	}
	paid := s.changedPayments(customer, &now, v.payments)
	out = append(out, paid...)
	out = append(out, s.changedRefunds(customer, &now)...)
	if len(out) > 0 || !slices.Equal(old.Unknown, now.Unknown) {
		s.noteUnknown(customer, old.Unknown, false)
		s.noteUnknown(customer, now.Unknown, true)
		s.facts.Customers[customer] = &now
		s.dirty.customers[customer] = true
	}
	return out
}

// changedPayments returns the conversions that are new or differ and, as void,
// those that turned out to be none. It updates now.
func (s *State) changedPayments(customer string, now *emitted, payments map[string]records.Payment) []Change {
	var out []Change
	emit := func(p records.Payment) {
		out = append(out, Change{Customer: customer, Account: &records.Account{Customer: customer, Payment: &p}})
	}
	kept := maps.Clone(now.Payments)
	if kept == nil {
		kept = map[string]records.Payment{}
	}
	for _, key := range slices.Sorted(maps.Keys(now.Payments)) {
		p := now.Payments[key]
		if _, ok := payments[key]; !ok && s.facts.Clock.Sub(p.At) < finalAge {
			delete(kept, key)
			p.Void = true
			emit(p)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(payments)) {
		p, before := payments[key], kept[key]
		if before.Key != "" && (samePayment(p, before) || s.facts.Clock.Sub(before.At) >= finalAge) {
			continue
		}
		kept[key] = p
		emit(p)
	}
	now.Payments = kept
	return out
}

func samePayment(a, b records.Payment) bool {
	same := a.At.Equal(b.At)
	a.At, b.At = time.Time{}, time.Time{}
	return same && a == b
}

// sameState reports whether the states are equal apart from the position, which
// moves with every record.
func sameState(a, b records.PlanState) bool {
	return a.Plan == b.Plan && a.Status == b.Status && a.Paid == b.Paid && a.Event == b.Event && a.CausedAt.Equal(b.CausedAt)
}
