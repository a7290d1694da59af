package cli

import (
	"encoding/json"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/tidegate-io/tidegate/internal/funnel"
)

type funnelCmd struct {
	From string `help:"Beginning, such as 2026-01-31 (default: 30 days before the end)."`
	To   string `help:"End, exclusive (default: now)."`
	By   string `help:"One line for each plan, feature or week." enum:",plan,feature,week" default:""`
}

func (c *funnelCmd) Run(e *env) error {
	a, err := connectAPI()
	if err != nil {
		return err
	}
	q := url.Values{}
	for name, v := range map[string]string{"from": c.From, "to": c.To, "by": c.By} {
		if v != "" {
			q.Set(name, v)
		}
	}
	var raw json.RawMessage
	if err := a.get(e.ctx, "/v1/funnel", q, &raw); err != nil {
		return err
	}
	rows := []funnel.Row{{}}
	if c.By == "" {
		err = json.Unmarshal(raw, &rows[0])
	} else {
		err = json.Unmarshal(raw, &rows)
	}
	if err != nil {
		return err
	}
	return e.print(raw, func(w *tabwriter.Writer) error {
		row(w, "KEY", "REACHED", "MAILED", "DELIVERED", "CLICKED", "CONVERTED", "MEDIAN TIME", "P90", "AMOUNTS")
		for _, r := range rows {
			row(w, r.Key, r.Reached, r.Mailed, r.Delivered, r.Clicked, r.Converted, seconds(r.MedianSeconds), seconds(r.P90Seconds), amounts(r.Amounts))
		}
		return nil
	})
}

func seconds(s *int64) string {
	if s == nil {
		return "-"
	}
	return (time.Duration(*s) * time.Second).String()
}

// decimals are those of currencies that don't have two
// (https://docs.stripe.com/currencies).
var decimals = map[string]int{
	"bif": 0, "clp": 0, "djf": 0, "gnf": 0, "jpy": 0, "kmf": 0, "krw": 0, "mga": 0, "pyg": 0, "rwf": 0, "vnd": 0, "vuv": 0, "xaf": 0, "xof": 0, "xpf": 0,
	"bhd": 3, "jod": 3, "kwd": 3, "omr": 3, "tnd": 3,
}

// amounts writes sums, which are in their currencies' smallest units, as people
// read them.
func amounts(all map[string]int64) string {
	var parts []string
	for _, currency := range slices.Sorted(maps.Keys(all)) {
		digits, known := decimals[currency]
		if !known {
			digits = 2
		}
		n := fmt.Sprintf("%0*d", digits+1, all[currency])
		if digits > 0 {
			n = n[:len(n)-digits] + "." + n[len(n)-digits:]
		}
		parts = append(parts, currency+" "+n)
	}
	return strings.Join(parts, ", ")
}
