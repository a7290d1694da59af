package fold

import (
	"encoding/json"
	"maps"
	"strconv"
	"strings"
	"time"
)

// versions returns the subscription's versions in the order in which they
// happened, as far as the events show it.
func (s *sub) versions() []version {
	all := make([]version, 0, len(s.Log)+1)
	if s.Base != nil {
		v := s.Base.Last
		v.Stamp = s.Base.Run
		all = append(all, v)
	}
	for i := 0; i < len(s.Log); {
		j := i + 1
		for j < len(s.Log) && sameMoment(&s.Log[i], &s.Log[j]) {
			j++
		}
		all = arrange(all, s.Log[i:j])
		i = j
	}
	return all
}

// newest returns the subscription's last version, or false while there is none.
func (s *sub) newest() (version, bool) {
	all := s.versions()
	if len(all) == 0 {
		return version{}, false
	}
	return all[len(all)-1], true
}

// sameMoment reports whether only the previous values in the events can order a
// and b.
func sameMoment(a, b *version) bool {
	return a.Stamp.At.Equal(b.Stamp.At) && a.Stamp.Serial == b.Stamp.Serial && a.Stamp.Rank == b.Stamp.Rank
}

// arrange appends versions of one moment so that each follows the version that
// its previous values describe. Versions without previous values keep their
// order.
func arrange(done, group []version) []version {
	if len(group) == 1 {
		return append(done, group[0])
	}
	left := make([]*version, len(group))
	for i := range group {
		left[i] = &group[i]
	}
	for len(left) > 0 {
		i := nextOf(done, left)
		done = append(done, *left[i])
		left = append(left[:i], left[i+1:]...)
	}
	return done
}

// nextOf returns the index of the version that comes next. It prefers a version
// that directly follows the last one, then one that may follow it, then one that
// follows none of the others.
func nextOf(done []version, left []*version) int {
	if len(done) > 0 {
		last := &done[len(done)-1]
		for _, follows := range []func(*version, *version) bool{(*version).directlyFollows, (*version).mayFollow} {
			for i, v := range left {
				if len(v.Previous) > 0 && follows(v, last) {
					return i
				}
			}
		}
	}
	for i, v := range left {
		free := true
		for _, o := range left {
			free = free && (o == v || !v.mayFollow(o) || o.mayFollow(v))
		}
		if free {
			return i
		}
	}
	return 0
}

// directlyFollows reports whether v with its previous values restored equals o.
func (v *version) directlyFollows(o *version) bool {
	before := v.shown()
	maps.Copy(before, v.Previous)
	return maps.Equal(before, o.shown())
}

// mayFollow reports whether o has the previous value of everything that v
// changed.
func (v *version) mayFollow(o *version) bool {
	if len(v.Previous) == 0 {
		return false
	}
	shown := o.shown()
	for k, was := range v.Previous {
		if shown[k] != was {
			return false
		}
	}
	return true
}

// shown returns the attributes whose changes order versions.
func (v *version) shown() map[string]string {
	return map[string]string{
		"status":               v.Status,
		"cancel_at_period_end": strconv.FormatBool(v.AtPeriodEnd),
		"cancel_at":            unix(v.CancelAt),
		"current_period_end":   unix(v.PeriodEnd),
		"prices":               priceList(v.Items),
	}
}

func priceList(items []item) string {
	ids := make([]string, 0, len(items))
	for i := range items {
		ids = append(ids, items[i].Price)
	}
	return strings.Join(ids, " ")
}

func unix(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return strconv.FormatInt(t.Unix(), 10)
}

// previousOf converts previous_attributes to the attributes of shown. It leaves
// out the others.
func previousOf(raw json.RawMessage) map[string]string {
	var attrs map[string]json.RawMessage
	lenient(raw, &attrs)
	m := map[string]string{}
	var status string
	if lenient(attrs["status"], &status); status != "" {
		m["status"] = status
	}
	var atEnd *bool
	if lenient(attrs["cancel_at_period_end"], &atEnd); atEnd != nil {
		m["cancel_at_period_end"] = strconv.FormatBool(*atEnd)
	}
	for _, name := range []string{"cancel_at", "current_period_end"} {
		if raw, ok := attrs[name]; ok {
			var t stripeTime
			lenient(raw, &t)
			m[name] = unix(t.Time)
		}
	}
	if raw, ok := attrs["items"]; ok {
		var before subscriptionObject
		lenient(raw, &before.Items)
		if items := before.items(); len(items) > 0 {
			m["prices"] = priceList(items)
		}
		if end := before.periodEnd(); !end.IsZero() {
			m["current_period_end"] = unix(end)
		}
	}
	if len(m) == 0 {
		return nil
	}
	return m
}
