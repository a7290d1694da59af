package bench

import (
	"bytes"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/internal/config"
	"github.com/tidegate-io/tidegate/internal/test/freeport"
	"github.com/tidegate-io/tidegate/internal/test/testmongo"
	"github.com/tidegate-io/tidegate/internal/test/testprocess"
	"github.com/tidegate-io/tidegate/internal/test/wait"
)

// idleFor is how long BenchmarkIdle measures an idle process.
const idleFor = 10 * time.Second

// BenchmarkIdle measures the CPU time of idle processes in percent of a core: of `dev`,
// and of `serve` with 32 partitions and its NATS server.
func BenchmarkIdle(b *testing.B) {
	b.Run("dev", func(b *testing.B) {
		dir := b.TempDir()
		p := testprocess.Start(b, "dev", testprocess.Tidegate(b), nil, "dev", "--data", dir,
			"--http", freeport.Address(b), "--nats", "127.0.0.1:-1")
		p.Says("Send a use, and ask")
		for b.Loop() {
			idle(b, map[string]*testprocess.Process{"dev": p})
		}
	})
	b.Run("serve", func(b *testing.B) {
		dir, broker, api := b.TempDir(), freeport.Address(b), freeport.Address(b)
		file := filepath.Join(dir, "tidegate.yaml")
		if err := os.WriteFile(file, []byte("partitions: 32\n"+config.ExampleYAML), 0o600); err != nil {
			b.Fatal(err)
		}
		server := testprocess.StartNATS(b, broker, filepath.Join(dir, "nats"))
		p := testprocess.Start(b, "serve", testprocess.Tidegate(b), []string{
			"NATS_URL=nats://" + broker, "MONGODB_URI=" + testmongo.URI(b), "MONGODB_DATABASE=" + testmongo.Database(),
		}, "serve", "--config", file, "--data", dir, "--http", api)
		wait.Until(b, "everything is owned", func() error { return ownedBy("http://"+api, 66) })
		http.DefaultClient.CloseIdleConnections()
		for b.Loop() {
			idle(b, map[string]*testprocess.Process{"serve": p, "nats": server})
		}
	})
}

// ownedBy returns an error while a Tidegate owns fewer than n partitions.
func ownedBy(url string, n int) error {
	resp, err := http.Get(url + "/metrics")
	if err != nil {
		return err
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if owned := strings.Count(string(body), "tidegate_partition_epoch{"); owned < n {
		return fmt.Errorf("%d partitions", owned)
	}
	return nil
}

// idle reports the processes' CPU time.
func idle(b *testing.B, processes map[string]*testprocess.Process) {
	b.Helper()
	<-time.After(3 * time.Second) // work of the start
	before := map[string]time.Duration{}
	begin := time.Now()
	for name, p := range processes {
		before[name] = processTime(b, p.PID())
	}
	<-time.After(idleFor)
	for name, p := range processes {
		spent := processTime(b, p.PID()) - before[name]
		b.ReportMetric(100*spent.Seconds()/time.Since(begin).Seconds(), name+"-%core")
	}
	b.ReportMetric(0, "ns/op")
}

// processTime returns the CPU time of a process, in steps of 10 ms.
func processTime(b *testing.B, pid int) time.Duration {
	b.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		b.Fatal(err)
	}
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:]) // the name before it may contain any characters
	ticks := 0
	for _, f := range fields[11:13] { // utime, stime
		n, err := strconv.Atoi(string(f))
		if err != nil {
			b.Fatal(err)
		}
		ticks += n
	}
	return time.Duration(ticks) * 10 * time.Millisecond // USER_HZ is 100 for programs
}
