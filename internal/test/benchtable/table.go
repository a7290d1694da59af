package main

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"os"
	"os/exec"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
)

// results holds the figures of all runs by "<benchmark> <unit>", and the benchmarks' log
// lines.
type results struct {
	figures map[string][]float64
	notes   []string
}

// said matches a log line of a benchmark.
var said = regexp.MustCompile(`^ +\w+_test\.go:\d+: (.*)`)

// parse adds the output of `go test -bench`: lines with a name, the number of
// iterations, and pairs of value and unit.
func (r *results) parse(out string) {
	for line := range strings.Lines(out) {
		if m := said.FindStringSubmatch(line); m != nil && !slices.Contains(r.notes, m[1]) {
			r.notes = append(r.notes, m[1])
		}
		fields := strings.Fields(line)
		if len(fields) < 4 || !strings.HasPrefix(fields[0], "Benchmark") {
			continue
		}
		name := strings.TrimPrefix(fields[0], "Benchmark")
		if i := strings.LastIndexByte(name, '-'); i > 0 { // GOMAXPROCS
			if _, err := strconv.Atoi(name[i+1:]); err == nil {
				name = name[:i]
			}
		}
		for i := 2; i+1 < len(fields); i += 2 {
			if v, err := strconv.ParseFloat(fields[i], 64); err == nil {
				key := name + " " + fields[i+1]
				r.figures[key] = append(r.figures[key], v)
			}
		}
	}
}

// median returns the median of a figure's runs, or false when there are none.
func (r *results) median(key string) (float64, bool) {
	vs := slices.Sorted(slices.Values(r.figures[key]))
	if len(vs) == 0 {
		return 0, false
	}
	return (vs[(len(vs)-1)/2] + vs[len(vs)/2]) / 2, true
}

// table returns the table in Markdown. Rows without a figure are left out and named
// below, with the benchmarks' log lines.
func table(list []suite, all *results) string {
	var b strings.Builder
	b.WriteString("| what | | ours | raw | ours ÷ raw | target | |\n|---|---|--:|--:|--:|---|---|\n")
	var missing []string
	for _, s := range list {
		for _, r := range s.rows {
			ours, ok := all.median(r.ours)
			v, beside := all.median(r.raw)
			if !ok || !beside && r.raw != "" {
				missing = append(missing, r.ours)
				continue
			}
			raw, share := "", ""
			if beside {
				raw, share = number(v), number(ours/v)
			}
			_, unit, _ := strings.Cut(r.ours, " ")
			fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s | %s |\n", r.what, unit, number(ours), raw, share, r.target, r.target.verdict(ours, v))
		}
	}
	if len(missing) > 0 {
		fmt.Fprintf(&b, "\nNot measured: %s.\n", strings.Join(missing, ", "))
	}
	for _, note := range all.notes {
		fmt.Fprintf(&b, "\n%s\n", note)
	}
	return b.String()
}

func (t target) String() string {
	var parts []string
	add := func(format string, v float64) {
		if v != 0 {
			parts = append(parts, fmt.Sprintf(format, number(v)))
		}
	}
	if t.none {
		parts = append(parts, "0")
	}
	add("≤ %s", t.most)
	add("≥ %s", t.least)
	add("≤ %s × raw", t.times)
	add("≥ %s %% of raw", 100*t.share)
	return strings.Join(parts, ", ")
}

// verdict returns whether the target is met in words, or "" without a target.
func (t target) verdict(ours, raw float64) string {
	switch {
	case t == target{}:
		return ""
	case t.none && ours != 0, t.most != 0 && ours > t.most, t.least != 0 && ours < t.least,
		t.times != 0 && ours > t.times*raw, t.share != 0 && ours < t.share*raw:
		return "**missed**"
	}
	return "met"
}

// number returns three significant digits, or all digits before the point.
func number(v float64) string {
	digits := 0
	if v != 0 {
		digits = max(0, 2-int(math.Floor(math.Log10(math.Abs(v)))))
	}
	s := strconv.FormatFloat(v, 'f', min(digits, 9), 64)
	whole, fraction, point := strings.Cut(s, ".")
	for i := len(whole) - 3; i > 0; i -= 3 {
		whole = whole[:i] + "," + whole[i:]
	}
	if fraction = strings.TrimRight(fraction, "0"); point && fraction != "" {
		whole += "." + fraction
	}
	return whole
}

// machine describes the machine of the measurements.
func machine(ctx context.Context) string {
	model := "unknown processor"
	if info, err := os.ReadFile("/proc/cpuinfo"); err == nil {
		for line := range bytes.Lines(info) {
			if name, value, _ := strings.Cut(string(line), ":"); strings.TrimSpace(name) == "model name" {
				model = strings.TrimSpace(value)
				break
			}
		}
	}
	server := "of unknown version"
	if out, err := exec.CommandContext(ctx, "go", "list", "-m", "-f", "{{.Version}}", "github.com/nats-io/nats-server/v2").Output(); err == nil {
		server = strings.TrimSpace(string(out))
	}
	return fmt.Sprintf("%s, %d cores, %s/%s, %s, nats-server %s; medians.", model, runtime.NumCPU(), runtime.GOOS, runtime.GOARCH, runtime.Version(), server)
}
