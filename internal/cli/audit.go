package cli

import (
	"encoding/csv"
	"encoding/json"
	"net/url"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/tidegate-io/tidegate/internal/audit"
	"github.com/tidegate-io/tidegate/internal/misuse"
)

type auditCmd struct {
	Customer string `help:"Only changes of this customer."`
	Actor    string `help:"Only changes by this key, by config, or by an actor as it is printed."`
	From     string `help:"Only changes from this moment on (RFC 3339 or day)."`
	To       string `help:"Only changes before this moment."`
	Limit    int    `help:"How many of the newest." default:"100"`
}

// printsCSV marks the command as a list.
func (*auditCmd) printsCSV() {}

// auditPage is the most that the API gives at a time.
const auditPage = 1000

func (c *auditCmd) Run(e *env) error {
	if _, _, err := span(c.From, c.To); err != nil {
		return err
	}
	if c.Limit < 1 {
		return misuse.Errorf("--limit %d is too small: at least 1", c.Limit)
	}
	a, err := connectAPI()
	if err != nil {
		return err
	}
	q := url.Values{}
	for name, v := range map[string]string{"customer": c.Customer, "actor": c.Actor, "from": c.From, "to": c.To} {
		if v != "" {
			q.Set(name, v)
		}
	}
	entries := []json.RawMessage{}
	for len(entries) < c.Limit {
		q.Set("limit", strconv.Itoa(min(c.Limit-len(entries), auditPage)))
		var page struct {
			Entries []json.RawMessage
			Next    string
		}
		if err := a.get(e.ctx, "/v1/audit", q, &page); err != nil {
			return err
		}
		entries = append(entries, page.Entries...)
		if page.Next == "" {
			break
		}
		q.Set("cursor", page.Next)
	}
	return e.printEntries(entries)
}

func (e *env) printEntries(raw []json.RawMessage) error {
	if e.Output == "json" {
		return e.printAny(map[string]any{"entries": raw}, nil)
	}
	entries := make([]audit.Entry, len(raw))
	for i := range raw {
		if err := json.Unmarshal(raw[i], &entries[i]); err != nil {
			return err
		}
	}
	if e.Output == "csv" {
		w := csv.NewWriter(e.stdout)
		_ = w.Write([]string{"at", "id", "actor", "action", "customer", "feature", "before", "after", "reason", "result"})
		for _, t := range entries { // Flush returns the error of Write
			_ = w.Write([]string{t.At.Format(time.RFC3339Nano), t.ID, t.Actor, string(t.Action), t.Customer, t.Feature,
				string(t.Before), string(t.After), t.Reason, outcome(&t)})
		}
		w.Flush()
		return w.Error()
	}
	return e.print(nil, func(w *tabwriter.Writer) error {
		row(w, "AT", "ACTOR", "ACTION", "CUSTOMER", "FEATURE", "BEFORE", "AFTER", "REASON", "RESULT")
		for _, t := range entries {
			row(w, t.At, t.Actor, string(t.Action), t.Customer, t.Feature, clipped(t.Before), clipped(t.After), t.Reason, outcome(&t))
		}
		return nil
	})
}

func outcome(t *audit.Entry) string {
	if t.Erased {
		return "erased"
	}
	return string(t.Result)
}

// clipped keeps a table readable: JSON and CSV have all of a value.
func clipped(value json.RawMessage) string {
	const most = 60
	if runes := []rune(string(value)); len(runes) > most {
		return string(runes[:most]) + "…"
	}
	return string(value)
}
