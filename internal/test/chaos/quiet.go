package chaos

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// watcher compares an installation with what it must have until nothing differs.
type watcher struct {
	*installation
	customers []Customer
	sent      []Sent
	start     time.Time
	behind    map[string]time.Duration // difference → until when it was seen

	// From the last comparison:
	o     *Observed
	found []Difference
}

// compare compares and returns what differs.
func (c *watcher) compare(ctx context.Context) (state string, err error) {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	start := time.Now()
	o, err := c.observe(ctx, c.customers)
	if err != nil {
		c.note("cannot look: %v", err)
		c.found = []Difference{{What: "observation", Detail: err.Error()}}
		c.behind["observation"] = time.Since(c.start)
		return err.Error(), err
	}
	c.o, c.found = o, Check(gates, c.customers, c.sent, o)
	if len(c.found) == 0 {
		return "", nil
	}
	var all strings.Builder
	for _, d := range c.found {
		c.behind[d.What] = start.Sub(c.start)
		all.WriteString(d.String() + "\n")
	}
	err = fmt.Errorf("%d differences, such as %s, and %s", len(c.found), c.found[0], c.found[len(c.found)-1])
	c.note("not quiet: %.300s", err)
	return all.String(), err
}

func (c *watcher) sorted() (list []Behind) {
	for what, until := range c.behind {
		list = append(list, Behind{what, until})
	}
	slices.SortFunc(list, func(a, b Behind) int { return cmp.Or(cmp.Compare(a.Until, b.Until), cmp.Compare(a.What, b.What)) })
	return list
}

// patiently calls compare until nothing differs, or until the differences have not
// changed for the time patience: the test's database can be far behind after a long
// run. It pauses between calls, because comparing is work for all servers.
func patiently(ctx context.Context, compare func(context.Context) (state string, err error)) error {
	last, moved := "", time.Now()
	for {
		start := time.Now()
		state, err := compare(ctx)
		if err == nil {
			return nil
		}
		if state != last {
			last, moved = state, start
		}
		if time.Since(moved) > patience || !pause(ctx, min(max(500*time.Millisecond, time.Since(start)), 5*time.Second)) {
			return err
		}
	}
}
