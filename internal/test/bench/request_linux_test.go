package bench

import (
	"bufio"
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/client"
	"github.com/tidegate-io/tidegate/internal/config"
	"github.com/tidegate-io/tidegate/internal/test/freeport"
	"github.com/tidegate-io/tidegate/internal/test/testprocess"
	"github.com/tidegate-io/tidegate/internal/test/wait"
)

// BenchmarkRequest measures the time that a check and a use add to a request. For
// comparison it measures a Redis without persistence: INCR and EXPIRE in one round trip.
// Both run one after the other, with 5,000 requests a second of 1,000 customers. It also
// reports the CPU time of the app and of the server: `dev`, which stores, counts, decides
// and writes documents, or Redis.
func BenchmarkRequest(b *testing.B) {
	b.Run("tidegate", func(b *testing.B) {
		dir := b.TempDir()
		file := filepath.Join(dir, "tidegate.yaml")
		if err := os.WriteFile(file, []byte(strings.Replace(config.ExampleYAML, "free: 100", "free: 1000000", 1)), 0o600); err != nil {
			b.Fatal(err)
		}
		addr := freeport.Address(b)
		p := testprocess.Start(b, "dev", testprocess.Tidegate(b), nil, "dev", "--config", file, "--data", dir, "--http", freeport.Address(b), "--nats", addr)
		p.Says("Send a use, and ask")
		app, _ := connectBench(b, "nats://"+addr)
		c, err := client.New(app, client.Source("bench"))
		if err != nil {
			b.Fatal(err)
		}
		defer func() { _ = c.Close(context.Background()) }()
		<-c.Synced()
		for b.Loop() {
			requests(b, p, func(customer string) error {
				if d := c.Check(customer, "api"); !d.Allowed {
					return fmt.Errorf("%+v", d)
				}
				return c.Record(context.Background(), client.Usage{Customer: customer, Event: "api"})
			})
		}
	})
	b.Run("redis", func(b *testing.B) {
		path, err := exec.LookPath("redis-server")
		if err != nil {
			b.Log("redis-server is not installed: there is nothing to compare with")
			return
		}
		addr := freeport.Address(b)
		_, port, _ := net.SplitHostPort(addr)
		p := testprocess.Start(b, "redis", path, nil, "--bind", "127.0.0.1", "--port", port, "--save", "", "--appendonly", "no")
		r := dialRedis(b, addr)
		for b.Loop() {
			requests(b, p, r.count)
		}
	})
}

const (
	requestRate = 5_000
	requestsRun = 15_000
)

// requests makes one request for each customer, and then requests at the rate. It reports
// how long they took, and the CPU time of one request here and in the server.
func requests(b *testing.B, server *testprocess.Process, request func(customer string) error) {
	b.Helper()
	names := make([]string, 1_000)
	for i := range names {
		names[i] = "customer-" + strconv.Itoa(i)
		if err := request(names[i]); err != nil {
			b.Fatal(err)
		}
	}
	<-time.After(2 * time.Second) // until the server has processed them
	took := make([]time.Duration, requestsRun)
	here, there := ownTime(b), processTime(b, server.PID())
	begin := time.Now()
	for i := range took {
		if ahead := time.Duration(i)*time.Second/requestRate - time.Since(begin); ahead > time.Millisecond {
			<-time.After(ahead)
		}
		at := time.Now()
		if err := request(names[i%len(names)]); err != nil {
			b.Fatal(err)
		}
		took[i] = time.Since(at)
	}
	here, there = ownTime(b)-here, processTime(b, server.PID())-there
	slices.Sort(took)
	micros := func(q float64) float64 { return float64(took[int(q*float64(len(took)-1))]) / 1e3 }
	b.ReportMetric(micros(0.5), "p50-µs")
	b.ReportMetric(micros(0.99), "p99-µs")
	b.ReportMetric(float64(here.Microseconds())/requestsRun, "app-µs/request")
	b.ReportMetric(float64(there.Microseconds())/requestsRun, "server-µs/request")
	b.ReportMetric(0, "ns/op")
}

// ownTime returns the CPU time of this process.
func ownTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// redis is a connection to a Redis server.
type redis struct {
	conn net.Conn
	in   *bufio.Reader
	out  []byte
}

func dialRedis(b *testing.B, addr string) *redis {
	b.Helper()
	var conn net.Conn
	wait.Until(b, "Redis answers", func() (err error) {
		conn, err = net.Dial("tcp", addr)
		return err
	})
	b.Cleanup(func() { _ = conn.Close() })
	return &redis{conn: conn, in: bufio.NewReader(conn)}
}

// count adds a use for 30 days and returns the number of uses.
func (r *redis) count(customer string) error {
	key := "api:" + customer
	r.out = fmt.Appendf(r.out[:0], "*2\r\n$4\r\nINCR\r\n$%d\r\n%s\r\n*3\r\n$6\r\nEXPIRE\r\n$%d\r\n%s\r\n$7\r\n2592000\r\n", len(key), key, len(key), key)
	if _, err := r.conn.Write(r.out); err != nil {
		return err
	}
	for range 2 {
		line, err := r.in.ReadSlice('\n')
		if err != nil {
			return err
		}
		if line[0] != ':' {
			return fmt.Errorf("redis answers %q", line)
		}
	}
	return nil
}
