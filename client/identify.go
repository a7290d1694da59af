package client

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/tidegate-io/tidegate/events"
)

// Customer is what an app tells of a customer. Empty fields change nothing.
type Customer struct {
	ID     string // the app's id, as in Usage; required
	Email  string // where an upgrade prompt goes
	Locale string // such as "de" or "pt-BR": the language of mails
}

// Identify tells Tidegate about a customer. It returns when the message is stored,
// or with an error after which the app may try again.
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
	a := events.Identity{Customer: one.ID, Email: some(one.Email), Locale: some(one.Locale)}
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
	if err := c.publish(ctx, c.names.AccountIn(one.ID), "application/json", body); err != nil {
		return fmt.Errorf("identify: %w", err)
	}
	return nil
}

func some(s string) *string {
	if s == "" {
		return nil
	}
	return &s
}
