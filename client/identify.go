package client

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/tidegate-io/tidegate/events"
)

// Customer is what an app tells of a customer. Empty fields change nothing.
type Customer struct {
	ID             string // the app's id, as in Usage; required
	Email          string // where an upgrade prompt goes
	Locale         string // such as "de" or "pt-BR": the language of mails
	StripeCustomer string // Stripe's id, such as cus_123
	Anchor         time.Time
}

// Identify tells Tidegate about a customer. It returns when the message is stored,
// or with an error after which the app may try again. It waits for the first sync,
// as the gates say how many partitions there are.
func (c *Client) Identify(ctx context.Context, one Customer) error {
	if c.disabled {
		return nil
	}
	if c.closing.Load() {
		return ErrClosed
	}
	if err := events.ValidateCustomer(one.ID); err != nil {
		return err
	}
	select {
	case <-c.synced:
	case <-ctx.Done():
		return fmt.Errorf("identify: not yet synced with Tidegate: %w", ctx.Err())
	case <-c.workers.ctx.Done():
		return ErrClosed
	}
	a := events.Identity{Customer: one.ID, Email: some(one.Email), Locale: some(one.Locale), StripeCustomer: some(one.StripeCustomer)}
	if !one.Anchor.IsZero() {
		at := one.Anchor.UTC()
		a.Anchor = &at
	}
	if c.remote != nil {
		if err := c.remote.identify(ctx, a); err != nil {
			return fmt.Errorf("identify: %w", err)
		}
		return nil
	}
	body, err := json.Marshal(a)
	if err != nil {
		return fmt.Errorf("identify: %w", err)
	}
	p := events.PartitionOf(one.ID, len(*c.queues.Load()))
	err = c.publish(ctx, c.names.Account(p), "application/json", body)
	if err == nil && one.StripeCustomer != "" { // the fold of subscriptions must know it, too
		if body, err = json.Marshal(mapping{one.ID, one.StripeCustomer}); err == nil {
			err = c.publish(ctx, c.names.Billing("map"), "application/json", body)
		}
	}
	if err != nil {
		return fmt.Errorf("identify: %w", err)
	}
	return nil
}

// mapping names the customer behind a Stripe customer.
type mapping struct {
	Customer       string `json:"customer"`
	StripeCustomer string `json:"stripe_customer"`
}

func some(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
