package chaos

import (
	"fmt"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

func (r *Report) count(sent []Sent, o *Observed) {
	stored := map[string]bool{}
	for i := range o.Stored {
		stored[o.Stored[i].ID] = true
	}
	for i := range sent {
		r.Events++
		r.Duplicates += sent[i].Times - 1
		if slices.ContainsFunc(sent[i].Via, func(via string) bool { return via != sent[i].Via[0] }) {
			r.Across++
		}
		if len(sent[i].Claimed) > 1 {
			r.Mistimed++
		}
		switch {
		case sent[i].Outcome == Accepted:
			r.Accepted++
		case stored[sent[i].ID]:
			r.Unknown++
			r.Landed++
		default:
			r.Unknown++
		}
	}
	blocked := map[string]bool{}
	for _, p := range o.Puts {
		blocked[p.Key] = !p.Decision.Allowed
	}
	for _, b := range blocked {
		if b {
			r.Blocked++
		}
	}
	r.Decisions, r.Mails, r.Snapshots, r.Dead, r.Converted = len(o.Puts), len(o.Mails), o.Snapshots, len(o.Dead), len(o.Converted)
}

func (r *Report) store() string {
	if r.Database == nil {
		return "NATS"
	}
	return "a server of MongoDB's protocol"
}

// String returns the report as a table.
func (r *Report) String() string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 4, 2, ' ', 0)
	row := func(name string, v any) { _, _ = fmt.Fprintf(w, "%s\t%v\n", name, v) }
	row("seed", r.Seed)
	row("brokers", r.Brokers)
	row("documents in", r.store())
	row("processes", r.Processes)
	kinds := make([]Kind, 0, len(r.Injected))
	total := 0
	for k, n := range r.Injected {
		kinds = append(kinds, k)
		total += n
	}
	slices.Sort(kinds)
	row("faults", total)
	for _, k := range kinds {
		row("  "+string(k), r.Injected[k])
	}
	row("events", r.Events)
	row("  acknowledged", r.Accepted)
	row("  of unknown outcome", fmt.Sprintf("%d, of which %d were stored", r.Unknown, r.Landed))
	row("duplicates sent", r.Duplicates)
	row("  events sent on several ways", r.Across)
	row("  events sent with several times", r.Mistimed)
	row("decisions put", r.Decisions)
	row("customers and features blocked", r.Blocked)
	row("mails", r.Mails)
	row("conversions", r.Converted)
	row("dead letters", r.Dead)
	row("snapshots in the logs", r.Snapshots)
	row("took", r.Took.Round(time.Millisecond))
	row("quiet after", r.Quiet.Round(time.Millisecond))
	for _, b := range r.Behind {
		row("  "+b.What, b.Until.Round(time.Millisecond))
	}
	row("differences", len(r.Found))
	_ = w.Flush()
	for _, d := range r.Found {
		b.WriteString("  " + d.String() + "\n")
	}
	return b.String()
}
