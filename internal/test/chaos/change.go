package chaos

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"time"
)

// overridden is the feature whose limit is changed for some customers.
const overridden = "search"

// change changes each customer once while faults happen, until ctx ends: the plan, by
// Stripe or by the app, or a limit. It repeats a change until it is acknowledged. There
// is no second change, because an earlier attempt could overtake it. change returns the
// changed customers.
func (s *senders) change(ctx context.Context, rng *rand.Rand, customers []Customer) []Customer {
	changed := append([]Customer(nil), customers...)
	for i := range changed {
		c := &changed[i]
		if c.Paid || !pause(ctx, time.Duration(200+rng.IntN(600))*time.Millisecond) {
			continue
		}
		giveUp, cancel := context.WithTimeout(context.WithoutCancel(ctx), 90*time.Second)
		var err error
		switch rng.IntN(6) {
		case 0:
			err = s.pay(giveUp, c, i, rng)
		case 1:
			c.Paid, c.Upgraded = true, true
			err = s.put(giveUp, c.ID, object{"plan": "pro"}, rng)
		default:
			c.Override = 3 + rng.Int64N(25)
			err = s.put(giveUp, c.ID, object{"overrides": object{overridden: object{"limit": c.Override}}}, rng)
		}
		cancel()
		if err != nil {
			s.fail("%v", err)
		}
	}
	return changed
}

func (s *senders) put(ctx context.Context, customer string, change any, rng *rand.Rand) error {
	body, err := json.Marshal(change)
	if err != nil {
		return err
	}
	return eventually(ctx, "change of "+customer, func() error {
		u := s.bases[rng.IntN(len(s.bases))] + "/v1/customers/" + url.PathEscape(customer)
		req, err := http.NewRequest(http.MethodPut, u, bytes.NewReader(body))
		if err != nil {
			return err
		}
		status, answer, err := s.do(req)
		if err == nil && status != http.StatusOK {
			err = fmt.Errorf("PUT %s: %d %s", u, status, answer)
		}
		return err
	})
}
