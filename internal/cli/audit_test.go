package cli

import (
	"encoding/csv"
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidegate-io/tidegate/internal/audit"
)

// audits reads who switched the gate, in each form, over pages.
func audits(t *testing.T, a api) {
	t.Helper()
	read := func(args ...string) []audit.Entry {
		t.Helper()
		code, stdout, stderr := command(t, "", append([]string{"audit", "--output", "json"}, args...)...)
		var list struct{ Entries []audit.Entry }
		if err := json.Unmarshal([]byte(stdout), &list); err != nil || code != exitOK {
			t.Fatalf("exit %d: %v: %s%s", code, err, stdout, stderr)
		}
		return list.Entries
	}
	list := read()
	if len(list) != 6 { // off, on, off, each as a table and as JSON
		t.Fatalf("%+v", list)
	}
	if e := list[0]; e.Actor != "local ("+whoami()+")" || e.Action != audit.GateOff || e.Feature != "api" || e.Reason != "fire" || string(e.After) != `{"off":true}` {
		t.Errorf("%+v", e)
	}
	if again := read("--customer", "acme"); len(again) != 0 {
		t.Errorf("%+v", again)
	}
	var many []string
	for i := range auditPage {
		many = append(many, fmt.Sprintf(`{"id":"c%d","anchor":"2026-01-01T00:00:00Z"}`, i))
	}
	if err := a.do(t.Context(), "POST", "/v1/customers", "application/json", []byte("["+strings.Join(many, ",")+"]"), nil); err != nil {
		t.Fatal(err)
	}
	if again := read("--limit", "2000"); len(again) != auditPage+6 {
		t.Errorf("%d entries over pages", len(again))
	}
	code, stdout, stderr := command(t, "", "audit", "--output", "csv", "--limit", fmt.Sprint(auditPage+1))
	rows, err := csv.NewReader(strings.NewReader(stdout)).ReadAll()
	if code != exitOK || err != nil || len(rows) != auditPage+2 {
		t.Fatalf("exit %d: %v: %d rows: %s", code, err, len(rows), stderr)
	}
	if last := rows[auditPage+1]; last[3] != "gate.off" || last[6] != string(list[0].Before) || last[8] != "fire" {
		t.Errorf("%q", last)
	}
}

// withoutAudit deletes the audit log: doctor says so.
func withoutAudit(t *testing.T, url string) {
	t.Helper()
	nc, err := nats.Connect(url)
	if err != nil {
		t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	if err := js.DeleteStream(t.Context(), "AUDIT"); err != nil {
		t.Fatal(err)
	}
	if code, stdout, _ := command(t, "", "doctor"); code != exitFailed || !strings.Contains(stdout, "stream AUDIT is not there") {
		t.Errorf("exit %d: %s", code, stdout)
	}
	if code, _, stderr := command(t, "", "gate", "on", "api"); code != exitFailed || !strings.Contains(stderr, "nothing was changed") {
		t.Errorf("exit %d: %s", code, stderr)
	}
}
