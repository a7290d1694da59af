package chaos

import (
	"slices"
	"strings"
	"time"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/records"
)

// bucket is the part of a feature's usage that events are added up in.
type bucket struct{ customer, feature, begins string }

// bucket returns the bucket of an event.
func (c *checker) bucket(g *Gate, customer string, t time.Time) bucket {
	b := bucket{customer: customer, feature: g.Feature}
	if g.Period == Rolling || g.Period == Anniversary && c.customers[customer].Paid { // the first paid plan begins a window at its own time
		return b
	}
	b.begins = g.begins(c.anchors[customer], t).Format(time.RFC3339Nano)
	return b
}

// bucketOf returns the bucket of a window by its start. The start must be exact to the
// millisecond unless a change of plan began the window.
func (c *checker) bucketOf(g *Gate, w *records.Window) bucket {
	b := c.bucket(g, w.Customer, w.Start)
	if b.begins != "" && !c.customers[w.Customer].Paid {
		b.begins = w.Start.UTC().Format(time.RFC3339Nano)
	}
	return b
}

// expect adds up the usage that must be counted: of each stored event, acknowledged or
// not, the first copy that was neither too old nor too new.
func (c *checker) expect(sent []Sent) map[bucket]events.Value {
	byID := make(map[string]*Sent, len(sent))
	for i := range sent {
		byID[sent[i].ID] = &sent[i]
	}
	counted := map[string]time.Time{}
	for _, copied := range c.o.Stored {
		s := byID[copied.ID]
		if s == nil || c.gate(s.Type) == nil || !counted[s.ID].IsZero() || !copied.valid() {
			continue
		}
		counted[s.ID] = copied.happened()
		if _, known := c.anchors[s.Customer]; !known {
			c.anchors[s.Customer] = copied.happened().Truncate(time.Second)
		}
	}
	totals := map[bucket]events.Value{}
	members := map[bucket]map[string]bool{}
	for id, at := range counted {
		s := byID[id]
		g := c.gate(s.Type)
		b, amount := c.bucket(g, s.Customer, at), events.Count(1)
		switch {
		case g.Period == Rolling && at.Truncate(time.Hour).Before(c.o.Now.Add(-thirtyDays).Truncate(time.Hour)):
			amount = events.Value{}
		case g.Aggregate == Sum:
			amount = s.Amount
		case g.Aggregate == Unique:
			if members[b] == nil {
				members[b] = map[string]bool{}
			}
			if members[b][s.Member] {
				continue
			}
			members[b][s.Member] = true
		}
		totals[b] = add(totals[b], amount)
	}
	return totals
}

func add(a, b events.Value) events.Value {
	v, err := a.Add(b)
	if err != nil {
		panic(err) // the load sends no such amounts
	}
	return v
}

func (c *checker) gate(feature string) *Gate {
	return gateOf(c.gates, feature)
}

func gateOf(gates []Gate, feature string) *Gate {
	for i := range gates {
		if gates[i].Feature == feature {
			return &gates[i]
		}
	}
	return nil
}

// totals compares the windows with the expected usage.
func (c *checker) totals(what string, expected map[bucket]events.Value, windows []records.Window) {
	got := map[bucket]events.Value{}
	for i := range windows {
		w := &windows[i]
		g := c.gate(w.Feature)
		if g == nil {
			c.differ(what, w.Customer, w.Feature, "no gate has this feature")
			continue
		}
		b := c.bucketOf(g, w)
		got[b] = add(got[b], w.Used)
	}
	for _, b := range keys(expected, got) {
		if g := c.gate(b.feature); c.customers[b.customer].Paid && (g.Period == Rolling || g.Aggregate == Unique) {
			continue // a change of plan begins windows, which can't be added up
		}
		if want, have := expected[b], got[b]; want.Cmp(have) != 0 {
			c.differ(what, b.customer, strings.TrimSpace(b.feature+" "+b.begins), "holds %s, must hold %s", have, want)
		}
	}
}

func keys(maps ...map[bucket]events.Value) []bucket {
	var all []bucket
	for _, m := range maps {
		for b := range m {
			all = append(all, b)
		}
	}
	slices.SortFunc(all, func(a, b bucket) int {
		return strings.Compare(a.customer+"/"+a.feature+"/"+a.begins, b.customer+"/"+b.feature+"/"+b.begins)
	})
	return slices.Compact(all)
}
