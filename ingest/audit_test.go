package ingest

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/internal/audit"
	"github.com/tidegate-io/tidegate/internal/gate"
)

type auditPage struct {
	Entries []audit.Entry
	Next    string
}

func (b *bench) audit(query string) (p auditPage) {
	b.t.Helper()
	ok(b.t, json.Unmarshal(b.want(200, "GET", "/v1/audit?"+query, "").body, &p))
	return p
}

// limit bounds a stream to so many messages.
func (b *bench) limit(stream string, messages int64) {
	b.t.Helper()
	s, err := b.js.Stream(b.t.Context(), stream)
	ok(b.t, err)
	cfg := s.CachedInfo().Config
	cfg.MaxMsgs = messages
	_, err = b.js.UpdateStream(b.t.Context(), cfg)
	ok(b.t, err)
}

func TestAuditPages(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	for i := range 7 {
		b.want(200, "PUT", fmt.Sprintf("/v1/customers/c%d", i%2), fmt.Sprintf(`{"overrides":{"api":{"limit":%d}}}`, i), "X-Tidegate-User: ada@host")
	}
	for query, want := range map[string]string{
		"": "6543210", "customer=c1": "531", "actor=local": "6543210", "actor=local+(ada@host)": "6543210", "actor=other": "", "from=2030-01-01": "", "to=2030-01-01": "6543210",
	} {
		for _, limit := range []int{1, 2, 3, 100} {
			got, cursor := "", ""
			for pages := 0; ; pages++ {
				p := b.audit(fmt.Sprintf("%s&limit=%d&cursor=%s", query, limit, cursor))
				if len(p.Entries) > limit || pages > 10 {
					t.Fatalf("%s, %d a page: page %d has %d", query, limit, pages, len(p.Entries))
				}
				for _, e := range p.Entries {
					var o gate.Override
					ok(t, json.Unmarshal(e.After, &o))
					got += o.Limit.String()
				}
				if cursor = p.Next; cursor == "" {
					break
				}
			}
			if got != want {
				t.Errorf("%s, %d a page: %s, want %s", query, limit, got, want)
			}
		}
	}
	newest := b.audit("limit=1").Entries[0].At
	if p := b.audit("to=" + newest.Format(time.RFC3339Nano)); len(p.Entries) != 6 {
		t.Errorf("%d before the newest", len(p.Entries))
	}
	if p := b.audit("from=" + newest.Format(time.RFC3339Nano)); len(p.Entries) != 1 {
		t.Errorf("%d from the newest on", len(p.Entries))
	}
	for _, bad := range []string{"limit=0", "limit=1001", "limit=x", "cursor=!", "cursor=YTA", "from=x", "to=x", "from=2026-03-02&to=2026-03-01", "user=ada", "customer=a%00b", "Customer=c1"} {
		b.want(400, "GET", "/v1/audit?"+bad, "")
	}
}

// The key is who did it, and only a key with the scope admin may see it.
func TestAuditNamesTheKey(t *testing.T) {
	t.Parallel()
	keys, err := ParseKeys("app:key of the app:events,dashboard:key to read:read,ops:key of ops:admin,support:key of support:admin")
	ok(t, err)
	b := newBench(t, func(o *Options) { o.Keys = func() Keys { return keys } })
	for key, status := range map[string]int{"key of the app": 403, "key to read": 403, "other": 401, "": 401} {
		b.key = key
		b.want(status, "GET", "/v1/audit", "")
	}
	for _, c := range []struct{ key, user string }{{"key of ops", ""}, {"key of support", "ada) ops (@host\u202e"}} {
		b.key = c.key
		b.want(202, "POST", "/v1/customers", `[{"id":"acme","plan":"pro"}]`, "X-Tidegate-User: "+c.user)
	}
	b.key = "key of the app"
	b.want(400, "POST", "/v1/customers", `[{"id":"acme","plan":"pro"}]`)
	b.want(202, "POST", "/v1/customers", `[{"id":"acme","plan":"pro"},{"id":"b","email":"b@b.example"}]`)
	b.key = "key of ops"
	list := b.audit("").Entries
	if len(list) != 2 || list[0].Actor != "support (ada ops @host)" || list[1].Actor != "ops" {
		t.Errorf("%+v", list)
	}
	if list := b.audit("actor=ops").Entries; len(list) != 1 {
		t.Errorf("%+v", list)
	}
}

