package history

import (
	"fmt"
	"io"
	"os"
	"path/filepath"
)

// Terminal is what reading needs of its surroundings.
type Terminal struct {
	Stdin io.Reader // what the file "-" is

	// Progress shows how far the reading of something has come; size is -1 when it
	// is not known, and counts bytes or documents. It may be nil and may return nil.
	Progress func(name string, size int64, bytes bool) Bar
}

// Bar is a progress bar. It also counts the bytes that are written to it.
type Bar interface {
	io.Writer
	Add(n int) error
	Finish() error
}

func (t Terminal) bar(name string, size int64, bytes bool) Bar {
	if t.Progress != nil {
		if b := t.Progress(name, size, bytes); b != nil {
			return b
		}
	}
	return noBar{}
}

type noBar struct{}

func (noBar) Write(b []byte) (int, error) { return len(b), nil }
func (noBar) Add(int) error               { return nil }
func (noBar) Finish() error               { return nil }

// Input is an open file, or standard input.
type Input struct {
	io.Reader
	Format string // ndjson or csv
	bar    Bar
	close  func() error
}

// Open opens a file; "-" or "" is standard input. A format of "" is known by the
// file's name.
func (t Terminal) Open(path, format string) (*Input, error) {
	in := &Input{Reader: t.Stdin, Format: format, close: func() error { return nil }}
	name, size := "standard input", int64(-1)
	if path != "-" && path != "" {
		f, err := os.Open(path)
		if err != nil {
			return nil, fmt.Errorf("%w: name a file that can be read, or - for standard input", err)
		}
		if st, err := f.Stat(); err == nil && st.Mode().IsRegular() {
			size = st.Size()
		}
		in.Reader, name, in.close = f, path, f.Close
	}
	if in.Format == "" {
		in.Format = "ndjson"
		if filepath.Ext(path) == ".csv" {
			in.Format = "csv"
		}
	}
	in.bar = t.bar(name, size, true)
	in.Reader = io.TeeReader(in.Reader, in.bar)
	return in, nil
}

// Close closes the file and ends its progress bar.
func (in *Input) Close() error {
	_ = in.bar.Finish() // only drawn
	return in.close()
}
