package chaos

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"
)

// calm watches how an installation becomes quiet.
type calm struct {
	*installation
	customers []Customer
	sent      []Sent
	start     time.Time
	behind    map[string]time.Duration // by what differed: until when

	// As seen last:
	o     *Observed
	found []Difference
}

// look compares, and says what differs.
func (c *calm) look(ctx context.Context) (state string, err error) {
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

func (c *calm) sorted() (list []Behind) {
	for what, until := range c.behind {
		list = append(list, Behind{what, until})
	}
	slices.SortFunc(list, func(a, b Behind) int { return cmp.Or(cmp.Compare(a.Until, b.Until), cmp.Compare(a.What, b.What)) })
	return list
}

// patiently looks until there is nothing left to wait for, or until what there
// is has not changed for as long as patience lasts: the test's database can be
// far behind after a long run. It does not look all the time, for a look is
// work for everyone.
func patiently(ctx context.Context, look func(context.Context) (state string, err error)) error {
	last, moved := "", time.Now()
	for {
		start := time.Now()
		state, err := look(ctx)
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
