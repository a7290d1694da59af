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

// change changes customers while faults happen, each of them once, until ctx
// ends. A change is repeated until it is acknowledged: another one after it
// could be overtaken by an earlier try. It returns the customers as they are
// then.
func (s *senders) change(ctx context.Context, rng *rand.Rand, customers []Customer) []Customer {
	changed := append([]Customer(nil), customers...)
	for i := range changed {
		c := &changed[i]
		if c.Paid || !pause(ctx, time.Duration(200+rng.IntN(600))*time.Millisecond) {
			continue
		}
		var body any
		if rng.IntN(4) == 0 {
			c.Paid, c.Upgraded = true, true
			body = map[string]any{"plan": "pro"}
		} else {
			c.Override = 3 + rng.Int64N(25)
			body = map[string]any{"overrides": map[string]any{overridden: map[string]any{"limit": c.Override}}}
		}
		giveUp, cancel := context.WithTimeout(context.WithoutCancel(ctx), 60*time.Second)
		if err := eventually(giveUp, "change of "+c.ID, func() error { return s.put(c.ID, body, rng) }); err != nil {
			s.fail("%v", err)
		}
		cancel()
	}
	return changed
}

func (s *senders) put(customer string, change any, rng *rand.Rand) error {
	body, err := json.Marshal(change)
	if err != nil {
		return err
	}
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
}
