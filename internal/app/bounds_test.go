package app_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/tidegate-io/tidegate/internal/app"
	"github.com/tidegate-io/tidegate/internal/test/wait"
)

const boundedYAML = `
plans: {free: {default: true}}
gates: [{feature: api, condition: {limit: {free: 100}, period: 30d}}]
`

// TestOnlyNewCustomersAreBounded: the owners of partitions say who is new, also after
// this process has forgotten whom it has seen.
func TestOnlyNewCustomersAreBounded(t *testing.T) {
	t.Parallel()
	const old = 50
	a, err := app.Dev(t.Context(), boundedYAML)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Stop(context.Background())
	batch := func(from, to int, id string) string {
		var list []string
		for i := from; i < to; i++ {
			list = append(list, fmt.Sprintf(`{"type":"api","subject":"customer-%d","id":%q}`, i, id))
		}
		return "[" + strings.Join(list, ",") + "]"
	}
	if status, body := post(t, a, "/v1/events", batch(0, old, "1")); status != http.StatusAccepted {
		t.Fatalf("%d %v", status, body)
	}
	wait.Until(t, "the count", func() error {
		resp, err := http.Get(a.URL() + fmt.Sprintf("/v1/check?customer=customer-%d&feature=api", old-1))
		if err != nil {
			return err
		}
		defer func() { _ = resp.Body.Close() }()
		var d struct{ Used int }
		if err := json.NewDecoder(resp.Body).Decode(&d); err != nil || d.Used != 1 {
			return fmt.Errorf("%+v, %w", d, err)
		}
		return nil
	})
	app.Bound(a, 7)
	for _, id := range []string{"2", "3"} { // those who are known
		if status, body := post(t, a, "/v1/events", batch(0, old, id)); status != http.StatusAccepted {
			t.Fatalf("%d %v", status, body)
		}
	}
	status, body := post(t, a, "/v1/events", batch(old-5, old+20, "4"))
	if status != http.StatusTooManyRequests || body["accepted"] != 12.0 || body["refused"] != 13.0 || body["bound"] != "http.new_customers_per_hour" {
		t.Errorf("%d %v", status, body)
	}
	if status, body := post(t, a, "/v1/events", batch(0, old, "5")); status != http.StatusAccepted {
		t.Errorf("%d %v", status, body)
	}
}

func post(t *testing.T, a *app.App, path, body string) (status int, answer map[string]any) {
	t.Helper()
	resp, err := http.Post(a.URL()+path, "application/json", strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err == nil {
		err = json.Unmarshal(b, &answer)
	}
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, answer
}
