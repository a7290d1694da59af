package chaos

import (
	"io"
	"net"
	"testing"
	"time"
)

// echo is a server that returns all data.
func echo(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = l.Close() })
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			go func() { _, _ = io.Copy(c, c); _ = c.Close() }()
		}
	}()
	return l.Addr().String()
}

func TestProxy(t *testing.T) {
	p, err := NewProxy(echo(t))
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	dial := func() net.Conn {
		c, err := net.Dial("tcp", p.Addr())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = c.Close() })
		return c
	}
	// answer returns an error when there is no answer in that time.
	answer := func(c net.Conn, within time.Duration) error {
		_ = c.SetDeadline(time.Now().Add(within))
		if _, err := c.Write([]byte("x")); err != nil {
			return err
		}
		_, err := io.ReadFull(c, make([]byte, 1))
		return err
	}
	c := dial()
	if err := answer(c, 5*time.Second); err != nil {
		t.Fatalf("through an open proxy: %v", err)
	}
	p.Stall()
	if err := answer(c, 50*time.Millisecond); err == nil {
		t.Error("something passed a stalled proxy")
	}
	p.Mend()
	_ = c.SetDeadline(time.Now().Add(5 * time.Second))
	if _, err := io.ReadFull(c, make([]byte, 1)); err != nil {
		t.Errorf("what was stalled did not arrive: %v", err)
	}
	p.Delay(60 * time.Millisecond)
	if start := time.Now(); answer(c, 5*time.Second) != nil || time.Since(start) < 60*time.Millisecond {
		t.Error("a delayed answer came at once, or never")
	}
	p.Cut()
	if answer(c, 5*time.Second) == nil || answer(dial(), 5*time.Second) == nil {
		t.Error("something passed a cut proxy")
	}
	p.Mend()
	if err := answer(dial(), 5*time.Second); err != nil {
		t.Errorf("after mending: %v", err)
	}
}
