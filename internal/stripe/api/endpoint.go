package api

import (
	"context"
	"net/http"
	"net/url"
	"slices"
)

// EventTypes lists the events that Tidegate uses. It does not contain
// invoice.created, because Stripe holds an invoice for up to 72 hours when an
// endpoint does not answer that event.
var EventTypes = []string{
	"checkout.session.completed", "checkout.session.async_payment_succeeded",
	"checkout.session.async_payment_failed", "checkout.session.expired",
	"customer.subscription.created", "customer.subscription.updated", "customer.subscription.deleted",
	"customer.subscription.paused", "customer.subscription.resumed", "customer.subscription.trial_will_end",
	"invoice.paid", "invoice.payment_failed", "invoice.payment_action_required",
	"charge.refunded", "charge.dispute.created",
	"customer.deleted", "price.updated", "product.updated",
}

// Endpoint is a webhook endpoint at Stripe.
type Endpoint struct {
	ID         string   `json:"id"`
	URL        string   `json:"url"`
	Status     string   `json:"status"`
	APIVersion string   `json:"api_version"` // "" means the account's version
	Events     []string `json:"enabled_events"`
	Livemode   bool     `json:"livemode"`
	Secret     string   `json:"secret,omitempty"` // only in the answer of CreateEndpoint
}

// Complete reports whether the endpoint is enabled and gets all EventTypes.
func (e *Endpoint) Complete() bool {
	if e.Status != "" && e.Status != "enabled" {
		return false
	}
	for _, typ := range EventTypes {
		if !slices.Contains(e.Events, typ) && !slices.Contains(e.Events, "*") {
			return false
		}
	}
	return true
}

// Endpoints returns the webhook endpoints with the URL.
func (c *Client) Endpoints(ctx context.Context, address string) (found []Endpoint, err error) {
	for after := ""; ; {
		a, err := c.get(ctx, "/v1/webhook_endpoints", "limit", pageSize, "starting_after", after)
		if err != nil {
			return nil, err
		}
		var page struct {
			Data []Endpoint `json:"data"`
			More bool       `json:"has_more"`
		}
		if err := a.decode(&page); err != nil {
			return nil, err
		}
		for _, e := range page.Data {
			if after = e.ID; e.URL == address {
				found = append(found, e)
			}
		}
		if !page.More || len(page.Data) == 0 {
			return found, nil
		}
	}
}

// CreateEndpoint creates an endpoint for EventTypes in the shape of APIVersion.
// Stripe returns its Secret only here.
func (c *Client) CreateEndpoint(ctx context.Context, address string) (Endpoint, error) {
	return c.putEndpoint(ctx, "/v1/webhook_endpoints", "url", address, "api_version", APIVersion, "description", "Tidegate")
}

// UpdateEndpoint enables the endpoint and adds EventTypes to its events. Its API
// version and secret do not change.
func (c *Client) UpdateEndpoint(ctx context.Context, e Endpoint) (Endpoint, error) {
	params := []string{"disabled", "false"}
	for _, typ := range e.Events {
		if !slices.Contains(EventTypes, typ) {
			params = append(params, "enabled_events[]", typ)
		}
	}
	return c.putEndpoint(ctx, "/v1/webhook_endpoints/"+url.PathEscape(e.ID), params...)
}

func (c *Client) putEndpoint(ctx context.Context, path string, params ...string) (e Endpoint, err error) {
	for _, typ := range EventTypes {
		params = append(params, "enabled_events[]", typ)
	}
	a, err := c.call(ctx, http.MethodPost, path, "", params)
	if err != nil {
		return e, err
	}
	return e, a.decode(&e)
}
