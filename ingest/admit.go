package ingest

import (
	"context"
	"hash/maphash"
	"slices"
	"time"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/gate"
	"github.com/tidegate-io/tidegate/internal/limit"
)

// admit takes those events away that the key may not send: of too many new customers,
// and of too many types that no gate meters. It returns the answer to a caller who
// sent such events; nil for others. Events that nothing meters bring no customer.
func (s *Server) admit(ctx context.Context, u *keyUse, c *gate.Catalog, in *intake) *problem {
	of := s.bounds.of()
	metered := meteredTypes{of: c}
	had := len(in.good)
	var over *problem
	if most := of.NewTypesPerHour; most > 0 && !metered.all(in.good) {
		in.good = slices.DeleteFunc(in.good, func(e events.Event) bool {
			return !metered.has(e.Type) && !u.types.admit(s.bounds.since(), maphash.String(typeSeed, e.Type), most)
		})
		if len(in.good) < had {
			over = s.exceeded("new_types_per_hour", keyCalled(u.name), most, "types an hour that no gate meters (is an id in the type?)",
				time.Hour-s.bounds.since()%time.Hour)
		}
	}
	if most := of.NewCustomersPerHour; s.bounds.users.watching(most) {
		refused := s.bounds.users.refuse(ctx, &u.users, most, func(yield func(string) bool) {
			for i := range in.good {
				if metered.has(in.good[i].Type) && !yield(in.good[i].Subject) {
					return
				}
			}
		})
		if len(refused) > 0 {
			in.good = slices.DeleteFunc(in.good, func(e events.Event) bool { return refused[e.Subject] && metered.has(e.Type) })
			over = s.newCustomersExceeded(u, most)
		}
	}
	if over != nil {
		over.More["accepted"], over.More["refused"] = len(in.good), had-len(in.good)
	}
	return over
}

// admitCustomers returns an error if some of the customers are new to n, and more than
// the key may bring, which bucket has.
func (s *Server) admitCustomers(ctx context.Context, n *newcomers, u *keyUse, bucket *limit.Bucket, ids ...string) error {
	most := s.bounds.of().NewCustomersPerHour
	if !n.watching(most) || len(n.refuse(ctx, bucket, most, slices.Values(ids))) == 0 {
		return nil
	}
	return s.newCustomersExceeded(u, most)
}

func (s *Server) newCustomersExceeded(u *keyUse, most int) *problem {
	return s.exceeded("new_customers_per_hour", keyCalled(u.name), most, "new customers an hour", newcomerRetry)
}

var typeSeed = maphash.MakeSeed()

// meteredTypes says which types a gate meters. Most events have the type of the one
// before.
type meteredTypes struct {
	of   *gate.Catalog
	last string
	is   bool
}

func (m *meteredTypes) has(name string) bool {
	if name != m.last || name == "" {
		m.last = name
		m.is = slices.ContainsFunc(m.of.Gates, func(g gate.Gate) bool { return g.Meter.Event == name })
	}
	return m.is
}

func (m *meteredTypes) all(list []events.Event) bool {
	for i := range list {
		if !m.has(list[i].Type) {
			return false
		}
	}
	return true
}

// unmetered returns the types that no gate meters, once each, a hundred at most. Most
// of them are typing errors.
func (m *meteredTypes) unmetered(list []events.Event) []string {
	var unknown []string
	for i := range list {
		if name := list[i].Type; !m.has(name) && !slices.Contains(unknown, name) {
			if unknown = append(unknown, name); len(unknown) == 100 {
				break
			}
		}
	}
	return unknown
}
