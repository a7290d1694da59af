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

// Errors is everything that is wrong with a configuration, in the order of the
// file. It is never empty.
type Errors struct {
	File     string
	Problems []Problem
}

func newErrors(file string, problems []Problem) *Errors {
	slices.SortStableFunc(problems, func(a, b Problem) int { return a.Line - b.Line })
	return &Errors{File: file, Problems: problems}
}

// Error is one line a problem: "tidegate.yaml:12: gates[0].feature: …".
func (e *Errors) Error() string {
	lines := make([]string, len(e.Problems))
	for i, p := range e.Problems {
		lines[i] = fmt.Sprintf("%s:%d: %s", e.File, p.Line, p)
	}
	return strings.Join(lines, "\n")
}

// String is the problem without its place in the file.
func (p Problem) String() string {
	if p.Field == "" {
		return p.Message
	}
	return p.Field + ": " + p.Message
}
