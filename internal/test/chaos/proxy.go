package chaos

import (
	"errors"
	"net"
	"sync"
	"time"
)

// Proxy is a TCP proxy between a process and a server that can break, stop and delay
// connections. Its address stays the same, so that clients reconnect. It is safe for
// concurrent use.
type Proxy struct {
	listener net.Listener
	target   string
	wg       sync.WaitGroup

	mu     sync.Mutex
	closed bool
	cut    bool
	delay  time.Duration
	flows  chan struct{} // closed while bytes may pass
	conns  map[net.Conn]struct{}
}

// NewProxy returns a proxy on a free port that forwards to target.
func NewProxy(target string) (*Proxy, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	p := &Proxy{listener: l, target: target, flows: make(chan struct{}), conns: map[net.Conn]struct{}{}}
	close(p.flows)
	p.wg.Go(p.accept)
	return p, nil
}

// Addr returns the address of the proxy.
func (p *Proxy) Addr() string { return p.listener.Addr().String() }

// Cut closes all connections, and every new one, until Mend.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = true
	p.breakAll()
}

// Stall forwards nothing, but keeps connections open, until Mend.
func (p *Proxy) Stall() {
	p.mu.Lock()
	defer p.mu.Unlock()
	select {
	case <-p.flows:
		p.flows = make(chan struct{})
	default:
	}
}

// Delay delays all data until Mend.
func (p *Proxy) Delay(d time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.delay = d
}

// Mend ends Cut, Stall and Delay.
func (p *Proxy) Mend() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut, p.delay = false, 0
	p.flow()
}

func (p *Proxy) flow() {
	select {
	case <-p.flows:
	default:
		close(p.flows)
	}
}

func (p *Proxy) breakAll() {
	for c := range p.conns {
		_ = c.Close()
	}
}

// Close closes the proxy and its connections.
func (p *Proxy) Close() {
	p.mu.Lock()
	p.closed = true
	_ = p.listener.Close()
	p.breakAll()
	p.flow()
	p.mu.Unlock()
	p.wg.Wait()
}

func (p *Proxy) accept() {
	for {
		c, err := p.listener.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err == nil {
			p.wg.Go(func() { p.connect(c) })
		}
	}
}

func (p *Proxy) connect(in net.Conn) {
	defer func() { _ = in.Close() }()
	out, err := net.DialTimeout("tcp", p.target, 2*time.Second)
	if err != nil {
		return
	}
	defer func() { _ = out.Close() }()
	if !p.add(in, out) {
		return
	}
	defer p.remove(in, out)
	p.wg.Go(func() { p.pass(out, in) })
	p.pass(in, out)
}

func (p *Proxy) add(conns ...net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.cut || p.closed {
		return false
	}
	for _, c := range conns {
		p.conns[c] = struct{}{}
	}
	return true
}

func (p *Proxy) remove(conns ...net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		delete(p.conns, c)
	}
}

// pass copies data in one direction, and closes both ends when one of them closes.
func (p *Proxy) pass(from, to net.Conn) {
	defer func() { _, _ = from.Close(), to.Close() }()
	buf := make([]byte, 32<<10)
	for {
		n, err := from.Read(buf)
		if n > 0 {
			p.waitOpen()
			if _, werr := to.Write(buf[:n]); werr != nil {
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// waitOpen waits while the proxy is stalled.
func (p *Proxy) waitOpen() {
	p.mu.Lock()
	flows, delay := p.flows, p.delay
	p.mu.Unlock()
	<-flows
	if delay > 0 {
		<-time.After(delay)
	}
}
