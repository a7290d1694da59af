package main

import (
	"bytes"
	"context"
	"fmt"
	"math"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"strconv"
	"strings"
)

// results are the figures of all runs, by "<benchmark> <unit>".
type results map[string][]float64

// parse takes over what `go test -bench` prints: lines of a name, the number of
// iterations, and pairs of value and unit.
func (r results) parse(out string) {
	for line := range strings.Lines(out) {
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
				r[key] = append(r[key], v)
			}
		}
	}
}

// median is that of a figure's runs; false without any.
func (r results) median(key string) (float64, bool) {
	vs := slices.Sorted(slices.Values(r[key]))
	if len(vs) == 0 {
		return 0, false
	}
	return (vs[(len(vs)-1)/2] + vs[len(vs)/2]) / 2, true
}

// table is Markdown. Rows without a figure are left out and named below.
func table(list []suite, all results) string {
	var b strings.Builder
	b.WriteString("| what | | ours | raw | ours ÷ raw | target | |\n|---|---|--:|--:|--:|---|---|\n")
	var missing []string // such as Redis, where it is not installed
	for _, s := range list {
		for _, r := range s.rows {
			ours, ok := all.median(r.ours)
			if !ok {
				missing = append(missing, r.ours)
				continue
			}
			raw, share := "", ""
			v, beside := all.median(r.raw)
			if beside {
				raw, share = number(v), number(ours/v)
			}
			_, unit, _ := strings.Cut(r.ours, " ")
			fmt.Fprintf(&b, "| %s | %s | %s | %s | %s | %s | %s |\n", r.what, unit, number(ours), raw, share, r.target, r.target.verdict(ours, v, beside))
		}
	}
	if len(missing) > 0 {
		fmt.Fprintf(&b, "\nNot measured: %s.\n", strings.Join(missing, ", "))
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

// verdict says whether the target is met; nothing without one.
func (t target) verdict(ours, raw float64, beside bool) string {
	switch {
	case t == target{}:
		return ""
	case (t.times != 0 || t.share != 0) && !beside:
		return "no raw figure"
	case t.none && ours != 0, t.most != 0 && ours > t.most, t.least != 0 && ours < t.least,
		t.times != 0 && ours > t.times*raw, t.share != 0 && ours < t.share*raw:
		return "**missed**"
	}
	return "met"
}

// number has three significant digits, or all before the point.
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

// machine says what was measured on.
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
