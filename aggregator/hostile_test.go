package aggregator

import (
	"fmt"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/gate"
	"github.com/tidegate-io/tidegate/internal/records"
)

func oneGate() gate.Catalog {
	return gate.Catalog{Plans: []gate.Plan{{Name: "free", Default: true}, {Name: "pro", Paid: true}}, Gates: []gate.Gate{{
		Feature: "api", Meter: gate.Meter{Event: "api", Aggregate: gate.Count}, Window: gate.WindowSpec{Kind: gate.Anniversary, Days: 30},
		Limits: map[string]gate.Limit{"free": {Value: events.Count(100)}, "pro": {Unlimited: true}},
	}}}
}

// oddControls holds control events of which none may change anything, and why.
var oddControls = []struct{ typ, customer, data, why string }{
	{"tidegate.nothing", "acme", `{}`, "unknown control event"},
	{"api", "acme", `{}`, "unknown control event"},
	{"tidegate.plan", "", `{"plan":"pro","from":"2026-07-01T00:00:00Z"}`, "`subject` is missing"},
	{"tidegate.plan", "acme", `{"plan":"pro"}`, "years 1970 to 2200"},
	{"tidegate.plan", "acme", `{"plan":"pro","from":"9999-12-31T00:00:00Z","cut":true}`, "years 1970 to 2200"},
	{"tidegate.plan", "acme", `{"plan":"` + strings.Repeat("x", 129) + `","from":"2026-07-01T00:00:00Z"}`, "cannot be named"},
	{"tidegate.plan", "acme", `{"plan":{"name":"paid"}}`, "cannot unmarshal"},
	{"tidegate.plan", "acme", `{"plan":"pro","from":"2026-07-01T12:05:01Z","cut":true}`, "in the future"},
	{"tidegate.anchor", "acme", `{"anchor":"2026-07-01T00:00:00Z","from":"2199-07-01T00:00:00Z"}`, "in the future"},
	{"tidegate.anchor", "acme", `{"anchor":"0001-01-01T00:00:00Z","from":"2026-07-01T00:00:00Z"}`, "years 1970 to 2200"},
	{"tidegate.override", "acme", `{"feature":"api","override":{}}`, "neither a limit nor a grant"},
	{"tidegate.override", "acme", `{"feature":"api","override":{"limit":-1}}`, "negative"},
	{"tidegate.override", "acme", `{"feature":"","override":null}`, "cannot be named"},
	{"tidegate.config", "", `{}`, "0 plans"},
	{"tidegate.config", "", `{"plans":[{"name":"free","default":true},{"name":"free"}]}`, "stands twice"},
	{"tidegate.config", "", `{"plans":[{"name":"free"}]}`, "0 of them the default"},
	{"tidegate.config", "", strings.Replace(configOf(`{"event":"api","aggregate":"count"}`, `{"kind":"calendar"}`), `{"free"`, `{"other"`, 1), "no plan"},
	{"tidegate.config", "", strings.Replace(configOf(`{"event":"api","aggregate":"count"}`, `{"kind":"calendar"}`), `{"value":1}`, `{"value":1.5}`, 1), "fraction"},
	{"tidegate.config", "", strings.Replace(configOf(`{"event":"api","aggregate":"count"}`, `{"kind":"calendar"}`), `{"value":1}`, `{"value":"NaN"}`, 1), "not a number"},
	{"tidegate.config", "acme", configOf(`{"event":"api","aggregate":"count"}`, `{"kind":"calendar"}`), "concerns no customer"},
	{"tidegate.config", "", configOf(`{"event":"api","aggregate":"unique","value":"a","cap":1000001}`, `{"kind":"calendar"}`), "cap"},
	{"tidegate.config", "", configOf(`{"event":"api","aggregate":"count"}`, `{"kind":"anniversary","days":0}`), "days"},
	{"tidegate.config", "", configOf(`{"event":"api","aggregate":"count"}`, `{"kind":"rolling","days":-5}`), "days"},
	{"tidegate.config", "", configOf(`{"event":"api","aggregate":"count"}`, `{"kind":"anniversary","days":99999999}`), "days"},
	{"tidegate.config", "", configOf(`{"event":"api","aggregate":"count"}`, `{"days":30}`), "no window"},
	{"tidegate.config", "", configOf(`{"event":"api","aggregate":"median"}`, `{"kind":"calendar"}`), "no aggregate"},
	{"tidegate.config", "", configOf(`{"event":"api","aggregate":"sum"}`, `{"kind":"calendar"}`), "needs a value"},
	{"tidegate.config", "", configOf(`{"event":"tidegate.plan","aggregate":"count"}`, `{"kind":"calendar"}`), "cannot be called"},
	{"tidegate.config", "", configOf(`{"event":"api","aggregate":"unique","value":"a","cap":-1}`, `{"kind":"calendar"}`), "cap"},
}

