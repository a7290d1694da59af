package e2e

import (
	"errors"
	"fmt"
	"net/http"
	"net/mail"
	"regexp"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/bson"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/funnel"
	"github.com/tidegate-io/tidegate/internal/stripe/fold"
	"github.com/tidegate-io/tidegate/internal/test/sample"
	"github.com/tidegate-io/tidegate/internal/test/testmongo"
	"github.com/tidegate-io/tidegate/internal/test/testprocess"
	"github.com/tidegate-io/tidegate/internal/test/wait"
)

// TestServe follows a customer with a process for each role. Two processes are killed in
// between.
func TestServe(t *testing.T) {
	t.Parallel()
	in := newInstallation(t, testmongo.URI(t))
	in.startNATS()
	running := map[string]*testprocess.Process{}
	for _, role := range strings.Split(everyRole, ",") {
		running[role] = in.serve(role)
	}
	in.ready()
	refusesStrangers(t, in)
	app := in.app(in.connect())
	in.put("acme", `{"email":"ada@acme.example"}`)

	in.post("application/x-ndjson", sample.Lines(sample.Events("acme", "use", 4)), 4)
	in.uses("acme", 4)
	in.allows("acme")
	for _, role := range []string{roleAggregator, roleEnforcer} {
		running[role].Kill()
		in.post("application/x-ndjson", sample.Lines(sample.Events("acme", role, 2)), 2)
		running[role] = in.serve(role)
	}
	in.post("application/x-ndjson", sample.Lines(sample.Events("acme", "use", 6)), 6) // the first 4 for the second time
	sees(t, app, "acme", false)
	in.decides("acme", events.LimitReached, 10)
	isMailedOnce(t, in)
	document(t, in.documents().Collection("notifications"), "acme", func(d bson.M) error { return has(d, bson.M{"state": "sent"}) })
	running[roleNotifier].Kill()
	running[roleNotifier] = in.serve(roleNotifier)
	usageIsDocumented(t, in)

	in.webhooks(fold.UpgradeEvents(fold.Upgrade{Customer: "acme", Price: fold.Price{ID: "price_pro"}, Now: time.Now()}))
	sees(t, app, "acme", true)
	wait.Until(t, "the funnel", func() error {
		var r funnel.Row
		if in.decoded(&r, "funnel"); r.Reached != 1 || r.Mailed != 1 || r.Converted != 1 || r.Amounts["usd"] != 2000 {
			return fmt.Errorf("it is %+v", r)
		}
		return nil
	})
	isDocumented(t, in)
	isMailedOnce(t, in)
	in.must("verify")
	for role, p := range running {
		if code := p.Interrupt(); code != exitOK {
			t.Errorf("%s: exit %d", role, code)
		}
	}
}

// refusesStrangers sends requests without a key, and with a key that may only read.
func refusesStrangers(t *testing.T, in *installation) {
	t.Helper()
	for key, want := range map[string]int{"": http.StatusUnauthorized, "wrong": http.StatusUnauthorized, "tgk_test_read": http.StatusForbidden} {
		stranger := in.gateway
		stranger.key = key
		if status, answer, err := stranger.request("POST", "/v1/events", "application/json", sample.Event("acme", "x")); err != nil || status != want {
			t.Errorf("with the key %q: %d %s %v", key, status, answer, err)
		}
		if code, _, stderr := stranger.command("", "send", "--type", "api", "--customer", "acme"); code != exitFailed || !strings.Contains(stderr, "key") {
			t.Errorf("send with the key %q: exit %d: %s", key, code, stderr)
		}
	}
}

// isMailedOnce waits for the mail and checks it.
func isMailedOnce(t *testing.T, in *installation) {
	t.Helper()
	wait.Until(t, "the mail", func() error {
		if all := in.mails.mails(); len(all) != 1 {
			return fmt.Errorf("there are %d", len(all))
		}
		return nil
	})
	m := in.mails.mails()[0]
	if len(m.To) != 1 || m.To[0] != "ada@acme.example" || m.From != "Acme <billing@acme.example>" {
		t.Errorf("the mail goes to %v from %s", m.To, m.From)
	}
	letter{mail.Header{"Subject": {m.Subject}, "From": {m.From}, "List-Unsubscribe": {m.Headers["List-Unsubscribe"]}}, m.Text, m.HTML}.hasLinks(t)
	if !strings.Contains(m.Text, "https://gate.acme.example/u/") {
		t.Errorf("the link is not at public_url:\n%s", m.Text)
	}
}

// usageIsDocumented checks the document of the window in which the limit was reached.
func usageIsDocumented(t *testing.T, in *installation) {
	t.Helper()
	date := time.Time{}
	document(t, in.documents().Collection("usage"), "acme", func(d bson.M) error {
		return has(d, bson.M{
			"_id": regexp.MustCompile(`^acme/api/\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$`), "feature": "api", "plan": "free", "used": int64(10),
			"limit": int64(10), "events": int64(10), "current": true, "window_start": date, "window_end": date, "first_at": date, "last_at": date,
		})
	})
}

// isDocumented checks the other documents in MongoDB.
func isDocumented(t *testing.T, in *installation) {
	t.Helper()
	db, date := in.documents(), time.Time{}
	document(t, db.Collection("customers"), "acme", func(d bson.M) error {
		return has(d, bson.M{"_id": "acme", "email": "ada@acme.example", "plan": "paid", "suppressed": ""})
	})
	document(t, db.Collection("subscriptions"), "acme", func(d bson.M) error {
		if all, _ := d["stripe_subscriptions"].(bson.A); len(all) != 1 {
			return errors.New("not one subscription")
		}
		return has(d, bson.M{"_id": "acme", "plan": "paid", "status": "active", "stripe_customer": fold.DevCustomer("acme"), "current_period_end": date, "cancel_at": nil})
	})
	document(t, db.Collection("notifications"), "acme", func(d bson.M) error {
		return has(d, bson.M{"feature": "api", "state": "sent", "to": "ada@acme.example", "provider_id": "mail-1", "sent_at": date, "reached_at": date})
	})
	document(t, db.Collection("conversions"), "acme", func(d bson.M) error {
		return has(d, bson.M{"from_plan": "free", "to_plan": "paid", "amount": int64(2000), "currency": "usd", "stripe_event": regexp.MustCompile("^evt_"),
			"limit_reached_at": date, "mailed_at": date, "clicked_at": nil, "converted_at": date})
	})
}
