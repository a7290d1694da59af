package main

// suite is a run of benchmarks of a package, with the rows of the table.
type suite struct {
	pkg, bench string // arguments of go test
	time       string // -benchtime; 1x for benchmarks that measure a whole run
	once       bool   // run once: it takes long and varies little
	flags      []string
	rows       []row
}

// row is a row of the table. A figure is named "<benchmark without its prefix> <unit>",
// as in "Check/hot ns/op".
type row struct {
	what      string
	ours, raw string // raw may be ""
	target    target
}

// target is the condition for our figure. Zero fields are no condition.
type target struct {
	most, least  float64
	times, share float64 // at most times the raw figure, at least that share of it
	none         bool    // it must be 0
}

var suites = []suite{
	{pkg: "./client", bench: "^BenchmarkCheck$", time: "1s", rows: []row{
		{"client.Check, 10,000 hot keys of 1,000,000, 10,000 changes/s", "Check/hot ns/op", "", target{most: 25}},
		{"client.Check, 1,000,000 keys", "Check/uniform ns/op", "", target{most: 150}},
		{"allocations of a check", "Check/uniform allocs/op", "", target{none: true}},
	}},
	{pkg: "./events", bench: "^Benchmark(Decode|EachInBatch)$", time: "500ms", rows: []row{
		{"decode of a CloudEvents JSON of 200 bytes; raw: encoding/json", "Decode/tidegate ns/op", "Decode/encoding-json ns/op", target{most: 700}},
		{"allocations of it", "Decode/tidegate allocs/op", "Decode/encoding-json allocs/op", target{most: 2}},
		{"the same packed, an event of 100", "EachInBatch/data ns/event", "", target{most: 150}},
	}},
	{pkg: "./ingest", bench: "^BenchmarkHTTP100$", time: "2s", rows: []row{
		{"HTTP ingest, 100 JSON events a request", "HTTP100 events/s", "", target{least: 250_000}},
	}},
	{pkg: "./internal/test/bench", bench: "^BenchmarkEngine$", time: "1x", rows: []row{
		{"packed events → stream → committed windows, 100,000 customers; raw: publish and read back", "Engine/tidegate events/s", "Engine/raw events/s", target{least: 1e6, share: 0.5}},
	}},
	{pkg: "./internal/test/bench", bench: "^BenchmarkStored$", time: "1x", rows: []row{
		{"one event a message, aggregator alone on a stored stream; raw: a bare ordered consumer", "Stored events/s", "Stored raw-events/s", target{share: 0.7}},
	}},
	{pkg: "./internal/test/bench", bench: "^BenchmarkBlockLatency$", time: "1x", rows: []row{
		{"use → block in another process, 1,000/s, p50", "BlockLatency/tidegate/1000_per_s p50-ms", "BlockLatency/raw/1000_per_s p50-ms", target{most: 2, times: 2}},
		{"the same, p99", "BlockLatency/tidegate/1000_per_s p99-ms", "BlockLatency/raw/1000_per_s p99-ms", target{most: 10, times: 2}},
		{"use → block in another process, 10,000/s, p50", "BlockLatency/tidegate/10000_per_s p50-ms", "BlockLatency/raw/10000_per_s p50-ms", target{most: 2, times: 2}},
		{"the same, p99", "BlockLatency/tidegate/10000_per_s p99-ms", "BlockLatency/raw/10000_per_s p99-ms", target{most: 10, times: 2}},
	}},
	{pkg: "./aggregator", bench: "^BenchmarkMemory$", time: "1x", once: true, rows: []row{
		{"memory of an open window, 1,000,000 of them", "Memory bytes/window", "", target{most: 300}},
	}},
	{pkg: "./aggregator", bench: "^BenchmarkGrowth$", time: "1x", once: true, rows: []row{
		{"cost of an event at 1,000,000 customers, times that at 10,000", "Growth ratio", "", target{most: 1.5}},
	}},
	{pkg: "./aggregator", bench: "^BenchmarkTakeover$", time: "3x", once: true, rows: []row{
		{"a partition of 1,000,000 open windows is loaded by a new owner", "Takeover s", "", target{}},
	}},
	{pkg: "./aggregator", bench: "^BenchmarkFingerprints$/^new$", time: "1s", once: true, flags: []string{"-fingerprints=10000000"}, rows: []row{
		{"10,000,000 fingerprints of a partition are loaded by a new owner", "Fingerprints/new takeover-s", "", target{most: 5}},
		{"memory of a fingerprint", "Fingerprints/new memory-B/event", "", target{most: 2}},
		{"SEEN of a fingerprint", "Fingerprints/new SEEN-B/event", "", target{most: 12}},
	}},
	{pkg: "./internal/test/bench", bench: "^BenchmarkHotCustomer$", time: "1x", rows: []row{
		{"use → block at one partition, 10,000/s, half of it of one customer, p50; raw: of many", "HotCustomer/hot p50-ms", "HotCustomer/even p50-ms", target{times: 2}},
		{"the same, p99", "HotCustomer/hot p99-ms", "HotCustomer/even p99-ms", target{times: 2}},
	}},
	{pkg: "./internal/test/bench", bench: "^BenchmarkIdle$", time: "1x", once: true, rows: []row{
		{"`dev` when nothing happens", "Idle/dev dev-%core", "", target{most: 2}},
		{"`serve` with 32 partitions when nothing happens", "Idle/serve serve-%core", "", target{most: 2}},
		{"the NATS server beside it", "Idle/serve nats-%core", "", target{}},
	}},
	{pkg: "./internal/test/bench", bench: "^BenchmarkRequest$", time: "1x", rows: []row{
		{"check and use in a request, 5,000/s, p50; raw: INCR and EXPIRE of Redis", "Request/tidegate p50-µs", "Request/redis p50-µs", target{}},
		{"the same, p99", "Request/tidegate p99-µs", "Request/redis p99-µs", target{}},
		{"processor time of it in the app", "Request/tidegate app-µs/request", "Request/redis app-µs/request", target{}},
		{"processor time of it in the server; ours stores, counts and decides", "Request/tidegate server-µs/request", "Request/redis server-µs/request", target{}},
	}},
}
