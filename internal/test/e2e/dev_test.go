package e2e

import (
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidegate-io/tidegate/client"
	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/funnel"
	"github.com/tidegate-io/tidegate/internal/stripe/fold"
	"github.com/tidegate-io/tidegate/internal/test/sample"
	"github.com/tidegate-io/tidegate/internal/test/wait"
)

// TestDev follows two customers from the first use to the payment and over a restart.
func TestDev(t *testing.T) {
	t.Parallel()
	d := newDevelopment(t, "")
	nc := d.connect()
	app := d.app(nc)
	d.put("acme", `{"email":"ada@acme.example"}`)

	useInEveryWay(t, d, nc, app)
	sees(t, app, "acme", false)
	d.decides("acme", events.LimitReached, 100)
	if code, out, _ := d.command("", "check", "acme", "api"); code != exitBlocked || !strings.Contains(out, "limit_reached") {
		t.Fatalf("check: exit %d: %s", code, out)
	}
	letter := d.outbox(1, "ada@acme.example")
	letter.hasLinks(t)
	follow(t, d, letter)

	d.must("send", "--type", "api", "--customer", "globex", "--count", "100")
	sees(t, app, "globex", false)
	d.outbox(1, "ada@acme.example") // the other customer has no address
	d.put("globex", `{"email":"bob@globex.example"}`)
	d.outbox(2, "bob@globex.example").hasLinks(t)

	d.must("send", "--type", "api", "--customer", "initech", "--count", "7")
	upgrade(t, d, app)
	unsubscribe(t, d)
	if code := d.Interrupt(); code != exitOK {
		t.Fatalf("exit %d after Ctrl-C", code)
	}
	d.start()
	remembers(t, d)
	d.outbox(3, "ada@acme.example")
	sees(t, app, "acme", true)
	sees(t, app, "globex", true)
}

// useInEveryWay uses acme's limit of 100 up, over all interfaces.
func useInEveryWay(t *testing.T, d *development, nc *nats.Conn, app *client.Client) {
	t.Helper()
	for i := range 10 {
		d.allows("acme")
		d.post("application/json", sample.Event("acme", fmt.Sprint("single-", i)), 1)
	}
	d.allows("acme")
	d.post("application/json", sample.Array(sample.Events("acme", "array", 10)), 10)
	d.post("application/cloudevents-batch+json", sample.Array(sample.Events("acme", "batch", 10)), 10)
	d.post("application/x-ndjson", sample.Lines(sample.Events("acme", "lines", 20)), 20)
	d.allows("acme")
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range sample.Events("acme", "raw", 20) {
		if _, err := js.Publish(t.Context(), "usage.in.acme", []byte(e)); err != nil {
			t.Fatal(err)
		}
	}
	d.must("send", "--type", "api", "--customer", "acme", "--count", "20")
	d.uses("acme", 90)
	d.allows("acme")
	for i := range 10 {
		if decision := app.Check("acme", "api"); !decision.Allowed {
			t.Fatalf("use %d is refused: %+v", 90+i, decision)
		}
		if err := app.Record(t.Context(), client.Usage{Customer: "acme", Event: "api"}); err != nil {
			t.Fatal(err)
		}
	}
}

var linkInText = regexp.MustCompile(`http://\S+/u/\S+`)

// follow opens the mail's link, and checks that the click is in the funnel.
func follow(t *testing.T, d *development, l letter) {
	t.Helper()
	req, err := http.NewRequest("GET", linkInText.FindString(l.text), nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0")
	resp, err := http.DefaultTransport.RoundTrip(req) // without following the redirect
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if to := resp.Header.Get("Location"); resp.StatusCode != http.StatusSeeOther || to != "https://acme.example/pricing" {
		t.Errorf("the link leads to %s with %s", to, resp.Status)
	}
}

// unsubscribe reaches the limit as a customer who has unsubscribed.
func unsubscribe(t *testing.T, d *development) {
	t.Helper()
	d.put("initech", `{"email":"eve@initech.example"}`)
	d.must("send", "--type", "api", "--customer", "initech", "--count", "93")
	link := strings.Trim(d.outbox(3, "eve@initech.example").Get("List-Unsubscribe"), "<>")
	resp, err := http.Post(link, "application/x-www-form-urlencoded", strings.NewReader("List-Unsubscribe=One-Click"))
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		t.Errorf("unsubscribing: %s", resp.Status)
	}
	d.put("initech", fmt.Sprintf(`{"anchor":%q}`, time.Now().Format(time.RFC3339))) // a new window
	d.decides("initech", events.WithinLimit, 0)
	d.must("send", "--type", "api", "--customer", "initech", "--count", "100")
	d.decides("initech", events.LimitReached, 100)
}

// upgrade pays for both customers, and sends the webhooks several times.
func upgrade(t *testing.T, d *development, app *client.Client) {
	t.Helper()
	d.must("dev", "upgrade", "acme", "--data", d.data())
	sees(t, app, "acme", true)
	d.decides("acme", events.Unlimited, 0) // the first payment begins a window
	converts(t, d, 2, 1, 2000)

	hooks := fold.UpgradeEvents(fold.Upgrade{Customer: "globex", Amount: 500, Now: time.Now(),
		Price: fold.Price{ID: "price_dev"}})
	for range 3 {
		d.webhooks(hooks)
	}
	d.must("dev", "upgrade", "acme", "--data", d.data()) // pays already: no conversion
	sees(t, app, "globex", true)
	converts(t, d, 2, 2, 2500)
}

// converts waits for the funnel of a number of customers, of whom n paid.
func converts(t *testing.T, d *development, mailed, n int, cents int64) {
	t.Helper()
	wait.Until(t, fmt.Sprintf("%d conversions", n), func() error {
		var r funnel.Row
		d.decoded(&r, "funnel")
		if r.Reached != mailed || r.Mailed != mailed || r.Clicked != 1 || r.Converted != n || r.Amounts["usd"] != cents {
			return fmt.Errorf("the funnel is %+v", r)
		}
		return nil
	})
}

// remembers fails unless the state is the same as before the restart.
func remembers(t *testing.T, d *development) {
	t.Helper()
	var v customerView
	d.decoded(&v, "usage", "initech")
	if v.Plan != "free" || len(v.Usage) != 1 || v.Usage[0].Used != events.Count(100) {
		t.Errorf("initech is now %+v", v)
	}
	if d.decoded(&v, "usage", "acme"); v.Plan != "paid" {
		t.Errorf("acme is now %+v", v)
	}
	if decision, err := d.decision("globex"); err != nil || decision.Reason != events.Unlimited {
		t.Errorf("globex is decided %+v %v", decision, err)
	}
	converts(t, d, 3, 2, 2500)
}

// TestWindowEnds: a block ends with its window, without any event.
func TestWindowEnds(t *testing.T) {
	t.Parallel()
	d := newDevelopment(t, "")
	app := d.app(d.connect())
	end := time.Now().Add(4 * time.Second)
	d.put("acme", fmt.Sprintf(`{"anchor":%q}`, end.AddDate(0, 0, -30).Format(time.RFC3339Nano)))
	d.post("application/x-ndjson", sample.Lines(sample.Events("acme", "use", 100)), 100)
	sees(t, app, "acme", false)
	if now := time.Now(); now.After(end) {
		t.Fatalf("the block took until %v, the window ended at %v", now, end)
	}
	sees(t, app, "acme", true)
	d.decides("acme", events.WithinLimit, 0)
}
