package fold

import (
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/tidegate-io/tidegate/internal/records"
)

// moves are the customer's moves between plans that are no first payments, by
// key: trials that began, changes between paid plans, ends of paid access, and
// subscriptions that came back to life. They follow from what decided for the
// customer over time, not from the order in which that became known. A key is
// the moment, so that a late event can correct what kind of move it was.
func (s *State) moves(customer string, lives []life, line []standing) map[string]records.Move {
	out := map[string]records.Move{}
	for i := range lives {
		if l := &lives[i]; l.sub.watched() {
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

// moveKind is what the change from a to b is, or "".
func (s *State) moveKind(a, b *standing) records.MoveKind {
	rank := s.cfg.Plans.rank
	switch {
	case a.seg.paid && a.seg.status == "trialing":
		return "" // a trial that ends: paid or not, it has its records
	case a.seg.paid && !b.seg.paid:
		return records.MoveChurn
	case a.seg.paid && rank(b.seg.plan) > rank(a.seg.plan):
		return records.MoveUpgrade
	case a.seg.paid && rank(b.seg.plan) < rank(a.seg.plan):
		return records.MoveDowngrade
	case !a.seg.paid && b.seg.paid && b.life.stretches()[0].from.Before(b.from):
		return records.MoveReactivation // a new subscription's is a payment
	}
	return ""
}

func (s *State) planAt(a *standing) string {
	if a.seg.paid {
		return a.seg.plan
	}
	return s.cfg.Plans.Default
}

// trial is the segment in which a trial began, or nil.
func (l *life) trial() *segment {
	for i := range l.segments {
		if g := &l.segments[i]; g.paid && g.status == "trialing" {
			return g
		}
	}
	return nil
}

// trimmed is the time up to which versions have been summed up.
func trimmed(lives []life) (until time.Time) {
	for i := range lives {
		if b := lives[i].sub.Base; b != nil {
			until = later(until, b.Last.Stamp.At)
		}
	}
	return until
}

// move says which moves are new, differ, or turned out to be none. What is
// older than events can come, or was summed up, stays as it was said.
func (s *State) move(now *sent, said map[string]records.Move, v *view) []records.Move {
	var out []records.Move
	kept := maps.Clone(said)
	if kept == nil {
		kept = map[string]records.Move{}
	}
	stays := func(m records.Move) bool { return s.facts.Clock.Sub(m.At) >= settled || !m.At.After(v.trimmed) }
	for _, key := range slices.Sorted(maps.Keys(said)) {
		m := said[key]
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

// Moves are the moves that were said of the customer and hold, by key.
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
