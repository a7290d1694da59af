package api

import (
	"context"
	"errors"
	"time"
)

// priceAge is how long the id of a lookup key is remembered: an operator may
// give the key to another price.
const priceAge = 10 * time.Minute

// knownPrice is what a name stood for.
type knownPrice struct {
	id string
	at time.Time
}

// Visit is a customer who has followed a link to pay.
type Visit struct {
	Checkout   Checkout // its Price may also be a lookup key, or empty
	Subscribed bool     // has a subscription already: another one would be charged beside it
	Portal     bool     // who has one may be shown the billing portal
}

// Page makes the page of Stripe's that a visitor is to see now, and returns its
// address, or "" when Stripe has none for them.
func (c *Client) Page(ctx context.Context, v Visit, now time.Time) (string, error) {
	o := v.Checkout
	if v.Subscribed {
		if !v.Portal || o.StripeCustomer == "" {
			return "", nil
		}
		return c.Portal(ctx, o.StripeCustomer, o.CancelURL)
	}
	if o.Price == "" {
		return "", nil
	}
	if o.SuccessURL == "" {
		return "", errors.New("upgrade.success_url is missing: where does Checkout send a customer who has paid?")
	}
	name := o.Price
	var err error
	if o.Price, err = c.priceID(ctx, name, now); err != nil {
		return "", err
	}
	page, err := c.Checkout(ctx, o, now)
	if errors.Is(err, ErrRequest) { // perhaps that price is no longer sold
		c.forgetPrice(name)
	}
	return page, err
}

func (c *Client) priceID(ctx context.Context, name string, now time.Time) (string, error) {
	c.mu.Lock()
	p, ok := c.prices[name]
	c.mu.Unlock()
	if ok && now.Sub(p.at) < priceAge {
		return p.id, nil
	}
	id, err := c.Price(ctx, name)
	if err == nil {
		c.mu.Lock()
		c.prices[name] = knownPrice{id, now}
		c.mu.Unlock()
	}
	return id, err
}

func (c *Client) forgetPrice(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.prices, name)
}
