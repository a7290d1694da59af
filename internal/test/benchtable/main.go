// Command benchtable runs the benchmarks that have a target several times, and prints
// the medians in one table: our figure, the raw figure of the same run, the target, and
// whether it is met. `make bench` calls it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path"
	"path/filepath"
	"strconv"
	"strings"
)

func main() {
	count := flag.Int("count", 3, "how often each benchmark runs; the table has the medians")
	only := flag.String("only", "", "run only suites whose package or benchmark contains this text")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	err := run(ctx, *count, *only)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, count int, only string) error {
	dir, err := os.MkdirTemp("", "tidegate-bench-")
	if err != nil {
		return err
	}
	defer func() { _ = os.RemoveAll(dir) }()
	all := results{figures: map[string][]float64{}}
	var wanted []suite
	var failed []error
	for _, s := range suites {
		if !strings.Contains(s.pkg+" "+s.bench, only) {
			continue
		}
		wanted = append(wanted, s)
		fmt.Fprintf(os.Stderr, "%s %s\n", s.pkg, s.bench)
		out, err := s.run(ctx, dir, count)
		all.parse(out)
		if err != nil {
			failed = append(failed, fmt.Errorf("%s %s: %w\n%s", s.pkg, s.bench, err, out))
		}
	}
	fmt.Println(machine(ctx))
	fmt.Println()
	fmt.Print(table(wanted, &all))
	return errors.Join(failed...)
}

// run builds the package's tests once and runs the suite's benchmarks.
func (s *suite) run(ctx context.Context, dir string, count int) (string, error) {
	binary := filepath.Join(dir, path.Base(s.pkg)+".test")
	if _, err := os.Stat(binary); err != nil {
		if out, err := exec.CommandContext(ctx, "go", "test", "-c", "-o", binary, s.pkg).CombinedOutput(); err != nil {
			return string(out), err
		}
	}
	if s.once {
		count = 1
	}
	args := append([]string{"-test.run=^$", "-test.bench=" + s.bench, "-test.benchtime=" + s.time,
		"-test.count=" + strconv.Itoa(count), "-test.timeout=10m"}, s.flags...)
	cmd := exec.CommandContext(ctx, binary, args...)
	cmd.Dir = s.pkg
	out, err := cmd.CombinedOutput()
	return string(out), err
}