func configOf(meter, window string) string {
	return `{"plans":[{"name":"free","default":true}],"gates":[{"feature":"api","meter":` + meter + `,"window":` + window + `,"limits":{"free":{"value":1}}}]}`
}

func controlEvent(typ, customer, source, id, data string) []byte {
	e := events.Event{Type: typ, Subject: customer, Source: source, ID: id, Data: []byte(data)}
	return e.AppendJSON(nil)
}

func TestControlEventsAreChecked(t *testing.T) {
	t.Parallel()
	f := newTestFolder(t, oneGate())
	f.sendBatch(epoch, events.Event{ID: "1", Type: "api", Subject: "acme"})
	for i, c := range oddControls {
		f.send(epoch, events.ControlToken, controlEvent(c.typ, c.customer, records.ControlSource, fmt.Sprint(i), c.data))
		if len(f.dead) != i+1 || !strings.Contains(f.dead[i].Reason, c.why) {
			t.Fatalf("%s %s: %+v, want %q", c.typ, c.data, f.dead, c.why)
		}
	}
	const plan = `{"plan":"pro","from":"2026-07-01T00:00:00Z","cut":true}`
	f.send(epoch, events.ControlToken, controlEvent(records.ControlPlan, "acme", "billing-api", "x", plan))
	f.send(epoch, events.ControlToken, controlEvent(records.ControlPlan, "acme", records.ControlSource, "", plan))
	if n := len(f.dead) - len(oddControls); n != 2 {
		t.Errorf("%d of 2 letters about source and id", n)
	}
	f.sendBatch(epoch.Add(time.Hour), events.Event{ID: "2", Type: "api", Subject: "acme"})
	if got := f.total("acme", "api"); got != "2" || f.catalog.Gates[0].Window.Days != 30 {
		t.Errorf("total %s, catalog %+v", got, f.catalog)
	}
}

// TestAppsCannotSendControlEvents holds what the subject's depth is for: whatever an
// app's token is, its message is one event of usage.
func TestAppsCannotSendControlEvents(t *testing.T) {
	t.Parallel()
	f := newTestFolder(t, oneGate())
	plan := controlEvent(records.ControlPlan, "acme", records.ControlSource, "x", `{"plan":"pro","from":"2026-07-01T12:00:00Z","cut":true}`)
	old := events.Event{ID: "old", Type: "api", Subject: "acme", Time: epoch.Add(-horizon - day)}
	for i, c := range []struct {
		token string
		data  []byte
	}{
		{"~control", plan}, {"acme", plan}, {"~batch", batchOf([]events.Event{old})}, {"~import", batchOf([]events.Event{old})}, {"~import", old.AppendJSON(nil)},
		{"in", plan}, {"acme", old.AppendJSON(nil)}, {"=ZZ", old.AppendJSON(nil)}, {"other", []byte(`{"type":"api","subject":"acme"}`)},
	} {
		f.send(epoch, "in."+c.token, c.data)
		if len(f.dead) != i+1 {
			t.Errorf("in.%s %s is no dead letter", c.token, c.data)
		}
	}
	if !strings.Contains(f.dead[0].Reason, "the customer \"acme\"") {
		t.Errorf("reason %q", f.dead[0].Reason)
	}
	if f.send(epoch, "in.~control", []byte(`{"type":"api"}`)); !strings.Contains(f.dead[len(f.dead)-1].Reason, "not a customer's token") {
		t.Errorf("reason %q", f.dead[len(f.dead)-1].Reason)
	}
	if c := f.customers.find("acme"); c != nil {
		t.Errorf("something has changed: %s", f.total("acme", "api"))
	}
	f.send(epoch, "in.acme", []byte(`{"type":"api"}`))
	f.send(epoch, "acme", []byte(`{"type":"api"}`)) // as the first versions stored it
	f.send(epoch, "in.in", []byte(`{"type":"api"}`))
	if got := f.total("acme", "api") + f.total("in", "api"); got != "21" {
		t.Errorf("counted %s", got)
	}
}

