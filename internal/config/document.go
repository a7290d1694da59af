package config

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"regexp"
	"strconv"
	"strings"
	"time"

	"go.yaml.in/yaml/v3"
)

const (
	maxBytes = 1 << 20 // of a file
	// maxKeys is the maximum number of keys and items: with aliases, a small file can
	// have very many.
	maxKeys = 200_000

	emptyFile = "the file is empty: `tidegate init` writes one to begin with"
)

// decoder collects the problems of one file.
type decoder struct {
	env      func(string) (string, bool)
	problems []Problem
	keys     int            // keys and items read so far
	lines    map[string]int // of the keys read so far, by path
	// The longest window of all gates and its period.
	longest   time.Duration
	longestAt field
}

func (d *decoder) fail(line int, path, message string) {
	d.problems = append(d.problems, Problem{Line: max(line, 1), Field: path, Message: message})
}

// document reads the file's one YAML document.
func (d *decoder) document(data []byte) field {
	top := field{d: d, line: 1}
	if len(data) > maxBytes {
		top.fail("the file has %d bytes, at most %d are allowed", len(data), maxBytes)
		return top
	}
	r := &lineReader{rest: data}
	dec := yaml.NewDecoder(r)
	var doc, more yaml.Node
	err := dec.Decode(&doc)
	switch {
	case errors.Is(err, io.EOF):
		top.fail("%s", emptyFile)
		return top
	case err == nil:
		if err = dec.Decode(&more); err == nil {
			d.fail(more.Line, "", "a second document begins here (after ---): a file holds one")
		} else if errors.Is(err, io.EOF) {
			err = nil
		}
	}
	if err != nil {
		line, message := syntax(err, r.line, data)
		d.fail(line, "", message)
		return top
	}
	if len(doc.Content) > 0 {
		top.node = doc.Content[0]
	}
	return top
}

// lineReader returns one line per Read, so that line is how far the parser has read.
// The parser's own errors often name the line where a block began.
type lineReader struct {
	rest []byte
	line int
}

func (r *lineReader) Read(p []byte) (int, error) {
	if len(r.rest) == 0 {
		return 0, io.EOF
	}
	n := len(r.rest)
	if i := bytes.IndexByte(r.rest, '\n'); i >= 0 {
		n = i + 1
	}
	n = copy(p, r.rest[:n])
	if r.rest = r.rest[n:]; p[n-1] == '\n' || len(r.rest) == 0 {
		r.line++
	}
	return n, nil
}

var yamlError = regexp.MustCompile(`^yaml: (?:line (\d+): )?((?s).*)$`)

// syntax returns the line and a message for an error of the parser.
func syntax(err error, reached int, data []byte) (int, string) {
	line, message := reached, err.Error()
	if m := yamlError.FindStringSubmatch(message); m != nil {
		message = m[2]
		named, err := strconv.Atoi(m[1])
		switch structural := strings.HasPrefix(message, "did not find expected"); {
		case structural && named+1 >= reached-1: // the parser counts from 0 here
			line = min(named+1, reached)
		case structural: // the line where the block or bracket begins
			message += fmt.Sprintf(" of what begins in line %d", named+1)
		case err == nil:
			line = named
		}
	}
	var text string
	if lines := strings.Split(string(data), "\n"); line > 0 && line <= len(lines) {
		text = lines[line-1]
	}
	return line, "not valid YAML: " + message + hint(message, text)
}

func hint(message, text string) string {
	switch {
	case strings.HasPrefix(strings.TrimLeft(text, " "), "\t"):
		return ": a tab can't indent, use spaces"
	case strings.Contains(text, "${") && strings.Contains(message, "expected ','"):
		return ": inside { } and [ ] a ${VARIABLE} needs quotes, \"${VARIABLE}\""
	case strings.Contains(message, "mapping values are not allowed"):
		return ": check the indentation; a text with a colon and a space needs quotes"
	case strings.Contains(message, "cannot start any token"):
		return ": put the value in quotes"
	case strings.Contains(message, "did not find expected"):
		return ": check indentation, quotes and brackets here and just above"
	}
	return ""
}