func TestAuditHasTheReasonOfEachChange(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.want(200, "PUT", "/v1/customers/acme", `{"plan":"pro","overrides":{"api":{"limit":1,"reason":"of the override"}},"reason":"contract 7"}`)
	b.want(202, "POST", "/v1/customers", `[{"id":"acme","anchor":"2026-03-01T00:00:00Z","reason":"moved in"}]`)
	for i, want := range []string{"moved in", "of the override", "contract 7"} {
		if e := b.audit("").Entries[i]; e.Reason != want {
			t.Errorf("%s: %q, want %q", e.Action, e.Reason, want)
		}
	}
	b.want(204, "DELETE", "/v1/customers/acme?reason=asked+on+May+3", "")
	if e := b.audit("").Entries[0]; e.Reason != "asked on May 3" {
		t.Errorf("%+v", e)
	}
	b.want(400, "DELETE", "/v1/customers/acme?reason=%1b[2J", "")
	b.want(400, "DELETE", "/v1/customers/acme?why=x", "")
}

// While an owner is away it is not known what held, and the change goes on.
func TestAuditWithoutOwners(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.want(200, "PUT", "/v1/customers/acme", `{"plan":null,"overrides":{"api":null}}`)
	b.want(200, "PUT", "/v1/gates/api", `{"off":true}`)
	b.want(400, "PUT", "/v1/gates/api", `{"off":true,"reason":"`+strings.Repeat("x", 501)+`"}`)
	list := b.audit("").Entries
	if len(list) != 3 || len(b.accounts()) != 2 {
		t.Fatalf("%+v", list)
	}
	for _, e := range list {
		if e.Before != nil || e.After == nil || e.Erased || e.Result != "" {
			t.Errorf("%+v", e)
		}
	}
}

// The messages of a change have the ID of its entries. So an entry whose change never
// came, because the process died between the two, can be told: no message has its ID.
func TestMessagesNameTheirEntries(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.folds()
	b.want(200, "PUT", "/v1/customers/acme", `{"email":"ada@acme.example"}`)
	b.want(200, "PUT", "/v1/customers/acme", `{"plan":"pro","stripe_customer":"cus_1"}`)
	b.want(200, "PUT", "/v1/gates/api", `{"off":true}`)
	lost := audit.Entry{ID: audit.NewID(), Actor: "local", Action: audit.CustomerPlan, Customer: "acme", After: audit.Value("free")}
	ok(t, b.srv.audit.Write(t.Context(), []audit.Entry{lost}))

	made := map[string]int{}
	for _, stream := range []string{"ACCOUNT", "BILLING"} {
		for _, m := range b.stored(stream) {
			made[m.Header.Get(audit.Header)]++
		}
	}
	list := b.audit("").Entries
	if len(list) != 4 || list[2].ID != list[3].ID || list[1].ID == list[2].ID {
		t.Fatalf("%+v", list)
	}
	if made[""] == 0 || made[list[0].ID] != 0 || made[list[1].ID] != 1 || made[list[2].ID] != 2 {
		t.Errorf("%v\n%+v", made, list)
	}
}

