package config

import (
	"fmt"
	"slices"
	"strings"
)

// Problem is one mistake in a configuration.
type Problem struct {
	Line    int    // from 1
	Field   string // path such as gates[0].condition.period; "" for the file itself
	Message string // what is wrong and what is allowed
}

// Errors holds all problems of a configuration in the order of the file. It is never
// empty.
type Errors struct {
	File     string
	Problems []Problem
}

func newErrors(file string, problems []Problem) *Errors {
	slices.SortStableFunc(problems, func(a, b Problem) int { return a.Line - b.Line })
	return &Errors{File: file, Problems: problems}
}

// Error returns a line for each problem, such as "tidegate.yaml:12: gates[0].feature:
// …".
func (e *Errors) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = fmt.Sprintf("%s:%d: %s", e.File, p.Line, p)
	}
	return strings.Join(lines, "\n")
}

// String returns the problem without its line.
func (p Problem) String() string {
	if p.Field == "" {
		return p.Message
	}
	return p.Field + ": " + p.Message
}

// Problem returns a mistake that only the caller can see, such as a missing file. An
// absent key gets the line of the mapping that lacks it.
func (c *Config) Problem(path, message string) Problem {
	p := Problem{Line: 1, Field: path, Message: message}
	for at := path; at != ""; at = at[:max(0, strings.LastIndexAny(at, ".["))] {
		if line, ok := c.lines[at]; ok {
			p.Line = line
			break
		}
	}
	return p
}

// Refuse returns the error for such mistakes. problems must not be empty.
func (c *Config) Refuse(problems []Problem) *Errors { return newErrors(c.file, problems) }
