package ingest

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"net/http"
	"slices"

	"github.com/nats-io/nats.go"

	"github.com/tidegate-io/tidegate/internal/audit"
	"github.com/tidegate-io/tidegate/internal/stream"
	"github.com/tidegate-io/tidegate/internal/stripe/fold"
)

// claimed returns the Stripe customer that the change maps, or "".
func (c *change) claimed() string {
	if c.account.StripeCustomer == nil {
		return ""
	}
	return *c.account.StripeCustomer
}

// mapMessage tells the subscription fold which Stripe customer belongs to ours; "":
// none any more. It returns nil when the change says nothing of that.
func (s *Server) mapMessage(c *change) (*nats.Msg, error) {
	if c.account.StripeCustomer == nil {
		return nil, nil
	}
	m := fold.Mapping{Customer: c.account.Customer, StripeCustomer: c.claimed()}
	m.UnlessTaken = m.StripeCustomer != "" && !c.move
	body, err := json.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("encoding a mapping: %w", err)
	}
	return &nats.Msg{Subject: s.Names.Billing(string(fold.KindMap)), Data: body}, nil
}

// checkClaims refuses the changes that would take a Stripe customer from whose it is
// without saying so. A Stripe customer that is already mapped so is taken out of its
// change.
func (s *Server) checkClaims(ctx context.Context, changes []*change) error {
	claims, err := s.claims(ctx, changes)
	if err != nil {
		return err
	}
	for _, c := range changes {
		id := c.claimed()
		claim, there := claims[id]
		if id == "" || !there {
			continue
		}
		switch other := claim.TakenFrom(c.account.Customer); {
		case other == "":
		case c.move:
			c.from = other
		default:
			c.refused = c.taken(other)
		}
		if claim.Mapped == c.account.Customer {
			c.account.StripeCustomer = nil
		}
	}
	return nil
}

// confirmClaims refuses the changes whose Stripe customer went to another customer since
// checkClaims: the fold decides, by the order of the records.
func (s *Server) confirmClaims(ctx context.Context, changes []*change) error {
	claims, err := s.claims(ctx, changes)
	if err != nil {
		for _, c := range changes {
			if c.claimed() != "" {
				_ = c.fail(err, audit.Unknown)
			}
		}
		return err
	}
	var lost []audit.Outcome
	for _, c := range changes {
		claim := claims[c.claimed()]
		other := claim.TakenFrom(c.account.Customer)
		if other == "" || c.move || c.result != "" {
			continue
		}
		c.refused = c.taken(other)
		lost = append(lost, outcomes(c.entries, &partly{error: c.refused, results: map[string]audit.Result{c.id(): audit.Failed}})...)
	}
	s.audit.Mark(ctx, lost)
	return nil
}

// taken returns why the change may not have its Stripe customer, which is another's.
func (c *change) taken(other string) *problem {
	const hint = "send \"move\": true beside it to take it from there"
	if !c.sees {
		return &problem{Status: http.StatusConflict, Detail: fmt.Sprintf("`stripe_customer` %s belongs to another customer: %s", c.claimed(), hint)}
	}
	return &problem{Status: http.StatusConflict, More: map[string]any{"belongs_to": other},
		Detail: fmt.Sprintf("`stripe_customer` %s belongs to the customer %q: %s", c.claimed(), other, hint)}
}

// claims asks the fold whose the Stripe customers of changes are.
func (s *Server) claims(ctx context.Context, changes []*change) (map[string]fold.Claim, error) {
	asked := map[string]bool{}
	for _, c := range changes {
		if id := c.claimed(); id != "" {
			asked[id] = true
		}
	}
	all := map[string]fold.Claim{}
	for ids := range slices.Chunk(slices.Sorted(maps.Keys(asked)), fold.MaxClaims) {
		some, err := askOwner(ctx, s, fold.ClaimsQuestion, 0, ids)
		switch {
		case errors.Is(err, stream.ErrUnknownQuestion):
			return nil, unavailable("the process that folds Stripe's events has another version: update it")
		case err != nil:
			s.Log.Debug("the subscription fold did not answer", slog.Any("error", err))
			return nil, unavailable("whose the Stripe customer is cannot be asked now: try again, and see that a process with the role enforcer runs")
		}
		maps.Copy(all, some)
	}
	return all, nil
}