// A change that fails after its entry was written is shown as failed.
func TestFailedChangesAreToldInTheAudit(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.want(200, "PUT", "/v1/customers/acme", `{"plan":"pro"}`)
	b.limit("ACCOUNT", 2)
	a := b.want(503, "POST", "/v1/customers", `[{"id":"a","plan":"pro"},{"id":"b","plan":"pro"},{"id":"c","plan":"pro"}]`)
	if a.header.Get("Retry-After") == "" {
		t.Errorf("%v", a.header)
	}
	b.want(503, "PUT", "/v1/gates/api", `{"off":true}`)
	b.want(503, "DELETE", "/v1/customers/acme", "")
	stored := map[string]bool{}
	for _, c := range b.accounts() {
		stored[c.Customer] = true
	}
	list := b.audit("").Entries
	if len(list) != 6 || len(stored) != 2 {
		t.Fatalf("%d entries, %v", len(list), stored)
	}
	for _, e := range list {
		want := audit.Result("")
		switch {
		case e.Action == audit.CustomerErase: // the mapping was taken back
			want = audit.Unknown
		case e.Action == audit.GateOff, !stored[e.Customer]:
			want = audit.Failed
		}
		if e.Result != want {
			t.Errorf("%s of %q: %q, want %q", e.Action, e.Customer, e.Result, want)
		}
	}
}

// Half of a change is stored: whether it happened is not known.
func TestHalfOfAChange(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.folds()
	b.want(200, "PUT", "/v1/customers/acme", `{"email":"ada@acme.example"}`)
	b.limit("ACCOUNT", 1)
	b.want(503, "PUT", "/v1/customers/acme", `{"stripe_customer":"cus_1"}`)
	if list := b.audit("").Entries; len(list) != 1 || list[0].Result != audit.Unknown || b.mapped("cus_1") != "acme" {
		t.Errorf("%+v", list)
	}
	b.limit("BILLING", 1)
	b.want(503, "PUT", "/v1/customers/acme", `{"stripe_customer":"cus_2"}`)
	if list := b.audit("").Entries; len(list) != 2 || list[0].Result != audit.Failed || b.mapped("cus_2") != "" {
		t.Errorf("%+v", list)
	}
}

func TestAuditThatCannotBeWritten(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	ok(t, b.js.DeleteStream(t.Context(), "AUDIT"))
	for _, c := range []struct{ method, path, body string }{
		{"PUT", "/v1/customers/acme", `{"plan":"pro"}`}, {"DELETE", "/v1/customers/acme", ""}, {"PUT", "/v1/gates/api", `{"off":true}`},
		{"POST", "/v1/customers", `[{"id":"a","anchor":"2026-01-01T00:00:00Z"},{"id":"b","email":"b@b.example"}]`},
	} {
		a := b.want(503, c.method, c.path, c.body)
		if a.header.Get("Retry-After") == "" || !strings.Contains(string(a.body), "nothing was changed") {
			t.Errorf("%s %s: %v %s", c.method, c.path, a.header, a.body)
		}
	}
	b.want(503, "GET", "/v1/audit", "")
	if n := len(b.accounts()) + len(b.stored("BILLING")); n != 0 {
		t.Errorf("%d messages were stored", n)
	}
	b.want(200, "PUT", "/v1/customers/acme", `{"email":"ada@acme.example"}`)
}

// An address never gets into the audit log.
func TestAuditHasNoAddresses(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.want(200, "PUT", "/v1/customers/acme", `{"plan":"pro","email":"ada@acme.example","locale":"pt-BR"}`)
	for _, m := range b.stored("AUDIT") {
		if strings.Contains(string(m.Data), "ada@") || strings.Contains(string(m.Data), "pt-BR") {
			t.Errorf("%s: %s", m.Subject, m.Data)
		}
	}
}

// BenchmarkImportCustomers is a batch of 10,000 customers with and without entries.
func BenchmarkImportCustomers(b *testing.B) {
	for name, field := range map[string]string{"address": `"email":"c@acme.example"`, "plan": `"email":"c@acme.example","plan":"pro"`} {
		b.Run(name, func(b *testing.B) {
			s := newBench(b)
			var list []string
			for i := range maxBatchEvents {
				list = append(list, fmt.Sprintf(`{"id":"c%d",%s}`, i, field))
			}
			body := "[" + strings.Join(list, ",") + "]"
			for b.Loop() {
				s.want(202, "POST", "/v1/customers", body)
			}
		})
	}
}
