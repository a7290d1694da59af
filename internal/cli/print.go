package cli

import (
	"encoding/json"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"
)

// print writes raw JSON as it came, or a table.
func (e *env) print(raw json.RawMessage, table func(*tabwriter.Writer) error) error {
	if e.Output == "json" {
		_, err := fmt.Fprintf(e.stdout, "%s\n", raw)
		return err
	}
	w := tabwriter.NewWriter(e.stdout, 0, 4, 2, ' ', 0)
	if err := table(w); err != nil {
		return err
	}
	return w.Flush()
}

// printAny is print for what was not JSON yet.
func (e *env) printAny(v any, table func(*tabwriter.Writer) error) error {
	raw, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return e.print(raw, table)
}

func row(w io.Writer, cells ...any) {
	for i, c := range cells {
		if i > 0 {
			_, _ = fmt.Fprint(w, "\t")
		}
		switch c := c.(type) {
		case time.Time:
			if c.IsZero() {
				_, _ = fmt.Fprint(w, "-")
				continue
			}
			_, _ = fmt.Fprint(w, c.UTC().Format("2006-01-02 15:04"))
		case *time.Time:
			if c == nil {
				_, _ = fmt.Fprint(w, "-")
				continue
			}
			_, _ = fmt.Fprint(w, c.UTC().Format("2006-01-02 15:04"))
		case string:
			if c == "" {
				c = "-"
			}
			_, _ = fmt.Fprint(w, printable(c))
		default:
			_, _ = fmt.Fprint(w, c)
		}
	}
	_, _ = fmt.Fprintln(w)
}

// printable keeps what came from outside from moving the cursor.
func printable(s string) string {
	return strings.Map(func(r rune) rune {
		if r < 0x20 || r >= 0x7f && r < 0xa0 {
			return '�'
		}
		return r
	}, s)
}
