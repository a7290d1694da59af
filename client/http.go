package client

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"slices"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/gate"
)

// GateOption changes how Gate and Middleware treat requests.
type GateOption func(*gating)

type gating struct {
	c          *Client
	customerOf func(*http.Request) string
	usage      func(*http.Request) Usage
	anonymous  bool
	record     bool
	blocked    func(http.ResponseWriter, *http.Request, events.Decision)
}

// AllowAnonymous lets requests without a customer through, unchecked and
// unrecorded. By default they are answered with 401.
func AllowAnonymous() GateOption { return func(g *gating) { g.anonymous = true } }

// CheckOnly records nothing: the app calls Record itself.
func CheckOnly() GateOption { return func(g *gating) { g.record = false } }

// UsageOf gives what a successful request used, such as a Value or an ID from
// an Idempotency-Key header. It is called after the handler. An empty Customer
// or Event is filled in.
func UsageOf(f func(*http.Request) Usage) GateOption { return func(g *gating) { g.usage = f } }

// OnBlocked answers blocked requests instead of Blocked.
func OnBlocked(f func(http.ResponseWriter, *http.Request, events.Decision)) GateOption {
	return func(g *gating) { g.blocked = f }
}

// Gate wraps the handler of a metered feature: it checks before, answers for it
// when the customer is blocked (see Blocked), and records one use after the
// handler has answered with a status below 400. A handler that panics, and one
// that answers an error, used nothing. Requests that are handled at the same
// moment may pass together beyond the limit.
//
// customerOf says whose request it is; "" is nobody.
func (c *Client) Gate(feature string, customerOf func(*http.Request) string, opts ...GateOption) func(http.Handler) http.Handler {
	g := c.gating(customerOf, opts)
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { g.serve(w, r, next, feature) })
	}
}

// Middleware is Gate for a whole app: it finds each request's gate by the
// triggers in the configuration. Requests without one pass, and so do all
// before the first sync, when the triggers are not known, unless the client is
// FailClosed for all features. A request whose path could be read as that of
// several gates must be let through by each, and is a use of each. One whose path
// cannot be read is answered with 400.
func (c *Client) Middleware(customerOf func(*http.Request) string, opts ...GateOption) func(http.Handler) http.Handler {
	g := c.gating(customerOf, opts)
	return func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			v := c.cache.view.Load()
			switch {
			case c.disabled:
			case v == nil && c.closedAll:
				Blocked(w, c.undecided(nil, "", ""))
				return
			case v != nil:
				var few [4]string
				switch found, err := v.gates.match(few[:0], r); {
				case err != nil:
					answer := gate.Unreadable()
					write(w, &answer)
					return
				case len(found) > 0:
					g.serve(w, r, next, found...)
					return
				}
			}
			next.ServeHTTP(w, r)
		})
	}
}

func (c *Client) gating(customerOf func(*http.Request) string, opts []GateOption) *gating {
	g := &gating{c: c, customerOf: customerOf, record: true, usage: func(*http.Request) Usage { return Usage{} },
		blocked: func(w http.ResponseWriter, _ *http.Request, d events.Decision) { Blocked(w, d) }}
	for _, o := range opts {
		o(g)
	}
	return g
}

func (g *gating) serve(w http.ResponseWriter, r *http.Request, next http.Handler, features ...string) {
	if g.c.disabled {
		next.ServeHTTP(w, r)
		return
	}
	customer := g.customerOf(r)
	if customer == "" {
		if g.anonymous {
			next.ServeHTTP(w, r)
			return
		}
		answer := gate.NoCustomer(features[0])
		write(w, &answer)
		return
	}
	for _, feature := range features {
		if d := g.c.Check(customer, feature); !d.Allowed {
			g.blocked(w, r, d)
			return
		}
	}
	if !g.record {
		next.ServeHTTP(w, r)
		return
	}
	watched := &statusWriter{ResponseWriter: w}
	next.ServeHTTP(watched.as(w), r)
	if watched.status < http.StatusBadRequest {
		g.used(r, customer, features)
	}
}

// ended is a context that has: with it Record does not wait for room.
var ended = func() context.Context {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	return ctx
}()

// used records what a request used, without waiting: its answer is out. Features
// may share an event.
func (g *gating) used(r *http.Request, customer string, features []string) {
	u := g.usage(r)
	u.Customer = cmp.Or(u.Customer, customer)
	if u.Event != "" {
		g.recordOne(u)
		return
	}
	id := u.ID
	for i, feature := range features {
		u.Event = g.c.eventOf(feature)
		if slices.ContainsFunc(features[:i], func(f string) bool { return g.c.eventOf(f) == u.Event }) {
			continue
		}
		if u.ID = id; id != "" && i > 0 { // an id is one event's
			u.ID += "/" + u.Event
		}
		g.recordOne(u)
	}
}

func (g *gating) recordOne(u Usage) {
	if err := g.c.Record(ended, u); err != nil && !errors.Is(err, ErrClosed) {
		g.c.report("a use was not recorded", err)
	}
}

// eventOf is the event that the feature's gate meters.
func (c *Client) eventOf(feature string) string {
	if v := c.cache.view.Load(); v != nil {
		if g := v.gates.byFeature[feature]; g != nil {
			return g.Event
		}
	}
	return feature
}

// statusWriter remembers the status; http.ResponseController reaches what is
// behind it.
type statusWriter struct {
	http.ResponseWriter
	status int // 0: 200, or a connection that was taken over
}

// Unwrap is for http.ResponseController.
func (w *statusWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// WriteHeader notes the first final status.
func (w *statusWriter) WriteHeader(status int) {
	if w.status < http.StatusOK {
		w.status = status
	}
	w.ResponseWriter.WriteHeader(status)
}

// as is w as a handler should see it: a Flusher if the server's writer is one,
// for the many that ask for it without a ResponseController.
func (w *statusWriter) as(server http.ResponseWriter) http.ResponseWriter {
	if f, ok := server.(http.Flusher); ok {
		return flushWriter{w, f}
	}
	return w
}

type flushWriter struct {
	*statusWriter
	flusher http.Flusher
}

// Flush is http.Flusher's.
func (w flushWriter) Flush() { w.flusher.Flush() }
