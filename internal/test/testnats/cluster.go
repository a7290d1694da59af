package testnats

import (
	"fmt"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/tidegate-io/tidegate/internal/test/freeport"
)

// Cluster is three servers with JetStream in one process.
type Cluster struct {
	Nodes []*server.Server
	opts  []server.Options
}

// StartCluster starts a cluster of three servers on free ports. It stops when the test
// ends.
func StartCluster(t testing.TB) *Cluster {
	t.Helper()
	c := &Cluster{}
	var routes string
	ports := make([]int, 3)
	for i := range ports {
		ports[i] = freePort(t)
		routes += fmt.Sprintf("nats://127.0.0.1:%d,", ports[i])
	}
	for i := range ports {
		c.opts = append(c.opts, server.Options{
			ServerName: fmt.Sprintf("n%d", i), Host: "127.0.0.1", Port: freePort(t), NoLog: true, NoSigs: true,
			JetStream: true, StoreDir: t.TempDir(), JetStreamMaxStore: 4 << 30, JetStreamMaxMemory: 256 << 20,
			Cluster: server.ClusterOpts{Name: "test", Host: "127.0.0.1", Port: ports[i]},
			Routes:  server.RoutesFromStr(routes[:len(routes)-1]),
		})
		c.Nodes = append(c.Nodes, nil)
		c.StartNode(t, i)
	}
	t.Cleanup(func() {
		for i := range c.Nodes {
			c.StopNode(i)
		}
	})
	c.waitLeader(t)
	return c
}

// StartNode starts a node again with its address and store.
func (c *Cluster) StartNode(t testing.TB, i int) {
	t.Helper()
	opt := c.opts[i]
	s, err := server.NewServer(&opt)
	if err != nil {
		t.Fatalf("nats node %d: %v", i, err)
	}
	go s.Start()
	if !s.ReadyForConnections(10 * time.Second) {
		t.Fatalf("nats node %d did not start in 10 s", i)
	}
	c.Nodes[i] = s
}

// StopNode stops a node. Its data stays.
func (c *Cluster) StopNode(i int) {
	c.Nodes[i].Shutdown()
	c.Nodes[i].WaitForShutdown()
}

func (c *Cluster) waitLeader(t testing.TB) {
	t.Helper()
	deadline := time.After(20 * time.Second)
	for {
		for _, s := range c.Nodes {
			if s.JetStreamIsLeader() && len(s.JetStreamClusterPeers()) == len(c.Nodes) {
				return
			}
		}
		select {
		case <-deadline:
			t.Fatal("the cluster has no leader after 20 s")
		case <-time.After(20 * time.Millisecond):
		}
	}
}

// Connect returns a connection that knows all nodes. It is closed when the test ends.
func (c *Cluster) Connect(t testing.TB) *nats.Conn {
	t.Helper()
	urls := ""
	for i := range c.opts {
		urls += fmt.Sprintf("nats://127.0.0.1:%d,", c.opts[i].Port)
	}
	nc, err := nats.Connect(urls[:len(urls)-1], nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond))
	if err != nil {
		t.Fatalf("nats connect: %v", err)
	}
	t.Cleanup(nc.Close)
	return nc
}

func freePort(t testing.TB) int {
	t.Helper()
	port, err := freeport.Take()
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// NodeOf returns the number of the node that nc is connected to.
func (c *Cluster) NodeOf(nc *nats.Conn) int {
	for i, s := range c.Nodes {
		if s.Name() == nc.ConnectedServerName() {
			return i
		}
	}
	return 0
}

// WaitCurrent waits until all nodes have the same data.
func (c *Cluster) WaitCurrent(t testing.TB) {
	t.Helper()
	deadline := time.After(30 * time.Second)
	for i := 0; i < len(c.Nodes); {
		if c.Nodes[i].Healthz(&server.HealthzOptions{}).StatusCode == 200 {
			i++
			continue
		}
		select {
		case <-deadline:
			t.Fatalf("node %d has not caught up after 30 s", i)
		case <-time.After(20 * time.Millisecond):
		}
	}
}
