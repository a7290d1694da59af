package main

import (
	"bytes"
	"fmt"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/internal/test/testmongo"
)

// idleFor is how long BenchmarkIdle looks at a process that has nothing to do.
const idleFor = 10 * time.Second

// BenchmarkIdle measures the processor time of processes while nothing happens,
// in percent of a core: `dev`, and `serve` with 32 partitions and the NATS
// server beside it.
func BenchmarkIdle(b *testing.B) {
	b.Run("dev", func(b *testing.B) {
		dir := b.TempDir()
		p := startProcess(b, "dev", binary(b), nil, "dev", "--data", dir,
			"--http", freeAddress(b), "--nats", "127.0.0.1:-1")
		p.says("Send a use, and ask")
		for b.Loop() {
			idle(b, map[string]*process{"dev": p})
		}
	})
	b.Run("serve", func(b *testing.B) {
		in := newInstallation(b, testmongo.URI(b))
		config := strings.Replace(production, "partitions: 4", "partitions: 32", 1)
		if err := os.WriteFile(in.config, []byte(config), 0o600); err != nil {
			b.Fatal(err)
		}
		server := in.startNATS()
		p := in.serve(strings.Join(allRoles, ","))
		eventually(b, "everything is owned", func() error {
			owned, err := in.metric("tidegate_partition_epoch")
			if err == nil && owned < 66 {
				err = fmt.Errorf("%v partitions", owned)
			}
			return err
		})
		http.DefaultClient.CloseIdleConnections()
		for b.Loop() {
			idle(b, map[string]*process{"serve": p, "nats": server})
		}
	})
}

// idle reports what the processes spend.
func idle(b *testing.B, processes map[string]*process) {
	b.Helper()
	<-time.After(3 * time.Second) // what the start has left to do
	before := map[string]time.Duration{}
	begin := time.Now()
	for name, p := range processes {
		before[name] = processTime(b, p.cmd.Process.Pid)
	}
	<-time.After(idleFor)
	for name, p := range processes {
		spent := processTime(b, p.cmd.Process.Pid) - before[name]
		b.ReportMetric(100*spent.Seconds()/time.Since(begin).Seconds(), name+"-%core")
	}
	b.ReportMetric(0, "ns/op")
}

// processTime is the processor time that a process has taken, in steps of 10 ms.
func processTime(b *testing.B, pid int) time.Duration {
	b.Helper()
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		b.Fatal(err)
	}
	fields := bytes.Fields(stat[bytes.LastIndexByte(stat, ')')+1:]) // the name before it may hold anything
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
