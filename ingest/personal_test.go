package ingest

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/internal/records"
)

func TestPersonalDataIsListed(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	ok(t, b.store.WriteCustomers(t.Context(), []records.Customer{{ID: "acme", Email: "ada@acme.example", Locale: "de"}}))
	_, err := b.store.InsertNotification(t.Context(), records.Notification{Key: "k", Customer: "acme", To: "ada@acme.example", Body: []byte(`{"text":"Dear Ada"}`), State: records.MailSent})
	ok(t, err)
	ok(t, b.store.WriteConversion(t.Context(), records.Conversion{Key: "k", Customer: "acme", ConvertedAt: testNow}))
	b.want(202, "POST", "/v1/events", `{"type":"api","subject":"acme"}`)
	b.want(200, "PUT", "/v1/customers/acme", `{"locale":"fr","plan":"pro"}`)
	var answer struct {
		Customer string
		Held     []struct {
			Where  string
			Erased bool
			Until  *time.Time
			Data   json.RawMessage
		}
	}
	ok(t, json.Unmarshal(b.want(200, "GET", "/v1/customers/acme/data", "").body, &answer))
	got := map[string]string{}
	for _, h := range answer.Held {
		got[h.Where] = string(h.Data)
		if stream := h.Where == "USAGE" || h.Where == "ACCOUNT" || h.Where == "AUDIT"; stream != (h.Until != nil) || stream && h.Until.Before(time.Now().Add(69*24*time.Hour)) {
			t.Errorf("%s until %v", h.Where, h.Until)
		}
	}
	for _, where := range []string{"customers", "notifications", "conversions", "USAGE", "ACCOUNT", "AUDIT", "STATE"} {
		if _, there := got[where]; !there {
			t.Errorf("%s is not listed", where)
		}
	}
	var mails []struct{ Body struct{ Text string } }
	ok(t, json.Unmarshal([]byte(got["notifications"]), &mails))
	if len(mails) != 1 || mails[0].Body.Text != "Dear Ada" || len(got) != 7 {
		t.Errorf("%v", got)
	}
	if a := b.want(200, "GET", "/v1/customers/nobody/data", "").json(t); a["customer"] != "nobody" {
		t.Errorf("%v", a)
	}
	b.want(400, "GET", "/v1/customers/%2E%2E/data", "")
}
