package cli

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/tidegate-io/tidegate/internal/environ"
	"github.com/tidegate-io/tidegate/internal/stream"
	"github.com/tidegate-io/tidegate/internal/stripe/fold"
)

// named is how many Stripe customers and prices the doctor names.
const named = 5

// billing says what of Stripe leads nowhere: customers that are nobody's, prices
// without a plan, and thin events that nobody can look into.
func (c *doctorCmd) billing(e *env, ctx context.Context) (string, string) {
	l, err := c.connect(e)
	if err != nil {
		return stateSkipped, "NATS is not reachable"
	}
	defer l.close()
	report, err := fold.ReportQuestion.Ask(ctx, l.asker(), 0, fold.Page{Limit: named})
	switch {
	case errors.Is(err, stream.ErrUnknownQuestion):
		return stateFailed, "the process with the role enforcer has another version: update it"
	case errors.Is(err, stream.ErrNotOwned), errors.Is(err, stream.ErrNoAnswer):
		return stateSkipped, "nobody runs the enforcer, which knows"
	case err != nil:
		return stateFailed, err.Error()
	}
	key, err := environ.Lookup("STRIPE_SECRET_KEY")
	if err != nil {
		return stateFailed, err.Error()
	}
	return judge(&report, key != "")
}

func judge(r *fold.Report, hasKey bool) (string, string) {
	var found []string
	if r.Total > 0 {
		var ids []string
		for _, u := range r.Customers {
			id := u.StripeCustomer
			if u.Email != "" {
				id += " (" + u.Email + ")"
			}
			ids = append(ids, id)
		}
		found = append(found, fmt.Sprintf("%s nobody's: %s: PUT /v1/customers/{id} with stripe_customer (all: GET /v1/stripe/unmapped)",
			number(r.Total, "Stripe customer is", "Stripe customers are"), some(ids, r.Total)))
	}
	if n := len(r.Prices); n > 0 {
		var ids []string
		for _, p := range r.Prices[:min(n, named)] {
			ids = append(ids, fmt.Sprintf("%s (%s)", p.Price, number(p.Count, "customer", "customers")))
		}
		found = append(found, fmt.Sprintf("%s to no plan: %s: list them under plans.<plan>.stripe, or give a plan any_subscription",
			number(n, "price leads", "prices lead"), some(ids, n)))
	}
	if r.Thin != nil && !hasKey {
		found = append(found, fmt.Sprintf("%s came, the last %s, which don't hold their objects: set STRIPE_SECRET_KEY, or let the endpoint send snapshots",
			number(int(r.Thin.Count), "thin event", "thin events"), r.Thin.Last.UTC().Format("2006-01-02 15:04")))
	}
	if len(found) > 0 {
		return stateWarning, strings.Join(found, "; ")
	}
	return stateOK, "every Stripe customer is somebody's, every price leads to a plan"
}

func number(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

func some(ids []string, total int) string {
	text := strings.Join(ids, ", ")
	if total > len(ids) {
		text += ", …"
	}
	return text
}
