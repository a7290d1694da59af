package ingest

import (
	"cmp"
	"context"
	"maps"
	"net/http"
	"slices"
	"time"

	"github.com/tidegate-io/tidegate/internal/audit"
	"github.com/tidegate-io/tidegate/internal/gate"
	"github.com/tidegate-io/tidegate/internal/guard"
	"github.com/tidegate-io/tidegate/internal/questions"
	"github.com/tidegate-io/tidegate/internal/records"
	"github.com/tidegate-io/tidegate/internal/stream"
)

// entriesOf compares changes with what holds, in their order. A plan, an anchor or a
// limit that holds already is taken out of its change: to say it again is no change.
func (s *Server) entriesOf(r *http.Request, changes []*change) (all []audit.Entry) {
	held, actor := s.settings(r.Context(), changes), s.actor(r)
	for _, change := range changes {
		a := change.account
		c := comparison{account: a, held: held[a.Customer], base: audit.Entry{ID: audit.NewID(), Actor: actor, Customer: a.Customer, Reason: change.reason}}
		c.compare()
		if change.from != "" { // who loses the Stripe customer has an entry, too
			c.base.Customer = change.from
			c.add(audit.CustomerStripe, "", audit.Value(nil), "", nil)
			c.entries[len(c.entries)-1].Before = audit.Value(*a.StripeCustomer)
		}
		change.entries = c.entries
		all = append(all, c.entries...)
	}
	return all
}

// operated reports whether a change is about something that an operator sets.
func operated(a *records.Account) bool {
	return !a.Erase && (a.Plan != nil || a.Anchor != nil || len(a.Overrides) > 0 || a.StripeCustomer != nil)
}

const (
	settingsTimeout = time.Second
	settingsAtOnce  = 200 // customers in a question
)

// settings asks the owners what holds for the customers of changes. A customer whose
// owner does not answer in time is not in the result: what held is not known then.
func (s *Server) settings(ctx context.Context, changes []*change) map[string]*questions.Settings {
	ids, seen := make([][]string, s.Partitions), map[string]bool{}
	for _, c := range changes {
		a := c.account
		if operated(a) && !seen[a.Customer] {
			seen[a.Customer] = true
			p := s.partitionOf(a.Customer)
			ids[p] = append(ids[p], a.Customer)
		}
	}
	type answer struct {
		ids  []string
		held []questions.Settings
	}
	ctx, cancel := context.WithTimeout(ctx, settingsTimeout)
	defer cancel()
	answers, asked := make(chan answer), 0
	for p := range ids {
		for part := range slices.Chunk(ids[p], settingsAtOnce) {
			asked++
			go func() {
				held, err := guard.Value(func() ([]questions.Settings, error) {
					return questions.SettingsOf.Ask(ctx, stream.Asker{NC: s.NC, Names: s.Names}, p, part)
				})
				if err != nil {
					s.notAsked(err)
				}
				answers <- answer{part, held}
			}()
		}
	}
	all := make(map[string]*questions.Settings, len(seen))
	for range asked {
		for a, i := <-answers, 0; i < len(a.held) && i < len(a.ids); i++ {
			all[a.ids[i]] = &a.held[i]
		}
	}
	return all
}

// comparison makes the entries of one change.
type comparison struct {
	account *records.Account
	held    *questions.Settings // nil: not known. It is kept up with the change
	base    audit.Entry
	entries []audit.Entry
}

func (c *comparison) compare() {
	a := c.account
	if a.Erase {
		c.add(audit.CustomerErase, "", nil, "", nil)
		return
	}
	c.plan()
	c.anchor()
	c.overrides()
	if a.StripeCustomer != nil { // never taken out: the subscription fold decides what it means
		c.add(audit.CustomerStripe, "", audit.Value(orNil(*a.StripeCustomer)), "", func(h *questions.Settings) any { return orNil(h.StripeCustomer) })
		if c.held != nil {
			c.held.StripeCustomer = *a.StripeCustomer
		}
	}
}

// add adds an entry. before is called only when it is known what held; nil: nothing
// did that could be said.
func (c *comparison) add(action audit.Action, feature string, after []byte, reason string, before func(*questions.Settings) any) {
	e := c.base
	e.Action, e.Feature, e.After, e.Reason = action, feature, after, cmp.Or(reason, c.base.Reason)
	if c.held != nil && before != nil {
		e.Before = audit.Value(before(c.held))
	}
	c.entries = append(c.entries, e)
}

// orNil returns nil for no text.
func orNil(s string) any {
	if s == "" {
		return nil
	}
	return s
}

func (c *comparison) plan() {
	plan := c.account.Plan
	if plan == nil {
		return
	}
	if c.held != nil && c.held.Pinned == plan.Name {
		c.account.Plan = nil
		return
	}
	c.add(audit.CustomerPlan, "", audit.Value(orNil(plan.Name)), "", func(h *questions.Settings) any { return h.Plan })
	if c.held != nil {
		c.held.Pinned = plan.Name
		if plan.Name != "" {
			c.held.Plan = plan.Name
		}
	}
}

func (c *comparison) anchor() {
	anchor := c.account.Anchor
	if anchor == nil {
		return
	}
	if c.held != nil && c.held.Anchor != nil && c.held.Anchor.Equal(*anchor) {
		c.account.Anchor = nil
		return
	}
	c.add(audit.CustomerAnchor, "", audit.Value(anchor), "", func(h *questions.Settings) any { return h.Anchor })
	if c.held != nil {
		c.held.Anchor = anchor
	}
}

func (c *comparison) overrides() {
	for _, feature := range slices.Sorted(maps.Keys(c.account.Overrides)) {
		o := c.account.Overrides[feature]
		var had *gate.Override
		if c.held != nil {
			if before, there := c.held.Overrides[feature]; there {
				had = &before
			}
			if holds(had, o) {
				delete(c.account.Overrides, feature)
				continue
			}
		}
		reason := ""
		if o != nil {
			reason = o.Reason
		}
		c.add(audit.CustomerOverride, feature, audit.Value(shownOverride(o)), reason, func(*questions.Settings) any { return shownOverride(had) })
		if c.held != nil {
			c.held.Overrides = maps.Clone(c.held.Overrides)
			delete(c.held.Overrides, feature)
			if o != nil {
				if c.held.Overrides == nil {
					c.held.Overrides = map[string]gate.Override{}
				}
				c.held.Overrides[feature] = *o
			}
		}
	}
}

// holds reports whether an override is already there. One that grants uses never is: it
// counts from the moment at which it is given.
func holds(had, o *gate.Override) bool {
	if had == nil || o == nil {
		return had == nil && o == nil
	}
	sameLimit := had.Unlimited && o.Unlimited || had.Limit != nil && o.Limit != nil && *had.Limit == *o.Limit
	return had.Grant == nil && o.Grant == nil && sameLimit && had.Reason == o.Reason &&
		(had.Until == nil) == (o.Until == nil) && (o.Until == nil || had.Until.Equal(*o.Until))
}

// shownOverride returns an override as it stands in an entry: without its reason, which
// may be erased.
func shownOverride(o *gate.Override) *gate.Override {
	if o == nil {
		return nil
	}
	return &gate.Override{Limit: o.Limit, Unlimited: o.Unlimited, Grant: o.Grant, Until: o.Until}
}
