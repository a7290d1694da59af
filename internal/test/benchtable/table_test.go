package main

import (
	"strings"
	"testing"
)

const output = `goos: linux
BenchmarkFast/hot-2         	 1000	        20.5 ns/op	       0 allocs/op
BenchmarkFast/hot-2         	 1000	        99.0 ns/op	       0 allocs/op
BenchmarkFast/hot-2         	 1000	        21.5 ns/op	       0 allocs/op
BenchmarkEngine/raw-2 	 1	 2000000 events/s
BenchmarkEngine/raw-2 	 1	 4000000 events/s
BenchmarkEngine/tidegate-2 	 1	 1234567 events/s
BenchmarkRedis
    redis_test.go:1: redis-server is not installed
BenchmarkRedis-2 	 1	 5.0 ns/op
PASS
`

func TestTable(t *testing.T) {
	all := results{figures: map[string][]float64{}}
	all.parse(output)
	got := table([]suite{{rows: []row{
		{"fast", "Fast/hot ns/op", "", target{most: 25}},
		{"none", "Fast/hot allocs/op", "", target{none: true}},
		{"engine", "Engine/tidegate events/s", "Engine/raw events/s", target{least: 1e6, share: 0.5}},
		{"slower", "Engine/raw events/s", "Engine/tidegate events/s", target{times: 2}},
		{"lonely", "Fast/hot ns/op", "Fast/cold ns/op", target{times: 2}},
		{"redis", "Redis p50-µs", "", target{}},
	}}}, &all)
	for _, want := range []string{
		"| fast | ns/op | 21.5 |  |  | ≤ 25 | met |",
		"| none | allocs/op | 0 |  |  | 0 | met |",
		"| engine | events/s | 1,234,567 | 3,000,000 | 0.412 | ≥ 1,000,000, ≥ 50 % of raw | **missed** |",
		"| slower | events/s | 3,000,000 | 1,234,567 | 2.43 | ≤ 2 × raw | **missed** |",
		"Not measured: Fast/hot ns/op, Redis p50-µs.",
		"redis-server is not installed",
	} {
		if !strings.Contains(got, want+"\n") {
			t.Errorf("there is no %q in\n%s", want, got)
		}
	}
}

// TestSuitesNameTheirFigures: the table would never show a figure that no benchmark of
// the suite has.
func TestSuitesNameTheirFigures(t *testing.T) {
	for _, s := range suites {
		if s.time == "" || len(s.rows) == 0 {
			t.Errorf("%s %s has no time or no rows", s.pkg, s.bench)
		}
		for _, r := range s.rows {
			for _, figure := range []string{r.ours, r.raw} {
				name, unit, ok := strings.Cut(figure, " ")
				if figure != "" && (!ok || name == "" || unit == "") {
					t.Errorf("%s: %q is no figure", r.what, figure)
				}
			}
		}
	}
}

func TestNumber(t *testing.T) {
	for v, want := range map[float64]string{0: "0", 25: "25", 21.55: "21.6", 0.0123: "0.0123", 1234.5: "1,234", 999_999.7: "1,000,000", 1e6: "1,000,000", 0.5: "0.5"} {
		if got := number(v); got != want {
			t.Errorf("%v: %q, want %q", v, got, want)
		}
	}
}