// FuzzMessage folds hostile messages of all kinds. A control event that is refused has
// changed nothing, and afterwards a use still counts.
func FuzzMessage(f *testing.F) {
	kinds := []string{"in.acme", "acme", events.BatchToken, events.ImportToken, events.ControlToken, "in.~control"}
	for i, c := range oddControls {
		f.Add(byte(4), controlEvent(c.typ, c.customer, records.ControlSource, fmt.Sprint(i), c.data), int64(i))
	}
	f.Add(byte(4), controlEvent(records.ControlPlan, "acme", records.ControlSource, "a", `{"plan":"pro","from":"2026-07-01T12:00:00Z","cut":true}`), int64(1e12))
	f.Add(byte(4), controlEvent(records.ControlAnchor, "acme", records.ControlSource, "b", `{"anchor":"1970-01-01T00:00:00Z","from":"2200-01-01T00:00:00Z"}`), int64(-1e12))
	f.Add(byte(4), controlEvent(records.ControlOverride, "acme", records.ControlSource, "c", `{"feature":"api","override":{"limit":1,"grant":9223372036854775807}}`), int64(5))
	f.Add(byte(4), controlEvent(records.ControlConfig, "", records.ControlSource, "d", configOf(`{"event":"api","aggregate":"max","value":"a"}`, `{"kind":"rolling","days":3660}`)), int64(0))
	f.Add(byte(2), batchOf([]events.Event{{ID: "1", Type: "api", Subject: "acme", Data: []byte(`{"a":1e300}`)}}), int64(0))
	f.Add(byte(3), batchOf([]events.Event{{ID: "1", Type: "api", Subject: "acme", Time: time.Unix(1, 0)}}), int64(0))
	f.Add(byte(0), []byte(`{"type":"api","id":"1","time":"9999-12-31T23:59:59Z"}`), int64(3e12))
	f.Fuzz(func(t *testing.T, kind byte, data []byte, ahead int64) {
		if len(data) > 1<<20 {
			return
		}
		fold := newTestFolder(t, oneGate())
		fold.sendBatch(epoch, events.Event{ID: "before", Type: "api", Subject: "acme"})
		at, last := epoch.Add(time.Duration(max(ahead%int64(90*day), 0))), kinds[int(kind)%len(kinds)]
		fold.send(at, last, data)
		if last == events.ControlToken && len(fold.dead) > 0 && !reflect.DeepEqual(fold.catalog, oneGate()) {
			t.Fatalf("refused, but it has changed the catalog: %+v", fold.catalog)
		}
		if err := fold.catalog.Validate(); err != nil {
			t.Fatalf("accepted: %v", err)
		}
		fold.sendControl(at.Add(time.Second), records.ControlConfig, "", "after", oneGate())
		fold.sendBatch(at.Add(time.Minute), events.Event{ID: "after", Type: "api", Subject: "new"})
		packed := last == events.BatchToken || last == events.ImportToken // which may hold uses of this customer
		if got := fold.total("new", "api"); got != "1" && !packed {
			t.Fatalf("the use afterwards counts as %s", got)
		}
	})
}
