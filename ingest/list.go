package ingest

import (
	"context"
	"encoding/base64"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/gate"
	"github.com/tidegate-io/tidegate/internal/records"
)

// Bounds of a list.
const (
	defaultPage  = 100
	largestPage  = 1000
	scanPage     = 2000   // documents read at a time
	scanDocsMost = 20_000 // documents looked at for one page
)

// filter selects the customers of a list.
type filter struct {
	near    int   // percent of a limit; 0: any
	blocked *bool // some feature may not be used; nil: any
	plan    string
	idle    time.Duration // paying, without usage for so long; 0: any
	limit   int
	cursor  cursor
}

// cursor is where a list goes on: first in the customers' documents, then in the
// usage of customers who have no document.
type cursor struct {
	usage bool
	after string
}

func (c cursor) String() string {
	kind := "c"
	if c.usage {
		kind = "u"
	}
	return base64.RawURLEncoding.EncodeToString([]byte(kind + c.after))
}

func parseFilter(q url.Values) (filter, error) {
	f := filter{plan: q.Get("plan"), limit: defaultPage}
	if v := q.Get("near"); v != "" {
		n, err := events.ParseValue(v)
		if err != nil || n.Sign() <= 0 || n.Cmp(events.Count(1)) > 0 || n.Nanos%10_000_000 != 0 {
			return f, badRequest("`near` %.20q is not a part of a limit with at most two decimals, such as 0.8", v)
		}
		f.near = int(n.Units)*100 + int(n.Nanos/10_000_000)
	}
	if v := q.Get("blocked"); v != "" {
		blocked, err := strconv.ParseBool(v)
		if err != nil {
			return f, badRequest("`blocked` %.20q is neither true nor false", v)
		}
		f.blocked = &blocked
	}
	if v := q.Get("idle"); v != "" {
		days, err := strconv.Atoi(strings.TrimSuffix(v, "d"))
		if err != nil || !strings.HasSuffix(v, "d") || days < 1 || days > 3660 {
			return f, badRequest("`idle` %.20q is not a number of days such as 14d", v)
		}
		f.idle = time.Duration(days) * 24 * time.Hour
	}
	if v := q.Get("limit"); v != "" {
		n, err := strconv.Atoi(v)
		if err != nil || n < 1 || n > largestPage {
			return f, badRequest("`limit` %.20q is not a number from 1 to %d", v, largestPage)
		}
		f.limit = n
	}
	if v := q.Get("cursor"); v != "" {
		b, err := base64.RawURLEncoding.DecodeString(v)
		if err != nil || len(b) == 0 || b[0] != 'c' && b[0] != 'u' {
			return f, badRequest("`cursor` is not one that a list gave out")
		}
		f.cursor = cursor{usage: b[0] == 'u', after: string(b[1:])}
	}
	return f, nil
}

func (s *Server) listCustomers(w http.ResponseWriter, r *http.Request) error {
	f, err := parseFilter(r.URL.Query())
	if err != nil {
		return err
	}
	l := lister{s: s, filter: f, catalog: s.Catalog(), now: s.Now(), found: []view{}, budget: scanDocsMost}
	next, err := l.run(r.Context())
	if err != nil {
		return err
	}
	answer := map[string]any{"customers": l.found}
	if next != "" {
		answer["next"] = next
	}
	return writeJSON(w, http.StatusOK, answer)
}

// lister collects one page.
type lister struct {
	s *Server
	filter
	catalog *gate.Catalog
	now     time.Time
	found   []view
	budget  int
}

// run returns the cursor of the next page, or "" at the end. A page may be short,
// as one request reads a bounded number of documents.
func (l *lister) run(ctx context.Context) (next string, err error) {
	if !l.cursor.usage {
		done, err := l.customers(ctx)
		if err != nil || !done {
			return l.cursor.String(), err
		}
		l.cursor = cursor{usage: true}
		if l.idle > 0 { // paying customers have documents
			return "", nil
		}
	}
	done, err := l.undocumented(ctx)
	if err != nil || !done {
		return l.cursor.String(), err
	}
	return "", nil
}

func (l *lister) full() bool { return len(l.found) >= l.limit || l.budget <= 0 }

func (l *lister) customers(ctx context.Context) (done bool, err error) {
	for {
		list, err := l.s.Store.Customers(ctx, l.cursor.after, scanPage)
		if err != nil || len(list) == 0 {
			return true, err
		}
		for i := range list {
			if l.full() {
				return false, nil
			}
			l.cursor.after = list[i].ID
			l.budget--
			if err := l.consider(ctx, &list[i]); err != nil {
				return false, err
			}
		}
	}
}

// undocumented lists the customers who are known by their usage alone.
func (l *lister) undocumented(ctx context.Context) (done bool, err error) {
	for {
		list, err := l.s.Store.UsageAfter(ctx, l.cursor.after, scanPage)
		if err != nil || len(list) == 0 {
			return true, err
		}
		for i := range list {
			if l.full() {
				return false, nil
			}
			l.cursor.after = list[i].ID()
			l.budget--
			if err := l.considerUsage(ctx, &list[i]); err != nil {
				return false, err
			}
		}
	}
}

// considerUsage shows a customer once: at the first of its running windows.
func (l *lister) considerUsage(ctx context.Context, w *records.Window) error {
	if l.plan != "" && l.plan != l.catalog.Default().Name {
		return nil
	}
	all, err := l.s.Store.Usage(ctx, w.Customer)
	if err != nil {
		return err
	}
	for i := range all {
		if all[i].Current && all[i].ID() < w.ID() {
			return nil
		}
	}
	if _, known, err := l.s.Store.Customer(ctx, w.Customer); err != nil || known {
		return err
	}
	l.show(&records.Customer{ID: w.Customer}, all)
	return nil
}

func (l *lister) consider(ctx context.Context, c *records.Customer) error {
	p := l.catalog.Plan(c.Plan)
	if l.plan != "" && p.Name != l.plan || l.idle > 0 && !p.Paid {
		return nil
	}
	windows, err := l.s.Store.Usage(ctx, c.ID)
	if err != nil {
		return err
	}
	if l.idle > 0 && slices.ContainsFunc(windows, func(w records.Window) bool { return l.now.Sub(w.LastAt) < l.idle }) {
		return nil
	}
	l.show(c, windows)
	return nil
}

func (l *lister) show(c *records.Customer, windows []records.Window) {
	st := standing{Customer: *c}
	for i := range l.catalog.Gates {
		if d := l.s.Decisions.Check(c.ID, l.catalog.Gates[i].Feature); d.Reason != events.NoDecision {
			st.Decisions = append(st.Decisions, d)
		}
	}
	v := l.s.compose(l.catalog, c.ID, st, usageOf{Windows: windows})
	if l.near > 0 && !slices.ContainsFunc(v.Usage, l.isNear) {
		return
	}
	if l.blocked != nil && *l.blocked != slices.ContainsFunc(v.Decisions, func(d events.Decision) bool { return !d.Allowed }) {
		return
	}
	l.found = append(l.found, v)
}

func (l *lister) isNear(u usageView) bool {
	return u.Limit.Valid && u.Limit.Sign() > 0 && u.Used.Cmp(u.Limit.Percent(l.near)) >= 0
}
