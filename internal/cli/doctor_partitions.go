package cli

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tidegate-io/tidegate/internal/app"
	"github.com/tidegate-io/tidegate/internal/stream"
)

// owners says who owns what, and names partitions that nobody owns.
func (c *doctorCmd) owners(e *env, ctx context.Context) (string, string) {
	l, err := c.connect(e)
	if err != nil {
		return stateSkipped, "NATS is not reachable"
	}
	defer l.close()
	missing, owners, err := app.Unowned(ctx, l.js, l.names, l.partitions)
	switch {
	case err != nil:
		return stateFailed, err.Error()
	case len(missing) == 0:
		return stateOK, ownership(owners)
	case missing[0].Role == stream.RoleNotifier: // it is the last one
		return stateWarning, "mails and conversions wait, " + app.NobodyOwns(missing) + "; " + ownership(owners)
	}
	return stateFailed, app.NobodyOwns(missing)
}

// ownership says which process owns which partitions.
func ownership(owners map[string]string) string {
	byHolder := map[string]map[string][]int{}
	for key, holder := range owners {
		role, p, _ := strings.Cut(key, ".")
		n, err := strconv.Atoi(p)
		if err != nil {
			continue
		}
		if byHolder[holder] == nil {
			byHolder[holder] = map[string][]int{}
		}
		byHolder[holder][role] = append(byHolder[holder][role], n)
	}
	var parts []string
	for _, holder := range slices.Sorted(maps.Keys(byHolder)) {
		text := holder + " has"
		for _, role := range slices.Sorted(maps.Keys(byHolder[holder])) {
			ps := byHolder[holder][role]
			slices.Sort(ps)
			text += fmt.Sprintf(" %s %s", role, strings.Trim(strings.ReplaceAll(fmt.Sprint(ps), " ", ","), "[]"))
		}
		parts = append(parts, text)
	}
	return strings.Join(parts, "; ")
}

// slow is a lag that deserves a warning: no owner's death explains it.
const slow = 30 * time.Second

// lag says which partitions have something waiting, and for how long.
func (c *doctorCmd) lag(e *env, ctx context.Context) (string, string) {
	return c.waiting(e, ctx, "in every partition everything is handled", func(p *stream.Progress) (string, uint64, time.Duration) {
		return fmt.Sprintf("%s.%d", p.Role, p.Partition), p.Pending, p.Lag
	})
}

// documents says which collections lack the newest changes.
func (c *doctorCmd) documents(e *env, ctx context.Context) (string, string) {
	return c.waiting(e, ctx, "every document is written", func(p *stream.Progress) (string, uint64, time.Duration) {
		d := app.DocumentsOf(p)
		if d == nil {
			return "", 0, 0
		}
		return fmt.Sprintf("%s of partition %d", d.Collection, p.Partition), uint64(d.Waiting), d.Oldest
	})
}

// shown is how many of those that wait are named.
const shown = 20

// waiting asks the owners of all partitions, and names those where something
// waits, the longest first.
func (c *doctorCmd) waiting(e *env, ctx context.Context, none string, of func(*stream.Progress) (string, uint64, time.Duration)) (string, string) {
	l, err := c.connect(e)
	if err != nil {
		return stateSkipped, "NATS is not reachable"
	}
	defer l.close()
	answers, silent := app.AskProgress(ctx, l.nc, l.names, l.partitions)
	if len(answers) == 0 {
		return stateSkipped, "no owner of a partition answers"
	}
	type wait struct {
		text string
		age  time.Duration
	}
	var waits []wait
	for i := range answers {
		if name, n, age := of(&answers[i]); n > 0 {
			waits = append(waits, wait{fmt.Sprintf("%s: %d wait, the oldest for %v", name, n, age.Round(time.Millisecond)), age})
		}
	}
	slices.SortFunc(waits, func(a, b wait) int { return cmp.Or(cmp.Compare(b.age, a.age), cmp.Compare(a.text, b.text)) })
	state := stateOK
	texts := []string{}
	for i, w := range waits {
		if w.age > slow {
			state = stateWarning
		}
		if i < shown {
			texts = append(texts, w.text)
		}
	}
	if more := len(waits) - len(texts); more > 0 {
		texts = append(texts, fmt.Sprintf("and %d more", more))
	}
	if len(waits) == 0 {
		texts = append(texts, none)
	}
	if len(silent) > 0 {
		state = stateWarning
		texts = append(texts, "no answer from the owners of "+strings.Join(silent, ", "))
	}
	return state, strings.Join(texts, "; ")
}
