package ingest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/gate"
	"github.com/tidegate-io/tidegate/internal/records"
	"github.com/tidegate-io/tidegate/internal/stream"
)

// ownerTimeout is how long an owner's answer is waited for before the
// documents have to do.
const ownerTimeout = 2 * time.Second

// The roles that are asked.
const (
	aggregatorRole = "aggregator"
	enforcerRole   = "enforcer"
)

// usageOf is an aggregator's answer.
type usageOf struct {
	Windows []records.Window `json:"windows"`
	AsOf    time.Time        `json:"as_of"`

	exact bool // includes everything stored until the question
}

// standing is an enforcer's answer.
type standing struct {
	Known     bool              `json:"known"` // by usage or by an account record
	Customer  records.Customer  `json:"customer"`
	Decisions []events.Decision `json:"decisions"`
}

// ask puts a question about a customer to the owner of its partition, who
// answers after having processed everything that was stored before.
func (s *Server) ask(ctx context.Context, role, customer string, answer any) error {
	return s.askOwner(ctx, role, events.PartitionOf(customer, s.Partitions), map[string]string{"customer": customer}, answer)
}

func (s *Server) askOwner(ctx context.Context, role string, partition int, question, answer any) error {
	if !s.NC.IsConnected() { // a request would wait in vain
		return fmt.Errorf("asking the %s: not connected", role)
	}
	ctx, cancel := context.WithTimeout(ctx, ownerTimeout)
	defer cancel()
	body, err := json.Marshal(question)
	if err != nil {
		return err
	}
	m := nats.NewMsg(s.Names.Query(role, partition))
	m.Header.Set(stream.FreshHeader, "1")
	m.Data = body
	reply, err := s.NC.RequestMsgWithContext(ctx, m)
	if err != nil {
		return fmt.Errorf("asking the %s: %w", role, err)
	}
	if why := reply.Header.Get("Error"); why != "" {
		return fmt.Errorf("asking the %s: %s", role, why)
	}
	if err := json.Unmarshal(reply.Data, answer); err != nil {
		return fmt.Errorf("asking the %s: %w", role, err)
	}
	return nil
}

// usage is a customer's windows: the owner's, else the documents'.
func (s *Server) usage(ctx context.Context, customer string) (u usageOf, err error) {
	if err = s.ask(ctx, aggregatorRole, customer, &u); err == nil {
		u.exact = true
		return u, nil
	}
	s.notAsked(err)
	u = usageOf{}
	u.Windows, err = s.Store.Usage(ctx, customer)
	for _, w := range u.Windows {
		if w.LastAt.After(u.AsOf) {
			u.AsOf = w.LastAt
		}
	}
	return u, err
}

// standing is what is known of a customer: from the owner, else from the
// documents and the cache.
func (s *Server) standing(ctx context.Context, customer string) (st standing, err error) {
	if err = s.ask(ctx, enforcerRole, customer, &st); err == nil {
		return st, nil
	}
	s.notAsked(err)
	st = standing{}
	if st.Customer, st.Known, err = s.Store.Customer(ctx, customer); err != nil {
		return st, err
	}
	catalog := s.Catalog()
	for i := range catalog.Gates {
		if d := s.Decisions.Check(customer, catalog.Gates[i].Feature); d.Reason != events.NoDecision {
			st.Decisions = append(st.Decisions, d)
		}
	}
	return st, nil
}

func (s *Server) notAsked(err error) {
	if !errors.Is(err, context.Canceled) {
		s.Log.Debug("owner did not answer, documents have to do", slog.Any("error", err))
	}
}

// current picks the window of a feature that contains now; rolling gates have
// only one.
func current(windows []records.Window, feature string, now time.Time) (records.Window, bool) {
	for _, w := range windows {
		if w.Feature == feature && isCurrent(&w, now) {
			return w, true
		}
	}
	return records.Window{}, false
}

func isCurrent(w *records.Window, now time.Time) bool {
	return w.Start.IsZero() || !now.Before(w.Start) && now.Before(w.End)
}

// span returns the start and end of a window as decisions show them; zero where
// there is none. A rolling window has no end and begins later all the time; its
// document is dated by when it was written.
func span(g *gate.Gate, w *records.Window, now time.Time) (start, end time.Time) {
	switch {
	case !w.Start.IsZero():
		return w.Start, w.End
	case w.End.IsZero() || g.Window.Kind != gate.Rolling: // none, or of a former configuration
		return time.Time{}, time.Time{}
	}
	return now.Add(-g.Window.Length()).Truncate(time.Millisecond), time.Time{}
}
