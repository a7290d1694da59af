package history

import (
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"strings"
	"unicode/utf8"
)

// readCSV takes the first line for the names of the columns.
func readCSV(r io.Reader, columns func([]string) error, f Handler) error {
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
func rowRecord(head, cells []string) (*Record, error) {
	rec := &Record{fields: map[string]any{}, csv: true}
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
