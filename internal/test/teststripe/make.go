package teststripe

import (
	"net/url"
	"strings"
	"time"
	"unicode/utf8"
)

func (s *Server) newSession(p url.Values) (any, *refusal) {
	price := s.objects[p.Get("line_items[0][price]")]
	switch {
	case p.Get("mode") != "subscription":
		return nil, refuse(400, "parameter_missing", "mode", "Tests subscribe.")
	case p.Get("success_url") == "":
		return nil, refuse(400, "parameter_missing", "success_url", "Missing required param: success_url.")
	case price["object"] != "price" || price["active"] != true:
		return nil, refuse(400, "resource_missing", "line_items[0][price]", "No such price: '%s'", p.Get("line_items[0][price]"))
	case utf8.RuneCountInString(p.Get("client_reference_id")) > 200:
		return nil, refuse(400, "", "client_reference_id", "Invalid string: must be at most 200 characters")
	case p.Get("customer") != "" && p.Get("customer_email") != "":
		return nil, refuse(400, "", "customer", "You may only specify one of these parameters: customer, customer_email.")
	case p.Get("customer") != "" && (s.objects[p.Get("customer")] == nil || s.objects[p.Get("customer")]["deleted"] == true):
		return nil, refuse(400, "resource_missing", "customer", "No such customer: '%s'", p.Get("customer"))
	}
	metadata, refused := metadataOf(p, "metadata[")
	if refused != nil {
		return nil, refused
	}
	ofSub, refused := metadataOf(p, "subscription_data[metadata][")
	if refused != nil {
		return nil, refused
	}
	id := s.id("cs_test")
	s.put(Object{
		"id": id, "object": "checkout.session", "mode": "subscription", "status": "open", "payment_status": "unpaid",
		"url": "https://checkout.stripe.com/c/pay/" + id, "metadata": metadata, "subscription": nil,
		"client_reference_id": orNil(p.Get("client_reference_id")), "customer": orNil(p.Get("customer")),
		"customer_email": orNil(p.Get("customer_email")), "success_url": p.Get("success_url"), "cancel_url": orNil(p.Get("cancel_url")),
		"expires_at": s.now().Add(24 * time.Hour).Unix(),
	})
	s.objects["hidden_"+id] = Object{"price": price["id"], "metadata": map[string]any(ofSub)} // not in any list
	return public(s.objects[id]), nil
}

func (s *Server) newPortal(p url.Values) (any, *refusal) {
	customer := s.objects[p.Get("customer")]
	if customer["object"] != "customer" || customer["deleted"] == true {
		return nil, refuse(400, "resource_missing", "customer", "No such customer: '%s'", p.Get("customer"))
	}
	id := s.id("bps")
	return Object{"id": id, "object": "billing_portal.session", "customer": customer["id"],
		"url": "https://billing.stripe.com/p/session/" + id, "return_url": orNil(p.Get("return_url"))}, nil
}

func (s *Server) putEndpoint(id string, p url.Values) (any, *refusal) {
	o := clone(s.objects[id])
	if id != "" && o["object"] != "webhook_endpoint" {
		return nil, refuse(404, "resource_missing", "webhook_endpoint", "No such webhook endpoint: '%s'", id)
	}
	if id == "" {
		if len(p["enabled_events[]"]) == 0 || !strings.HasPrefix(p.Get("url"), "http") {
			return nil, refuse(400, "parameter_missing", "url", "Missing required param.")
		}
		id = s.id("we")
		o = Object{"id": id, "object": "webhook_endpoint", "status": "enabled", "url": p.Get("url"),
			"api_version": orNil(p.Get("api_version")), "secret": "whsec_" + strings.Repeat("s", 24) + id[3:], "metadata": Object{}}
	} else if p.Has("api_version") || p.Has("secret") {
		return nil, refuse(400, "parameter_unknown", "api_version", "Received unknown parameter: %v", keysOf(p))
	}
	if e := p["enabled_events[]"]; len(e) > 0 {
		o["enabled_events"] = e
	}
	switch p.Get("disabled") {
	case "true":
		o["status"] = "disabled"
	case "false":
		o["status"] = "enabled"
	}
	created := s.objects[id] == nil
	s.put(o)
	if created {
		return clone(s.objects[id]), nil // the only answer with the secret
	}
	return public(s.objects[id]), nil
}

// metadataOf collects parameters such as metadata[name].
func metadataOf(p url.Values, prefix string) (Object, *refusal) {
	o := Object{}
	for k := range p {
		name, ok := strings.CutPrefix(k, prefix)
		if name = strings.TrimSuffix(name, "]"); !ok {
			continue
		}
		if utf8.RuneCountInString(name) > 40 || utf8.RuneCountInString(p.Get(k)) > 500 {
			return nil, refuse(400, "", k, "Metadata keys have 40 characters at most, values 500.")
		}
		o[name] = p.Get(k)
	}
	return o, nil
}

func orNil(v string) any {
	if v == "" {
		return nil
	}
	return v
}
