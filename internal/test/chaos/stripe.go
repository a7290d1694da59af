package chaos

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"time"
)

const webhookSecret = "whsec_chaos"

type object = map[string]any

// purchase returns the webhooks of a customer who pays, and pays again.
func purchase(customer string, n int, now time.Time) (*Payment, [][]byte) {
	sub, cus := fmt.Sprintf("sub_%d", n), fmt.Sprintf("cus_%d", n)
	at := now.Add(-3 * time.Second).UTC().Truncate(time.Second)
	p := &Payment{Subscription: sub, Event: fmt.Sprintf("evt_%d_2", n), Amount: int64(1000 + n), At: at}
	price := object{"id": "price_pro", "object": "price", "product": "prod_pro"}
	subscription := func(status string) object {
		return object{"id": sub, "object": "subscription", "customer": cus, "metadata": object{"tidegate_customer": customer}, "status": status,
			"created": at.Unix(), "current_period_end": at.AddDate(0, 1, 0).Unix(), "items": object{"data": []object{{"price": price}}}}
	}
	invoice := func(id, reason string, amount int64, at time.Time) object {
		return object{"id": id, "object": "invoice", "customer": cus, "subscription": sub, "amount_paid": amount, "currency": currency,
			"billing_reason": reason, "created": at.Unix(), "lines": object{"data": []object{{"amount": amount, "price": price}}}}
	}
	var hooks [][]byte
	tell := func(kind string, at time.Time, o object, previous object) {
		data := object{"object": o}
		if previous != nil {
			data["previous_attributes"] = previous
		}
		b, _ := json.Marshal(object{"id": fmt.Sprintf("evt_%d_%d", n, len(hooks)+1), "object": "event", "type": kind, "created": at.Unix(), "data": data})
		hooks = append(hooks, b) // never fails for plain values
	}
	tell("customer.subscription.created", at, subscription("incomplete"), nil)
	tell("invoice.paid", at, invoice(fmt.Sprintf("in_%d_1", n), "subscription_create", p.Amount, at), nil)
	tell("customer.subscription.updated", at, subscription("active"), object{"status": "incomplete"})
	tell("checkout.session.completed", at.Add(time.Second), object{"id": fmt.Sprintf("cs_%d", n), "object": "checkout.session", "customer": cus,
		"subscription": sub, "client_reference_id": customer, "payment_status": "paid", "amount_total": p.Amount, "currency": currency}, nil)
	later := at.Add(2 * time.Second)
	tell("invoice.paid", later, invoice(fmt.Sprintf("in_%d_2", n), "subscription_cycle", 2*p.Amount, later), nil)
	return p, hooks
}

// pay sends the webhooks of a payment, each until it is answered with 200, some of them
// again after that, and in random order.
func (s *senders) pay(ctx context.Context, c *Customer, n int, rng *rand.Rand) error {
	payment, hooks := purchase(c.ID, n, time.Now())
	for _, h := range hooks {
		if rng.IntN(2) == 0 {
			hooks = append(hooks, h)
		}
	}
	rng.Shuffle(len(hooks), func(i, j int) { hooks[i], hooks[j] = hooks[j], hooks[i] })
	for _, h := range hooks {
		if err := eventually(ctx, "webhook of "+c.ID, func() error { return s.webhook(h, rng) }); err != nil {
			return err
		}
	}
	c.Paid, c.Upgraded, c.Payment = true, true, payment
	return nil
}

func (s *senders) webhook(body []byte, rng *rand.Rand) error {
	req, err := http.NewRequest(http.MethodPost, s.bases[rng.IntN(len(s.bases))]+"/webhooks/stripe", bytes.NewReader(body))
	if err != nil {
		return err
	}
	req.Header.Set("Stripe-Signature", sign(body, time.Now()))
	status, answer, err := s.do(req)
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("%d %s", status, answer)
	}
	return err
}

// sign returns the header that Stripe sends.
func sign(body []byte, now time.Time) string {
	mac := hmac.New(sha256.New, []byte(webhookSecret))
	_, _ = fmt.Fprintf(mac, "%d.%s", now.Unix(), body)
	return strings.Join([]string{fmt.Sprintf("t=%d", now.Unix()), "v1=" + hex.EncodeToString(mac.Sum(nil))}, ",")
}
