// Package freeport returns free ports of 127.0.0.1 for tests. It is safe for concurrent
// use.
package freeport

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"sync"
	"testing"
)

var ports struct {
	sync.Mutex
	given map[int]bool
}

// Take returns a port that no program listens on. It returns each port only once. The
// operating system does not assign these ports itself, so a restarted server finds its
// port free.
func Take() (int, error) {
	ports.Lock()
	defer ports.Unlock()
	for range 1000 {
		port := 20000 + rand.IntN(12000) // below the ports of outgoing connections
		if ports.given[port] {
			continue
		}
		l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err != nil {
			continue
		}
		_ = l.Close()
		if ports.given == nil {
			ports.given = map[int]bool{}
		}
		ports.given[port] = true
		return port, nil
	}
	return 0, errors.New("no port is free")
}

// Address returns 127.0.0.1 with a port of Take.
func Address(t testing.TB) string {
	t.Helper()
	port, err := Take()
	if err != nil {
		t.Fatal(err)
	}
	return fmt.Sprintf("127.0.0.1:%d", port)
}
