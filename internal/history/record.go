package history

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"unicode/utf8"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/strict"
)

// maxLine bounds a line of NDJSON: an event and some room for spaces.
const maxLine = 2 * events.MaxEventBytes

// Record holds what a line, a row or a document says, by the source's names.
type Record struct {
	raw    []byte         // the line of NDJSON, until its fields are wanted
	fields map[string]any // of others
	csv    bool           // every value is text
	id     string         // of a document: its _id
}

// Handler is called with every record and its line or number, or with the reason why
// it cannot be read. An error that it returns ends the reading.
type Handler func(line int, rec *Record, err error) error

// Read calls f with every record of r. format is ndjson or csv; columns gets the
// first line of a CSV.
func Read(r io.Reader, format string, columns func([]string) error, f Handler) error {
	if format == "csv" {
		return readCSV(r, columns, f)
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
			if ferr := f(line, &Record{raw: bytes.Clone(b)}, nil); ferr != nil {
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

// parse reads the fields of a line.
func (r *Record) parse() error {
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
	if err == nil {
		err = strict.Check(r.raw)
	}
	if err != nil {
		return fmt.Errorf("not a JSON object: %w", err)
	}
	return nil
}

// Locate adds to an error which document it is about: its number alone would not
// find it.
func (r *Record) Locate(err error) error {
	if r == nil || r.id == "" {
		return err
	}
	return fmt.Errorf("_id %s: %w", r.id, err)
}
