package cli

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/app"
	"github.com/tidegate-io/tidegate/internal/config"
	"github.com/tidegate-io/tidegate/internal/test/wait"
)

// hostileBodies are what no reader expects.
var hostileBodies = []string{
	"", "{", "null", "[]", "0", `"x"`, "\xff\xfe\x00", "\x0a\xff\xff\xff\xff\x0f", "\x9b\xff\xff\xff\xff\xff\xff\xff\xff",
	strings.Repeat("[", 20_000), strings.Repeat("\n", 70_000), `{"customer":"fz","payment":{}}`, `{"customer":"fz","anchor":"9999-12-31T23:59:59-12:00"}`,
	`{"type":"tidegate.config","id":"h1","data":{"gates":[{"feature":"api","window":{"kind":"anniversary","days":0}}]}}`,
	`{"type":"tidegate.plan","subject":"fz","id":"h2","data":{"cut":true,"from":"0001-01-01T00:00:00Z"}}`,
	`{"kind":"reached","customer":"fz","feature":"api","limit":5,"window_start":"9999-12-31T23:59:59-12:00","at":"9999-12-31T23:59:59-12:00"}`,
	`{"kind":"threshold","percent":-1,"customer":"fz","feature":"\u0000"}`,
	`{"id":"evt_h","type":"customer.subscription.updated","created":1e300,"data":{"object":{"id":"sub_h","object":"subscription","customer":"cus_h","current_period_end":"9999-12-31T23:59:59-12:00","items":[null]}}}`,
	`{"type":"subscription","id":"sub_h","at":"2026-01-01T00:00:00Z","object":{"id":"sub_h","object":"subscription"}}`,
	`{"customer":"","stripe_customer":""}`,
}

// TestHostileMessagesOnEverySubject are published as if every permission had a hole. Then
// a good use is counted, a good mail goes out, and the doctor names the dead.
func TestHostileMessagesOnEverySubject(t *testing.T) {
	yaml := "partitions: 2\n" + strings.Replace(config.ExampleYAML, "free: 100", "free: 2", 1)
	cfg, err := config.Parse([]byte(yaml), nil)
	if err != nil {
		t.Fatal(err)
	}
	a, err := app.Start(context.Background(), app.Settings{}, cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Stop(context.Background())
	if err := a.WaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	nc, err := nats.Connect(a.NATS())
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	n := events.Names{}
	subjects := []string{n.UsageIn("fz"), n.UsageIn("acme"), "account.in.fz", n.Billing("stripe"), n.Billing("fetched"), n.Billing("map"), n.Billing("other")}
	for p := range 2 {
		for _, token := range []string{events.BatchToken, events.ImportToken, events.ControlToken} {
			subjects = append(subjects, n.Usage(p, token))
		}
		subjects = append(subjects, n.Account(p), n.Windows(p), n.Limits(p))
	}
	for _, subject := range subjects {
		for _, body := range hostileBodies {
			if _, err := js.Publish(t.Context(), subject, []byte(body)); err != nil {
				t.Fatalf("%s: %v", subject, err)
			}
		}
	}
	askAPI(t, http.MethodPut, a.URL()+"/v1/customers/good", `{"email":"ada@acme.example"}`)
	askAPI(t, http.MethodPost, a.URL()+"/v1/events", `[{"type":"api","subject":"good","id":"1"},{"type":"api","subject":"good","id":"2"}]`)
	wait.Until(t, "the count", func() error {
		var d events.Decision
		if err := json.Unmarshal(askAPI(t, http.MethodGet, a.URL()+"/v1/check?customer=good&feature=api", ""), &d); err != nil {
			return err
		}
		if d.Allowed || d.Used != events.Some(events.Count(2)) {
			return fmt.Errorf("allowed %v, used %s", d.Allowed, d.Used)
		}
		return nil
	})
	wait.Until(t, "the mail", func() error {
		if mails, _ := filepath.Glob(filepath.Join(a.Settings().Data, "outbox", "*.eml")); len(mails) == 0 {
			return fmt.Errorf("no mail went out")
		}
		return nil
	})
	wait.Until(t, "readiness", func() error {
		var ready struct {
			NotReady map[string]string `json:"not_ready"`
		}
		if err := json.Unmarshal(askAPI(t, http.MethodGet, a.URL()+"/readyz", ""), &ready); err != nil || len(ready.NotReady) > 0 {
			return fmt.Errorf("%v, %v", ready.NotReady, err)
		}
		return nil
	})
	t.Setenv("TIDEGATE_URL", a.URL())
	t.Setenv("NATS_URL", a.NATS())
	_, out, _ := command(t, "", "doctor", "--output", "json")
	var findings []finding
	if err := json.Unmarshal([]byte(out), &findings); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, f := range findings {
		if f.Check == "dead" && (f.State != stateWarning || !strings.Contains(f.Detail, "dead letters in a day, the newest is ")) {
			t.Errorf("doctor: %+v", f)
		}
		if (f.Check == "partitions" || f.Check == "lag") && f.State != stateOK {
			t.Errorf("doctor: %+v", f)
		}
	}
	metrics := string(askAPI(t, http.MethodGet, a.URL()+"/metrics", ""))
	for _, role := range []string{"aggregator", "enforcer", "notifier", "billing"} {
		if !strings.Contains(metrics, `tidegate_dead_letters_total{role="`+role+`"}`) {
			t.Errorf("no letters of the role %s are counted", role)
		}
	}
	for _, line := range strings.Split(metrics, "\n") {
		for _, name := range []string{"tidegate_messages_panicked_total", "tidegate_failures_total", "tidegate_dead_letters_lost_total"} {
			if strings.HasPrefix(line, name) && !strings.HasSuffix(line, " 0") {
				t.Errorf("a fault of ours: %s", line)
			}
		}
	}
}

// askAPI sends a request, and returns the body of a good answer.
func askAPI(t *testing.T, method, url, body string) []byte {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	if body != "" {
		req.Header.Set("Content-Type", "application/json")
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(resp.Body)
	if err != nil || resp.StatusCode >= 300 {
		t.Fatalf("%s %s: %s: %s, %v", method, url, resp.Status, b, err)
	}
	return b
}
