// Package httpserver serves HTTP on addresses that strangers reach. It bounds how
// long a request and its answer may take on the way, how large the head of a
// request may be, and how many connections stand open. It speaks TLS, and with it
// HTTP/2, where there is a certificate.
package httpserver

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"time"
)

// Timeouts bound the parts of a request. A zero field is the default.
type Timeouts struct {
	Head  time.Duration // until the head of a request has come, also of the first one after a connection; 10 s
	Body  time.Duration // until the body has come, from the end of the head; 10 s. A handler may set another read deadline
	Write time.Duration // from the end of the head until the answer is written; 90 s. A handler may set another write deadline
	Idle  time.Duration // between two requests; 2 minutes
	Stuck time.Duration // of HTTP/2: a connection that takes no byte, or answers no ping; 30 s
}

func (t Timeouts) withDefaults() Timeouts {
	for _, d := range []struct {
		field     *time.Duration
		otherwise time.Duration
	}{{&t.Head, 10 * time.Second}, {&t.Body, 10 * time.Second}, {&t.Write, 90 * time.Second}, {&t.Idle, 2 * time.Minute}, {&t.Stuck, 30 * time.Second}} {
		if *d.field == 0 {
			*d.field = d.otherwise
		}
	}
	return t
}

const (
	maxHeadBytes = 32 << 10
	headSlack    = 4 << 10 // net/http reads so much more than it is told
	// maxStreams is how many requests of HTTP/2 a connection may have at a time.
	maxStreams = 128
)

// Options configure a Server.
type Options struct {
	Handler  http.Handler
	Log      *slog.Logger
	Timeouts Timeouts
	// Connections is how many may be open at a time; 0: any number. It is asked for
	// each new connection.
	Connections func() int
	Certificate *Certificate // nil: no TLS
}

// Server serves one listener. Its methods are safe for concurrent use.
type Server struct {
	http     http.Server
	listener *listener
	secure   bool
}

// New returns a Server for a listener, which it closes when it stops.
func New(l net.Listener, o Options) *Server {
	t := o.Timeouts.withDefaults()
	s := &Server{listener: newListener(l, o.Connections, o.Log), secure: o.Certificate != nil}
	s.http = http.Server{
		Handler:           boundBody(o.Handler, t.Body),
		ReadHeaderTimeout: t.Head, WriteTimeout: t.Write, IdleTimeout: t.Idle,
		MaxHeaderBytes: maxHeadBytes - headSlack,
		ConnState:      s.listener.note,
		ErrorLog:       slog.NewLogLogger(o.Log.Handler(), slog.LevelDebug),
		HTTP2:          &http.HTTP2Config{MaxConcurrentStreams: maxStreams, SendPingTimeout: t.Stuck, PingTimeout: t.Stuck, WriteByteTimeout: t.Stuck},
		// net/http's own answer to OPTIONS * reads a body without a deadline.
		DisableGeneralOptionsHandler: true,
	}
	if s.secure {
		s.http.TLSConfig = &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: o.Certificate.get}
	}
	return s
}

// Serve answers until Shutdown. Its error is nil then.
func (s *Server) Serve() error {
	serve := s.http.Serve
	if s.secure {
		serve = func(l net.Listener) error { return s.http.ServeTLS(l, "", "") }
	}
	if err := serve(s.listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// Shutdown lets requests end that are under way, until ctx is done, and closes all
// connections.
func (s *Server) Shutdown(ctx context.Context) error {
	if err := s.http.Shutdown(ctx); err != nil {
		return errors.Join(err, s.http.Close())
	}
	return nil
}

// boundBody gives the body of a request a time to come in, whether the handler reads
// it or not: net/http reads what a handler leaves, and answers only then.
func boundBody(next http.Handler, most time.Duration) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Body != nil && r.Body != http.NoBody {
			ctl := http.NewResponseController(w)
			_ = ctl.SetReadDeadline(time.Now().Add(most))
			r.Body = &body{r.Body, ctl}
		}
		next.ServeHTTP(w, r)
	})
}

// body takes the read deadline away when it has come: from then on net/http reads
// to learn that the client is gone, and a deadline that passes would say so.
type body struct {
	io.ReadCloser
	ctl *http.ResponseController
}

func (b *body) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err == io.EOF {
		_ = b.ctl.SetReadDeadline(time.Time{})
	}
	return n, err
}
