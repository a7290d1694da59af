package history

import (
	"errors"
	"strings"
	"testing"

	"github.com/tidegate-io/tidegate/internal/misuse"
)

func TestMapping(t *testing.T) {
	t.Parallel()
	const csv = "user_id,id,at,type,tokens,what\n42,7,2025-01-31T00:00:00Z,api,5,\n"
	const line = `{"user_id":42,"id":"7","at":"2025-01-31T00:00:00Z","type":"api","tokens":5,"secret":"s","usage":{"total":3},"data":{"a":1}}` + "\n"
	for _, c := range []struct{ name, format, text, pairs, want string }{
		{"columns", "csv", csv, "customer=user_id,time=at",
			`{"data":{"tokens":5},"id":"7","subject":"42","time":"2025-01-31T00:00:00Z","type":"api"}`},
		{"a name that stands for something else", "csv", csv, "customer=id,time=at,type=what",
			`{"data":{"tokens":5,"user_id":42},"subject":"7","time":"2025-01-31T00:00:00Z"}`},
		{"a value from a column", "csv", csv, "subject=user_id,time=at,data.usage.total=tokens",
			`{"data":{"usage":{"total":5}},"id":"7","subject":"42","time":"2025-01-31T00:00:00Z","type":"api"}`},
		{"the beginning of a spreadsheet's file", "csv", "\ufeff" + csv, "customer=user_id,time=at",
			`{"data":{"tokens":5},"id":"7","subject":"42","time":"2025-01-31T00:00:00Z","type":"api"}`},
		{"fields", "ndjson", line, "customer=user_id,time=at",
			`{"data":{"a":1,"tokens":5},"id":"7","subject":"42","time":"2025-01-31T00:00:00Z","type":"api"}`},
		{"a value from inside", "ndjson", line, "customer=user_id,time=at,$.tokens=usage.total",
			`{"data":{"a":1,"tokens":3},"id":"7","subject":"42","time":"2025-01-31T00:00:00Z","type":"api"}`},
		{"a value that a meter reads", "ndjson", line, "customer=user_id,time=at,tokens=usage.total",
			`{"data":{"a":1,"tokens":3},"id":"7","subject":"42","time":"2025-01-31T00:00:00Z","type":"api"}`},
	} {
		m, err := ParseMapping(strings.Split(c.pairs, ","), EventNames, "tokens")
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
			continue
		}
		err = Read(strings.NewReader(c.text), c.format, m.Columns, func(_ int, rec *Record, err error) error {
			if err != nil {
				return err
			}
			if got, err := m.object(rec); err != nil || string(got) != c.want {
				t.Errorf("%s: %s, %v; want %s", c.name, got, err, c.want)
			}
			return nil
		})
		if err != nil {
			t.Errorf("%s: %v", c.name, err)
		}
	}
}

// What tells records without an id apart does not depend on the mapping: one
// that is corrected must not count everything again.
func TestMappingKeepsLinesApart(t *testing.T) {
	t.Parallel()
	for format, text := range map[string]string{
		"csv":    "customer,user_id,at,type\nx,acme,2025-01-31T00:00:00Z,api\n",
		"ndjson": `{"customer":"x","user_id":"acme","at":"2025-01-31T00:00:00Z","type":"api"}`,
	} {
		seen := map[string]bool{}
		for _, pairs := range [][]string{nil, {"customer=user_id"}, {"customer=user_id", "time=at"}} {
			m, err := ParseMapping(pairs, EventNames)
			if err != nil {
				t.Fatal(err)
			}
			err = Read(strings.NewReader(text), format, m.Columns, func(_ int, rec *Record, _ error) error {
				_, raw, err := m.Event(rec)
				seen[string(raw)] = true
				return err
			})
			if err != nil {
				t.Error(err)
			}
		}
		if len(seen) != 1 {
			t.Errorf("%s: %v", format, seen)
		}
	}
}

func TestMappingErrors(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		names Names
		pairs string
		says  string
	}{
		{EventNames, "customer", "NAME=COLUMN"},
		{EventNames, "customer=", "NAME=COLUMN"},
		{EventNames, "custmer=user_id", "subject, time, data.tokens"},
		{EventNames, "data.=user_id", "data.tokens"},
		{EventNames, "customer=a,subject=b", "twice"},
		{EventNames, "data.x=a,$.x=b", "twice"},
		{CustomerNames, "mail=address", "stripe_customer"},
		{CustomerNames, "data.x=address", "stripe_customer"},
		{EventNames, "customer=none", `"none", which is not there: the columns are user, at`},
	} {
		m, err := ParseMapping(strings.Split(c.pairs, ","), c.names, "tokens")
		if err == nil {
			err = m.Columns([]string{"user", "at"})
		}
		if err == nil || !errors.As(err, new(misuse.Error)) || !strings.Contains(err.Error(), c.says) {
			t.Errorf("%s: %v", c.pairs, err)
		}
	}
}
