package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/url"
	"strconv"
	"strings"
	"time"
)

// pageSize is the largest page that Stripe returns.
const pageSize = "100"

// paths holds the path of objects by type.
var paths = map[string]string{
	"subscription":     "/v1/subscriptions/",
	"customer":         "/v1/customers/",
	"invoice":          "/v1/invoices/",
	"checkout.session": "/v1/checkout/sessions/",
	"price":            "/v1/prices/",
	"product":          "/v1/products/",
	"charge":           "/v1/charges/",
}

// Fetch returns the current object. A deleted customer is returned with `deleted`.
// Fetch returns ErrMissing when there is no such object, and for a type without a
// path.
func (c *Client) Fetch(ctx context.Context, typ, id string) (Object, error) {
	path := paths[typ]
	if path == "" || id == "" {
		return Object{}, fmt.Errorf("%w: objects of the type %q are not fetched", ErrMissing, typ)
	}
	a, err := c.get(ctx, path+url.PathEscape(id))
	if err != nil {
		return Object{}, err
	}
	return a.object(a.LastResponse.RawJSON)
}

// Page is a part of a list.
type Page struct {
	Objects []Object
	At      time.Time // moment of the request by Stripe's clock
	More    bool      // whether there are more after the last object
}

// Subscriptions returns a page of subscriptions of any status, newest first, after
// the given id ("": from the newest).
func (c *Client) Subscriptions(ctx context.Context, after string) (Page, error) {
	return c.list(ctx, "/v1/subscriptions", "status", "all", "limit", pageSize, "starting_after", after)
}

// Customers returns a page of customers, newest first, after the given id.
func (c *Client) Customers(ctx context.Context, after string) (Page, error) {
	return c.list(ctx, "/v1/customers", "limit", pageSize, "starting_after", after)
}

// Products returns a page of active products, newest first, after the given id.
func (c *Client) Products(ctx context.Context, after string) (Page, error) {
	return c.list(ctx, "/v1/products", "active", "true", "limit", pageSize, "starting_after", after)
}

// Events returns a page of the events of EventTypes that happened at since or
// later, newest first, after the given id. Stripe keeps events for 30 days.
func (c *Client) Events(ctx context.Context, since time.Time, after string) (Page, error) {
	params := []string{"limit", pageSize, "starting_after", after, "created[gte]", strconv.FormatInt(since.Unix(), 10)}
	for _, typ := range EventTypes {
		params = append(params, "types[]", typ)
	}
	return c.list(ctx, "/v1/events", params...)
}

func (c *Client) list(ctx context.Context, path string, params ...string) (Page, error) {
	a, err := c.get(ctx, path, params...)
	if err != nil {
		return Page{}, err
	}
	var body struct {
		Data []json.RawMessage `json:"data"`
		More bool              `json:"has_more"`
	}
	if err := a.decode(&body); err != nil {
		return Page{}, err
	}
	p := Page{At: a.at, More: body.More && len(body.Data) > 0}
	for _, raw := range body.Data {
		o, err := a.object(raw)
		if err != nil {
			return Page{}, err
		}
		p.Objects = append(p.Objects, o)
	}
	return p, nil
}

// Price returns the id of the price with an id or a lookup key. It returns a name
// that looks like an id unchanged.
func (c *Client) Price(ctx context.Context, name string) (string, error) {
	if strings.HasPrefix(name, "price_") {
		return name, nil
	}
	page, err := c.list(ctx, "/v1/prices", "lookup_keys[]", name, "active", "true", "limit", "1")
	if err != nil {
		return "", err
	}
	if len(page.Objects) > 0 {
		return page.Objects[0].ID, nil
	}
	o, err := c.Fetch(ctx, "price", name) // ids from before there were prices
	return o.ID, err
}

// Probe sends a small request to check the key.
func (c *Client) Probe(ctx context.Context) error {
	_, err := c.list(ctx, "/v1/subscriptions", "limit", "1")
	return err
}
