package api

import (
	"context"
	"errors"
	"time"
)

// priceAge is how long the price of a lookup key is cached: the operator may move
// the key to another price.
const priceAge = 10 * time.Minute

// knownPrice is the cached id of a price.
type knownPrice struct {
	id string
	at time.Time
}

// Visit describes a customer who has followed an upgrade link.
type Visit struct {
	Checkout   Checkout // its Price may be an id, a lookup key or empty
	Subscribed bool     // has a subscription; Checkout would add another
	Portal     bool     // subscribers may be sent to the billing portal
}

// Page returns the URL of the Stripe page for a visitor: a new checkout or portal
// session. It returns "" when there is no page for them.
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
	if errors.Is(err, ErrRequest) { // the price may be inactive now
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
