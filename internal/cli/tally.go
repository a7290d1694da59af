package cli

import (
	"cmp"
	"fmt"
)

// tally counts what a transfer did, and prints the first refusals.
type tally struct {
	Accepted int       `json:"accepted"`
	Rejected []refusal `json:"rejected"`
	unit     string    // of what is counted; "" is a line
}

type refusal struct {
	Line  int    `json:"line"`
	Error string `json:"error"`
}

func (t *tally) reject(line int, err error) {
	t.Rejected = append(t.Rejected, refusal{line, err.Error()})
}

func (e *env) report(t *tally, verb string) error { return e.reportOf(t, verb, "events") }

func (e *env) reportOf(t *tally, verb, what string) error {
	if t.Rejected == nil {
		t.Rejected = []refusal{}
	}
	if e.Output == "json" {
		if err := e.printAny(t, nil); err != nil {
			return err
		}
	} else {
		_, _ = fmt.Fprintf(e.stdout, "%s %d %s\n", verb, t.Accepted, what)
	}
	if len(t.Rejected) == 0 {
		return nil
	}
	const shown = 20
	unit := cmp.Or(t.unit, "line")
	for _, r := range t.Rejected[:min(len(t.Rejected), shown)] {
		_, _ = fmt.Fprintf(e.stderr, "%s %d: %s\n", unit, r.Line, printable(r.Error))
	}
	return fmt.Errorf("%d of %d %s were refused: correct those %ss and run the command again, what was accepted is not counted twice",
		len(t.Rejected), t.Accepted+len(t.Rejected), what, unit)
}
