package fold

import (
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/tidegate-io/tidegate/internal/records"
)

// moves returns the customer's moves between plans that are no first payments,
// by key: trials, changes between paid plans, ends of paid access, and
// reactivated subscriptions. They follow from the customer's phases and not from
// the order of the records. A key holds the moment of the move, so that a late
// event can correct its kind.
func (s *State) moves(customer string, lives []life, line []phase) map[string]records.Move {
	out := map[string]records.Move{}
	for i := range lives {
		if l := &lives[i]; l.sub.seenFromStart() {
			if g := l.trial(); g != nil {
				key := customer + "/" + l.id + "/trial"
				out[key] = records.Move{Key: key, Kind: records.MoveTrial, Event: g.event, FromPlan: s.cfg.Plans.Default, ToPlan: g.plan, At: g.from}
			}
		}
	}
	for i := 1; i < len(line); i++ {
		kind := s.moveKind(&line[i-1], &line[i])
		if kind == "" {
			continue
		}
		key := customer + "/move/" + strconv.FormatInt(line[i].from.Unix(), 10)
		out[key] = records.Move{Key: key, Kind: kind, Event: line[i].event, FromPlan: s.planAt(&line[i-1]), ToPlan: s.planAt(&line[i]), At: line[i].from}
	}
	return out
}

// moveKind returns the kind of the change from a to b, or "" when it is no move.
func (s *State) moveKind(a, b *phase) records.MoveKind {
	rank := s.cfg.Plans.rank
	switch {
	case a.seg.paid && a.seg.status == "trialing":
		return "" // the end of a trial has its own records
	case a.seg.paid && !b.seg.paid:
		return records.MoveChurn
	case a.seg.paid && rank(b.seg.plan) > rank(a.seg.plan):
		return records.MoveUpgrade
	case a.seg.paid && rank(b.seg.plan) < rank(a.seg.plan):
		return records.MoveDowngrade
	case !a.seg.paid && b.seg.paid && b.life.paidSpans()[0].from.Before(b.from):
		return records.MoveReactivation // with a new subscription it would be a payment
	}
	return ""
}

func (s *State) planAt(a *phase) string {
	if a.seg.paid {
		return a.seg.plan
	}
	return s.cfg.Plans.Default
}

// trial returns the segment in which a trial began, or nil.
func (l *life) trial() *segment {
	for i := range l.segments {
		if g := &l.segments[i]; g.paid && g.status == "trialing" {
			return g
		}
	}
	return nil
}

// trimmed returns the time up to which versions have been summed up.
func trimmed(lives []life) (until time.Time) {
	for i := range lives {
		if b := lives[i].sub.Base; b != nil {
			until = later(until, b.Last.Stamp.At)
		}
	}
	return until
}

// changedMoves returns the moves that are new or differ and, as void, those that
// turned out to be none. A move stays as it was emitted when it is older than any
// event can be, or when its versions were summed up. It updates now.
func (s *State) changedMoves(now *emitted, old map[string]records.Move, v *view) []records.Move {
	var out []records.Move
	kept := maps.Clone(old)
	if kept == nil {
		kept = map[string]records.Move{}
	}
	stays := func(m records.Move) bool { return s.facts.Clock.Sub(m.At) >= finalAge || !m.At.After(v.trimmed) }
	for _, key := range slices.Sorted(maps.Keys(old)) {
		m := old[key]
		if _, ok := v.moves[key]; ok || stays(m) {
			continue
		}
		delete(kept, key)
		m.Void = true
		out = append(out, m)
	}
	for _, key := range slices.Sorted(maps.Keys(v.moves)) {
		m, before := v.moves[key], kept[key]
		if before.Key != "" && (sameMove(m, before) || stays(before)) {
			continue
		}
		kept[key] = m
		out = append(out, m)
	}
	now.Moves = kept
	return out
}

func sameMove(a, b records.Move) bool {
	same := a.At.Equal(b.At)
	a.At, b.At = time.Time{}, time.Time{}
	return same && a == b
}

// Moves returns the customer's moves that were emitted and not taken back,
// ordered by key.
func (s *State) Moves(customer string) []records.Move {
	c := s.facts.Customers[customer]
	if c == nil {
		return nil
	}
	var out []records.Move
	for _, key := range slices.Sorted(maps.Keys(c.Moves)) {
		out = append(out, c.Moves[key])
	}
	return out
}
