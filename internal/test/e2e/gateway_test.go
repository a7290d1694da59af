package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tidegate-io/tidegate/client"
	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/test/testprocess"
	"github.com/tidegate-io/tidegate/internal/test/wait"
)

// Exit codes, as documented.
const (
	exitOK      = 0
	exitFailed  = 1
	exitBlocked = 3
)

// gateway is a running Tidegate, seen by apps, operators and Stripe.
type gateway struct {
	t         testing.TB
	http      string
	nats      string
	key       string
	config    string // file; need not exist
	namespace string
	hook      string // Stripe's webhook secret
	env       []string
}

// command runs a command of the binary against the gateway.
func (g *gateway) command(stdin string, args ...string) (code int, stdout, stderr string) {
	g.t.Helper()
	cmd := exec.Command(testprocess.Tidegate(g.t), append([]string{"--config", g.config}, args...)...)
	cmd.Env = append(append(os.Environ(), g.env...), "TIDEGATE_URL="+g.http, "TIDEGATE_API_KEY="+g.key, "NATS_URL="+g.nats)
	var out, err bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = strings.NewReader(stdin), &out, &err
	if runErr := cmd.Run(); cmd.ProcessState == nil {
		g.t.Fatal(runErr)
	}
	return cmd.ProcessState.ExitCode(), out.String(), err.String()
}

// must runs a command that must succeed, and returns its standard output.
func (g *gateway) must(args ...string) string {
	g.t.Helper()
	code, stdout, stderr := g.command("", args...)
	if code != exitOK {
		g.t.Fatalf("tidegate %s: exit %d: %s", strings.Join(args, " "), code, stderr)
	}
	return stdout
}

// decoded is must with --output json. It decodes the output into out.
func (g *gateway) decoded(out any, args ...string) {
	g.t.Helper()
	stdout := g.must(append([]string{"--output", "json"}, args...)...)
	if err := json.Unmarshal([]byte(stdout), out); err != nil {
		g.t.Fatalf("tidegate %s: %v in %s", strings.Join(args, " "), err, stdout)
	}
}

// request sends a request to the API. It returns only errors of the network.
func (g *gateway) request(method, path, contentType, body string) (status int, answer []byte, err error) {
	req, err := http.NewRequest(method, g.http+path, strings.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	req.Header.Set("Content-Type", contentType)
	if g.key != "" {
		req.Header.Set("Authorization", "Bearer "+g.key)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err = io.ReadAll(resp.Body)
	return resp.StatusCode, answer, err
}

// get decodes the answer of a GET request.
func (g *gateway) get(path string, out any) error {
	status, answer, err := g.request("GET", path, "", "")
	if err != nil {
		return err
	}
	if status != http.StatusOK {
		return fmt.Errorf("GET %s: %d %s", path, status, answer)
	}
	return json.Unmarshal(answer, out)
}

// post sends events. All must be accepted.
func (g *gateway) post(contentType, body string, n int) {
	g.t.Helper()
	status, answer, err := g.request("POST", "/v1/events", contentType, body)
	if err != nil {
		g.t.Fatal(err)
	}
	var a struct{ Accepted int }
	if err := json.Unmarshal(answer, &a); err != nil || status != http.StatusAccepted || a.Accepted != n {
		g.t.Fatalf("POST /v1/events of %d events: %d %s", n, status, answer)
	}
}

// put changes a customer.
func (g *gateway) put(customer, body string) {
	g.t.Helper()
	status, answer, err := g.request("PUT", "/v1/customers/"+url.PathEscape(customer), "application/json", body)
	if err != nil || status >= 300 {
		g.t.Fatalf("PUT customer: %d %s %v", status, answer, err)
	}
}

// decision returns the answer of GET /v1/check.
func (g *gateway) decision(customer string) (d events.Decision, err error) {
	return d, g.get("/v1/check?feature=api&customer="+url.QueryEscape(customer), &d)
}

// allows fails unless the customer may use the feature api now.
func (g *gateway) allows(customer string) {
	g.t.Helper()
	if d, err := g.decision(customer); err != nil || !d.Allowed {
		g.t.Fatalf("%s is not allowed: %+v %v", customer, d, err)
	}
}

// decides waits for a decision with a reason and usage.
func (g *gateway) decides(customer string, reason events.Reason, used int64) {
	g.t.Helper()
	wait.Until(g.t, fmt.Sprintf("%s: %s at %d", customer, reason, used), func() error {
		d, err := g.decision(customer)
		if err == nil && (d.Reason != reason || d.Used != events.Some(events.Count(used))) {
			err = fmt.Errorf("it is %s at %v", d.Reason, d.Used)
		}
		return err
	})
}

// uses waits until the customer's current window has a usage.
func (g *gateway) uses(customer string, want int64) {
	g.t.Helper()
	wait.Until(g.t, fmt.Sprintf("%s has used %d", customer, want), func() error {
		if used := g.used(customer); used != want {
			return fmt.Errorf("it is %d", used)
		}
		return nil
	})
}

// used returns the usage of the customer's current window, or -1 when there is none.
func (g *gateway) used(customer string) int64 {
	var v customerView
	if err := g.get("/v1/customers/"+url.PathEscape(customer), &v); err != nil {
		return -1
	}
	for _, u := range v.Usage {
		if u.Feature == "api" {
			return u.Used.Units
		}
	}
	return 0
}

// connect returns a connection of an app.
func (g *gateway) connect() *nats.Conn {
	g.t.Helper()
	nc, err := nats.Connect(g.nats, nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond), nats.RetryOnFailedConnect(true))
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(nc.Close)
	return nc
}

// app returns a synced client of an app.
func (g *gateway) app(nc *nats.Conn) *client.Client {
	g.t.Helper()
	c, err := client.New(nc, client.Source("app"), client.Namespace(g.namespace))
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() { _ = c.Close(context.Background()) })
	select {
	case <-c.Synced():
	case <-time.After(wait.Patience):
		g.t.Fatal("the client was not synced")
	}
	return c
}

// sees waits until an app's client has a decision.
func sees(t testing.TB, c *client.Client, customer string, allowed bool) {
	t.Helper()
	wait.Until(t, fmt.Sprintf("the app's client allows %s: %v", customer, allowed), func() error {
		if d := c.Check(customer, "api"); d.Allowed != allowed {
			return fmt.Errorf("it says %+v", d)
		}
		return nil
	})
}

// customerView is the API's answer about a customer's usage and decisions.
type customerView struct {
	Plan  string
	Usage []struct {
		Feature string
		Used    events.Value
		Limit   events.NullValue
	}
	Decisions []events.Decision
}

// finding is the result of one of the doctor's checks.
type finding struct{ Check, State, Detail string }

// tally is the result of an import or a transfer.
type tally struct {
	Accepted int
	Rejected []struct {
		Line  int
		Error string
	}
}

const (
	stateOK      = "ok"
	stateWarning = "warning"
	stateFailed  = "failed"
	stateSkipped = "skipped"
)

func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
