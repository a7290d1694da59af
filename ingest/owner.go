package ingest

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/gate"
	"github.com/tidegate-io/tidegate/internal/questions"
	"github.com/tidegate-io/tidegate/internal/records"
	"github.com/tidegate-io/tidegate/internal/stream"
)

// ownerTimeout bounds how long a question waits for the owner before it is answered
// from the documents.
const ownerTimeout = 2 * time.Second

// usageOf is a customer's windows, from the aggregator or from the documents.
type usageOf struct {
	Windows []records.Window `json:"windows"`
	AsOf    time.Time        `json:"as_of"`

	exact bool // includes everything stored until the question
}

// standing is what is known of a customer, from the enforcer or from the
// documents.
type standing = questions.Standing

// ask puts a question about a customer to the owner of the customer's partition.
func ask[Resp any](ctx context.Context, s *Server, q stream.Question[string, Resp], customer string) (Resp, error) {
	return askOwner(ctx, s, q, events.PartitionOf(customer, s.Partitions), customer)
}

// askOwner puts a question to an owner, who has ownerTimeout to answer.
func askOwner[Req, Resp any](ctx context.Context, s *Server, q stream.Question[Req, Resp], partition int, req Req) (Resp, error) {
	ctx, cancel := context.WithTimeout(ctx, ownerTimeout)
	defer cancel()
	return q.Ask(ctx, stream.Asker{NC: s.NC, Names: s.Names}, partition, req)
}

// usage returns a customer's windows: from the owner, else from the documents.
func (s *Server) usage(ctx context.Context, customer string) (u usageOf, err error) {
	answer, err := ask(ctx, s, questions.UsageOf, customer)
	if err == nil {
		return usageOf{Windows: answer.Windows, AsOf: answer.AsOf, exact: true}, nil
	}
	s.notAsked(err)
	u.Windows, err = s.Store.Usage(ctx, customer)
	for _, w := range u.Windows {
		if w.LastAt.After(u.AsOf) {
			u.AsOf = w.LastAt
		}
	}
	return u, err
}

// standing returns what is known of a customer: from the owner, else from the
// documents and the cache.
func (s *Server) standing(ctx context.Context, customer string) (st standing, err error) {
	if st, err = ask(ctx, s, questions.StandingOf, customer); err == nil {
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

// current returns the window of a feature that contains now. A rolling gate has
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
