package httpserver

import (
	"container/list"
	"crypto/tls"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"
)

// listener accepts a bounded number of connections. When that many are open, a new
// one takes the place of the one that has waited longest without a request under
// way: one that keeps its head back, or that is kept alive and idle. If all have a
// request under way, the new one waits.
type listener struct {
	net.Listener
	most func() int
	log  *slog.Logger

	mu      sync.Mutex
	room    sync.Cond
	open    int
	waiting list.List // of *conn, those without a request, the longest first
	closed  bool
	logged  time.Time
}

func newListener(l net.Listener, most func() int, log *slog.Logger) *listener {
	if most == nil {
		most = func() int { return 0 }
	}
	b := &listener{Listener: l, most: most, log: log}
	b.room.L = &b.mu
	return b
}

// conn is a connection that is counted.
type conn struct {
	net.Conn
	from    *listener
	closed  bool
	waiting *list.Element // nil: a request is under way, or it is closed
}

// Accept implements net.Listener.
func (l *listener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	if !l.makeRoom() {
		_ = c.Close()
		return nil, net.ErrClosed
	}
	return &conn{Conn: c, from: l}, nil
}

// makeRoom waits until there is room for one connection more, and takes it. It
// returns false when the listener is closed.
func (l *listener) makeRoom() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for most := l.most(); most > 0 && l.open >= most && !l.closed; most = l.most() {
		l.tell(most)
		oldest := l.waiting.Front()
		if oldest == nil {
			l.room.Wait()
			continue
		}
		c := oldest.Value.(*conn)
		l.mu.Unlock()
		_ = c.Close()
		l.mu.Lock()
	}
	if l.closed {
		return false
	}
	l.open++
	return true
}

// tell logs once a minute that the connections are used up.
func (l *listener) tell(most int) {
	if now := time.Now(); now.Sub(l.logged) > time.Minute {
		l.logged = now
		l.log.Warn("connections_used_up", "address", l.Addr().String(), "most", most, "fix", "if it is no attack, raise http.connections")
	}
}

// Close implements net.Listener.
func (l *listener) Close() error {
	l.mu.Lock()
	l.closed = true
	l.room.Broadcast()
	l.mu.Unlock()
	return l.Listener.Close()
}

// Close implements net.Conn.
func (c *conn) Close() error {
	l := c.from
	l.mu.Lock()
	if !c.closed {
		c.closed = true
		l.open--
		l.forget(c)
		l.room.Signal()
	}
	l.mu.Unlock()
	return c.Conn.Close()
}

// note is http.Server's ConnState.
func (l *listener) note(nc net.Conn, state http.ConnState) {
	if t, ok := nc.(*tls.Conn); ok {
		nc = t.NetConn()
	}
	c, ok := nc.(*conn)
	if !ok {
		return
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	l.forget(c)
	if !c.closed && (state == http.StateNew || state == http.StateIdle) {
		c.waiting = l.waiting.PushBack(c)
		l.room.Signal()
	}
}

func (l *listener) forget(c *conn) {
	if c.waiting != nil {
		l.waiting.Remove(c.waiting)
		c.waiting = nil
	}
}
