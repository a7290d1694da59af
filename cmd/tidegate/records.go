package main

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/csv"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/schollz/progressbar/v3"

	"github.com/tidegate-io/tidegate/events"
)

// maxLine bounds a line of NDJSON: an event and some room for spaces.
const maxLine = 2 * events.MaxEventBytes

// readEvents hands every event of r to f, with its line and the bytes that it
// was read from, or why the line cannot be read. format is ndjson or csv.
func readEvents(r io.Reader, format string, f func(line int, e events.Event, raw []byte, err error) error) error {
	if format == "csv" {
		return readCSV(r, f)
	}
	in := bufio.NewReaderSize(r, maxLine)
	for line := 1; ; line++ {
		b, err := in.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			for errors.Is(err, bufio.ErrBufferFull) { // skip the rest of it
				_, err = in.ReadSlice('\n')
			}
			if ferr := f(line, events.Event{}, nil, fmt.Errorf("the line has more than %d bytes", maxLine)); ferr != nil {
				return ferr
			}
			b = nil
		}
		if b = bytes.TrimSpace(b); len(b) > 0 {
			raw := bytes.Clone(b)
			e, derr := events.Decode(raw)
			if ferr := f(line, e, raw, derr); ferr != nil {
				return ferr
			}
		}
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// readCSV takes columns named like the attributes of an event; `customer` is
// another name of subject, and every other column becomes a member of data.
func readCSV(r io.Reader, f func(line int, e events.Event, raw []byte, err error) error) error {
	in := csv.NewReader(r)
	head, err := in.Read()
	if err != nil {
		return fmt.Errorf("CSV: the first line must name the columns: %w", err)
	}
	for {
		cells, err := in.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		line, _ := in.FieldPos(0)
		var wrong *csv.ParseError
		if errors.As(err, &wrong) {
			if ferr := f(wrong.Line, events.Event{}, nil, wrong.Err); ferr != nil {
				return ferr
			}
			continue
		}
		if err != nil {
			return err
		}
		e, raw, err := csvEvent(head, cells)
		if ferr := f(line, e, raw, err); ferr != nil {
			return ferr
		}
	}
}

func csvEvent(head, cells []string) (events.Event, []byte, error) {
	m, data := map[string]any{}, map[string]any{}
	for i, name := range head {
		v := cells[i]
		switch {
		case v == "":
		case name == "customer":
			m["subject"] = v
		case name == "id", name == "source", name == "type", name == "subject", name == "time":
			m[name] = v
		default:
			if _, err := events.ParseValue(v); err == nil && json.Valid([]byte(v)) {
				data[name] = json.Number(v)
			} else {
				data[name] = v
			}
		}
	}
	if len(data) > 0 {
		m["data"] = data
	}
	raw, err := json.Marshal(m)
	if err != nil {
		return events.Event{}, nil, err
	}
	e, err := events.Decode(raw)
	return e, raw, err
}

// input is a file, or standard input for "-", with a progress bar on a
// terminal.
type input struct {
	io.Reader
	name   string
	format string
	bar    *progressbar.ProgressBar
	close  func() error
}

func (e *env) open(path, format string) (*input, error) {
	in := &input{Reader: e.stdin, name: "standard input", format: format, close: func() error { return nil }}
	size := int64(-1)
	if path != "-" && path != "" {
		f, err := os.Open(path)
		if err != nil {
			return nil, fmt.Errorf("%w: name a file that can be read, or - for standard input", err)
		}
		if st, err := f.Stat(); err == nil && st.Mode().IsRegular() {
			size = st.Size()
		}
		in.Reader, in.name, in.close = f, path, f.Close
	}
	if in.format == "" {
		in.format = "ndjson"
		if filepath.Ext(path) == ".csv" {
			in.format = "csv"
		}
	}
	if f, ok := e.stderr.(*os.File); ok && isTerminal(f) {
		in.bar = progressbar.NewOptions64(size, progressbar.OptionSetWriter(f), progressbar.OptionShowBytes(true),
			progressbar.OptionThrottle(100*time.Millisecond), progressbar.OptionClearOnFinish(), progressbar.OptionSetDescription(in.name))
		in.Reader = io.TeeReader(in.Reader, in.bar)
	}
	return in, nil
}

func (in *input) finish() {
	if in.bar != nil {
		_ = in.bar.Finish()
	}
	_ = in.close()
}

func isTerminal(f *os.File) bool {
	st, err := f.Stat()
	return err == nil && st.Mode()&os.ModeCharDevice != 0
}

// lineIDs gives events without an id one that depends on what they say, and on
// how often the same line came before: reading a file again gives the same ids.
type lineIDs map[[sha256.Size]byte]int

func (l lineIDs) next(raw []byte) string {
	sum := sha256.Sum256(raw)
	l[sum]++
	return hex.EncodeToString(sum[:12]) + "-" + strconv.Itoa(l[sum])
}

// tally counts what a transfer did, and prints the first refusals.
type tally struct {
	Accepted int       `json:"accepted"`
	Rejected []refusal `json:"rejected"`
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
	for _, r := range t.Rejected[:min(len(t.Rejected), shown)] {
		_, _ = fmt.Fprintf(e.stderr, "line %d: %s\n", r.Line, printable(r.Error))
	}
	return fmt.Errorf("%d of %d %s were refused: correct those lines and run the command again, what was accepted is not counted twice",
		len(t.Rejected), t.Accepted+len(t.Rejected), what)
}
