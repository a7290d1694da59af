// Package ingest is the HTTP API. It takes usage, intents and webhooks, validates
// them and publishes them to the streams. It answers questions about decisions,
// customers and the funnel.
//
// It owns no state. It accepts a message only after JetStream has acknowledged it.
// It answers from the decision cache, from the owners of partitions, and from the
// documents while an owner is away.
package ingest

import (
	"context"
	"log/slog"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/VictoriaMetrics/metrics"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/audit"
	"github.com/tidegate-io/tidegate/internal/gate"
	"github.com/tidegate-io/tidegate/internal/link"
	"github.com/tidegate-io/tidegate/internal/records"
	"github.com/tidegate-io/tidegate/internal/stream"
)

// Decisions is the process's cache of decisions. Its methods are safe for
// concurrent use and never wait for the network.
type Decisions interface {
	// Check returns the newest known decision. Its reason is NoDecision while
	// nothing is known.
	Check(customer, feature string) events.Decision
	// Gates returns the gates that the enforcer has announced; false before the
	// first sync.
	Gates() (events.Gates, bool)
}

// Documents are read while a partition has no owner, and for lists. Its methods are
// safe for concurrent use.
type Documents interface {
	// Usage returns all windows of a customer.
	Usage(ctx context.Context, customer string) ([]records.Window, error)
	// Customer returns a customer's document; false when there is none.
	Customer(ctx context.Context, id string) (records.Customer, bool, error)
	// Subscription returns a customer's subscription; false when there is none.
	Subscription(ctx context.Context, customer string) (records.Subscription, bool, error)
}

// Lists pages through documents in the order of their ids, beginning behind
// the given one ("": from the first).
type Lists interface {
	Customers(ctx context.Context, afterID string, limit int) ([]records.Customer, error)
	// UsageAfter pages through running windows by Window.ID.
	UsageAfter(ctx context.Context, afterID string, limit int) ([]records.Window, error)
}

// History is read for the funnel; from is inclusive, to is not.
type History interface {
	NotificationsBetween(ctx context.Context, from, to time.Time) ([]records.Notification, error)
	Conversions(ctx context.Context, from, to time.Time) ([]records.Conversion, error)
}

// Store is the part of a store that ingest reads.
type Store interface {
	Documents
	Lists
	History
	Personal
}

// Options configure a Server. Fields without a remark are required.
type Options struct {
	JS         jetstream.JetStream
	NC         *nats.Conn
	Names      events.Names
	Partitions int
	Horizon    time.Duration        // older usage is refused
	Catalog    func() *gate.Catalog // must not be changed
	Decisions  Decisions
	Store      Store
	Keys       func() Keys    // nil or none: everyone may do everything
	Bounds     func() *Bounds // of what callers may do; nil: there are none
	Now        func() time.Time
	Log        *slog.Logger // nil: slog.Default

	// Verify checks a Stripe webhook's signature and mode and returns the
	// event's id and type; nil refuses webhooks, as without a secret none can be
	// trusted. The sender is told its error.
	Verify func(payload []byte, header string) (id, typ string, err error)
	// Resend takes the mail provider's webhooks; nil: there are none. It returns
	// the status to answer with, and for a refusal why; the sender is told both.
	Resend func(w http.ResponseWriter, r *http.Request) (status int, err error)
	// LinkSecrets are what mailed links may be signed with; none refuses all.
	LinkSecrets [][]byte
	// Upgrade makes the page where a customer pays, at the moment of the click;
	// nil, "" or an error lead to UpgradeURL.
	Upgrade func(ctx context.Context, l link.Link) (string, error)
	// UpgradeURL is `upgrade.url` of the configuration, now.
	UpgradeURL func() string
	// Funnel counts (internal/funnel.Answer); by is "", "plan", "feature" or
	// "week". The result is sent as JSON. nil: not available.
	Funnel func(from, to time.Time, by string, n []records.Notification, c []records.Conversion) any
	// Ready are further checks of /readyz by name.
	Ready map[string]func(context.Context) error
	// Metrics is written by /metrics; nil makes one.
	Metrics *metrics.Set
}

// Server answers over HTTP. Make it with New.
type Server struct {
	Options
	publisher *Publisher
	audit     *audit.Log
	counters  counters
	bounds    *bounds
	uncounted *uncounted
	refusals  throttledLog // of webhooks
	busy      throttledLog // 503
	ended     throttledLog // keys after their end
	wrong     throttledLog // API keys
	unready   throttledLog
	stuck     time.Duration // for one who does not read a stream
	routes    atomic.Pointer[routes]
	closed    chan struct{}
	close     func()
}

// New returns a server that is ready to handle requests.
func New(o Options) *Server {
	if o.Log == nil {
		o.Log = slog.Default()
	}
	if o.Metrics == nil {
		o.Metrics = metrics.NewSet()
	}
	if o.UpgradeURL == nil {
		o.UpgradeURL = func() string { return "" }
	}
	if o.Keys == nil {
		o.Keys = func() Keys { return Keys{} }
	}
	s := &Server{Options: o, closed: make(chan struct{}), counters: newCounters(o.Metrics), stuck: writeTimeout}
	s.close = sync.OnceFunc(func() { close(s.closed) })
	s.bounds = s.newBounds(o.Bounds)
	s.uncounted = newUncounted(stream.Asker{NC: o.NC, Names: o.Names}, o.Partitions, s.bounds.since)
	s.publisher = NewPublisher(o.JS, o.Names, o.Partitions)
	s.audit = audit.New(o.JS, o.Names, o.Log)
	return s
}

// Close ends the streams of decisions, so that an http.Server's Shutdown need
// not wait for them (see http.Server.RegisterOnShutdown). Other requests are
// answered as before.
func (s *Server) Close() { s.close() }

// Publisher is the one that the server publishes usage with.
func (s *Server) Publisher() *Publisher { return s.publisher }
