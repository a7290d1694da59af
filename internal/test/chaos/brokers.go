package chaos

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/tidegate-io/tidegate/internal/test/freeport"
)

// broker is a NATS server of the run.
type broker struct {
	*process
	addr   string // for clients
	health string // URL
}

// newBrokers prepares one server, or a cluster.
func newBrokers(dir, program string, n int) ([]*broker, error) {
	clients, routes, monitors := make([]int, n), make([]int, n), make([]int, n)
	for _, list := range [][]int{clients, routes, monitors} {
		for i := range list {
			var err error
			if list[i], err = freeport.Take(); err != nil {
				return nil, err
			}
		}
	}
	var peers []string
	for _, port := range routes {
		peers = append(peers, fmt.Sprintf("nats://127.0.0.1:%d", port))
	}
	all := make([]*broker, n)
	for i := range all {
		name := fmt.Sprintf("nats-%d", i)
		conf := fmt.Sprintf("server_name: %s\nlisten: 127.0.0.1:%d\nhttp: 127.0.0.1:%d\njetstream {store_dir: %q}\n",
			name, clients[i], monitors[i], filepath.Join(dir, name))
		if n > 1 { // not advertised, so that clients can't bypass their proxies
			conf += fmt.Sprintf("cluster {name: chaos, listen: 127.0.0.1:%d, no_advertise: true, ping_interval: \"2s\", ping_max: 2, routes: [%s]}\n", routes[i], strings.Join(peers, ", "))
		}
		file := filepath.Join(dir, name+".conf")
		if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
			return nil, err
		}
		p, err := newProcess(dir, name, program, nil, "-c", file)
		if err != nil {
			return nil, err
		}
		all[i] = &broker{process: p, addr: fmt.Sprintf("127.0.0.1:%d", clients[i]), health: fmt.Sprintf("http://127.0.0.1:%d/healthz", monitors[i])}
	}
	return all, nil
}

// healthy waits until the server answers and has caught up with the others.
func (b *broker) healthy(ctx context.Context) error {
	return eventually(ctx, b.name+" is healthy", func() error { return getOK(ctx, b.health) })
}

func getOK(ctx context.Context, url string) error {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	_ = resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s: %s", url, resp.Status)
	}
	return nil
}

// eventually waits until f returns nil, and returns its last error when ctx
// ends first.
func eventually(ctx context.Context, what string, f func() error) error {
	var last error
	for {
		err := f()
		if err == nil {
			return nil
		}
		if ctx.Err() == nil || last == nil { // not one that only says that ctx ended
			last = err
		}
		if !pause(ctx, 50*time.Millisecond) {
			return fmt.Errorf("%s: not in time: %w", what, last)
		}
	}
}

// pause waits for d. It returns false when ctx ended.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
