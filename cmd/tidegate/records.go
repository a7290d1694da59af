package main

import (
	"bufio"
	"bytes"
	"cmp"
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
	"strings"
	"time"
	"unicode/utf8"

	"github.com/schollz/progressbar/v3"

	"github.com/tidegate-io/tidegate/events"
)

// maxLine bounds a line of NDJSON: an event and some room for spaces.
const maxLine = 2 * events.MaxEventBytes

// record is what a line, a row or a document says, by its own names.
type record struct {
	raw    []byte         // the line of NDJSON, until its fields are wanted
	fields map[string]any // of others
	csv    bool           // every value is text
	id     string         // of a document: its _id
}

// readRecords hands every record of r to f, with its line, or why the line
// cannot be read. format is ndjson or csv; head gets the columns of a CSV.
func readRecords(r io.Reader, format string, head func([]string) error, f func(line int, rec *record, err error) error) error {
	if format == "csv" {
		return readCSV(r, head, f)
	}
	in := bufio.NewReaderSize(r, maxLine)
	for line := 1; ; line++ {
		b, err := in.ReadSlice('\n')
		if errors.Is(err, bufio.ErrBufferFull) {
			for errors.Is(err, bufio.ErrBufferFull) { // skip the rest of it
				_, err = in.ReadSlice('\n')
			}
			if ferr := f(line, nil, fmt.Errorf("the line has more than %d bytes", maxLine)); ferr != nil {
				return ferr
			}
			b = nil
		}
		if b = bytes.TrimSpace(b); len(b) > 0 {
			if ferr := f(line, &record{raw: bytes.Clone(b)}, nil); ferr != nil {
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

// readCSV takes the first line for the names of the columns.
func readCSV(r io.Reader, columns func([]string) error, f func(line int, rec *record, err error) error) error {
	in := csv.NewReader(r)
	head, err := in.Read()
	if err != nil {
		return fmt.Errorf("CSV: the first line must name the columns: %w", err)
	}
	head[0] = strings.TrimPrefix(head[0], "\ufeff") // spreadsheets begin with it
	if err := columns(head); err != nil {
		return err
	}
	for {
		cells, err := in.Read()
		if errors.Is(err, io.EOF) {
			return nil
		}
		line, _ := in.FieldPos(0)
		var wrong *csv.ParseError
		if errors.As(err, &wrong) {
			if ferr := f(wrong.Line, nil, wrong.Err); ferr != nil {
				return ferr
			}
			continue
		}
		if err != nil {
			return err
		}
		rec, err := rowRecord(head, cells)
		if ferr := f(line, rec, err); ferr != nil {
			return ferr
		}
	}
}

// rowRecord has the cells that are not empty.
func rowRecord(head, cells []string) (*record, error) {
	rec := &record{fields: map[string]any{}, csv: true}
	for i, name := range head {
		if !utf8.ValidString(cells[i]) {
			return nil, fmt.Errorf("column %q is not valid UTF-8: save the file as UTF-8", name)
		}
		if cells[i] != "" {
			rec.fields[name] = cells[i]
		}
	}
	return rec, nil
}

// parse reads the fields of a line.
func (r *record) parse() error {
	if r.fields != nil {
		return nil
	}
	if !utf8.Valid(r.raw) {
		return errors.New("not valid UTF-8")
	}
	in := json.NewDecoder(bytes.NewReader(r.raw))
	in.UseNumber() // no rounding
	err := in.Decode(&r.fields)
	if err == nil {
		if _, err = in.Token(); errors.Is(err, io.EOF) {
			err = nil
		} else {
			err = errors.New("more follows it")
		}
	}
	if err != nil {
		return fmt.Errorf("not a JSON object: %w", err)
	}
	return nil
}

// event is what a record says by way of the mapping, and the bytes that tell
// records without an id apart: they don't depend on the mapping.
func (m *mapping) event(r *record) (e events.Event, raw []byte, err error) {
	if r.raw != nil && m.plain() {
		e, err = events.Decode(r.raw)
		return e, r.raw, err
	}
	body, err := m.object(r)
	if err != nil {
		return e, nil, err
	}
	raw = body
	switch {
	case r.raw != nil:
		raw = r.raw
	case r.csv && !m.plain():
		if raw, err = sentEvents().object(r); err != nil {
			return e, nil, err
		}
	}
	e, err = events.Decode(body)
	return e, raw, err
}

// object is what a record says by way of the mapping, as JSON.
func (m *mapping) object(r *record) ([]byte, error) {
	if err := r.parse(); err != nil {
		return nil, err
	}
	out, err := m.named(r.fields)
	if err != nil {
		return nil, err
	}
	if r.id != "" && m.from["id"] == "" {
		out["id"] = r.id
	}
	if m.names.data {
		if err := m.setData(out, r.fields, r.csv); err != nil {
			return nil, err
		}
	}
	return json.Marshal(out)
}

// sentEvents is the mapping of what is called as Tidegate calls it.
func sentEvents() *mapping { return &mapping{names: eventNames} }

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
	if in.bar = e.bar(size, in.name, progressbar.OptionShowBytes(true)); in.bar != nil {
		in.Reader = io.TeeReader(in.Reader, in.bar)
	}
	return in, nil
}

// bar shows progress on a terminal; elsewhere it is nil.
func (e *env) bar(size int64, name string, more ...progressbar.Option) *progressbar.ProgressBar {
	f, ok := e.stderr.(*os.File)
	if !ok || !isTerminal(f) {
		return nil
	}
	return progressbar.NewOptions64(size, append(more, progressbar.OptionSetWriter(f), progressbar.OptionThrottle(100*time.Millisecond),
		progressbar.OptionClearOnFinish(), progressbar.OptionSetDescription(name))...)
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
