package ingest

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidegate-io/tidegate/internal/audit"
	"github.com/tidegate-io/tidegate/internal/records"
)

// change is a change of a customer, on its way into the streams.
type change struct {
	account *records.Account
	reason  string // of the change, for its entries
	sees    bool   // whether its sender may read whose a Stripe customer is
	move    bool   // takes the Stripe customer from whose it is
	from    string // whose it is
	index   int    // in the batch
	// entries share an ID; there are none if it is about nothing that an operator sets.
	entries []audit.Entry
	// refused says why nothing of it was made: the Stripe customer is another's.
	refused *problem

	stored bool         // one of its messages was
	result audit.Result // of what was not stored
}

// id returns the ID of the entries, or "".
func (c *change) id() string {
	if len(c.entries) == 0 {
		return ""
	}
	return c.entries[0].ID
}

// apply makes changes of customers, with their entries in the audit log. It sets refused
// of those that would take a Stripe customer away, and makes the others.
func (s *Server) apply(r *http.Request, changes []*change) error {
	if err := s.checkClaims(r.Context(), changes); err != nil {
		return err
	}
	changes = notRefused(changes)
	entries := s.entriesOf(r, changes)
	return s.audited(r.Context(), entries, func(ctx context.Context) error {
		for _, c := range changes {
			if !c.account.Erase {
				continue
			}
			if err := s.audit.Erase(ctx, c.account.Customer); err != nil {
				return fmt.Errorf("%w: %w", ErrUnavailable, err)
			}
		}
		failed := s.publishAll(ctx, changes, s.mapMessage)
		if err := s.confirmClaims(ctx, changes); err != nil {
			failed = err
		}
		if err := s.publishAll(ctx, notRefused(changes), s.accountMessage); err != nil {
			failed = err
		}
		return partlyOf(changes, failed)
	})
}

func notRefused(changes []*change) []*change {
	left := make([]*change, 0, len(changes))
	for _, c := range changes {
		if c.refused == nil {
			left = append(left, c)
		}
	}
	return left
}

// publishAll stores a message of each change of which nothing has failed yet, many in
// flight at a time. It returns the last error, and sets the results of the changes.
func (s *Server) publishAll(ctx context.Context, changes []*change, message func(*change) (*nats.Msg, error)) (failed error) {
	ctx, cancel := context.WithTimeout(ctx, waitForStream)
	defer cancel()
	futures := make([]jetstream.PubAckFuture, len(changes))
	for i, c := range changes {
		if c.result != "" {
			continue
		}
		m, err := message(c)
		if err == nil && m != nil {
			if id := c.id(); id != "" {
				m.Header = nats.Header{audit.Header: {id}}
			}
			futures[i], err = s.JS.PublishMsgAsync(m, jetstream.WithStallWait(publishTimeout))
		}
		if err != nil {
			failed = c.fail(err, audit.Failed)
		}
	}
	for i, c := range changes {
		if futures[i] == nil {
			continue
		}
		select {
		case <-futures[i].Ok():
			c.stored = true
		case err := <-futures[i].Err():
			failed = c.fail(err, audit.ResultOf(err))
		case <-ctx.Done():
			failed = c.fail(fmt.Errorf("not acknowledged in %s", waitForStream), audit.Unknown)
		}
	}
	return failed
}

// fail notes that a message of the change was not stored.
func (c *change) fail(err error, result audit.Result) error {
	if c.result = result; c.stored { // its other message
		c.result = audit.Unknown
	}
	return fmt.Errorf("%w: %w", ErrUnavailable, err)
}

// partlyOf returns err as a *partly, which says what became of each change; nil for nil.
func partlyOf(changes []*change, err error) error {
	if err == nil {
		return nil
	}
	p := partly{error: err, results: map[string]audit.Result{}}
	for _, c := range changes {
		if id := c.id(); id != "" && c.result != "" {
			p.results[id] = c.result
		}
	}
	return &p
}

func (s *Server) accountMessage(c *change) (*nats.Msg, error) {
	body, err := json.Marshal(c.account)
	if err != nil {
		return nil, fmt.Errorf("encoding a change: %w", err)
	}
	return &nats.Msg{Subject: s.Names.Account(s.partitionOf(c.account.Customer)), Data: body}, nil
}
