package refetch

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/stream"
	"github.com/tidegate-io/tidegate/internal/stripe/api"
	"github.com/tidegate-io/tidegate/internal/stripe/fold"
)

// Lists is the part of Stripe's API that a Sync needs; *api.Client implements it.
type Lists interface {
	Fetch(ctx context.Context, typ, id string) (api.Object, error)
	Products(ctx context.Context, after string) (api.Page, error)
	Subscriptions(ctx context.Context, after string) (api.Page, error)
	Customers(ctx context.Context, after string) (api.Page, error)
}

// Sync compares all subscriptions, customers and products at Stripe with the
// facts of the subscription fold, and publishes the objects that differ to
// BILLING, from where the fold applies them.
type Sync struct {
	Stripe  Lists
	NC      *nats.Conn
	JS      jetstream.JetStream
	Names   events.Names
	DryRun  bool                     // compare without publishing
	Restart bool                     // begin anew even if the last run was interrupted
	Step    func(what string, n int) // is called with progress; may be nil

	report Report
	seen   map[string]bool // subscriptions listed in this run
}

// Report is the result of a Sync.
type Report struct {
	Compared map[string]int `json:"compared"` // by type
	Drifts   []fold.Drift   `json:"differences"`
	Repaired int            `json:"repaired"`
	Missing  []string       `json:"missing"` // subscriptions that are open here and that Stripe does not have
	Resumed  bool           `json:"resumed"` // whether it continued an interrupted run
}

// position is how far a run has come; it is stored in STATE.
type position struct {
	Stage int       `json:"stage"`
	After string    `json:"after"`
	At    time.Time `json:"at"`
}

const (
	syncRole = "stripe-sync" // names the position in STATE
	syncAge  = 24 * time.Hour
	// syncAttempts is how often a request is sent before the run ends with an error.
	// The pauses between attempts grow to a minute.
	syncAttempts = 8
	chunk        = 256 << 10 // bytes of objects in one question to the fold
	openPage     = 5000
	handover     = 5 * time.Second // how long the fold may be without an owner
)

// Run compares everything. After an error, the next Run continues where this one
// stopped.
func (s *Sync) Run(ctx context.Context) (Report, error) {
	s.report = Report{Compared: map[string]int{}, Drifts: []fold.Drift{}, Missing: []string{}}
	s.seen = map[string]bool{}
	from := s.resume(ctx)
	stages := []struct {
		what string
		list func(context.Context, string) (api.Page, error)
	}{{"products", s.Stripe.Products}, {"subscriptions", s.Stripe.Subscriptions}, {"customers", s.Stripe.Customers}}
	for i := from.Stage; i < len(stages); i++ {
		if err := s.stage(ctx, i, from.After, stages[i].what, stages[i].list); err != nil {
			return s.report, fmt.Errorf("%s: %w", stages[i].what, err)
		}
		from.After = ""
	}
	if err := s.checkOpen(ctx); err != nil {
		return s.report, err
	}
	return s.report, s.finish(ctx)
}

// stage compares all objects of a list.
func (s *Sync) stage(ctx context.Context, number int, after, what string, list func(context.Context, string) (api.Page, error)) error {
	for {
		page, err := retry(ctx, func() (api.Page, error) { return list(ctx, after) })
		if errors.Is(err, api.ErrRequest) && after != "" { // Stripe no longer has that object: begin anew
			after = ""
			continue
		}
		if err != nil {
			return err
		}
		if err := s.take(ctx, page.Objects); err != nil {
			return err
		}
		if n := len(page.Objects); n > 0 {
			after = page.Objects[n-1].ID
		}
		s.step(what, len(page.Objects))
		if !page.More {
			return s.save(ctx, position{Stage: number + 1})
		}
		if err := s.save(ctx, position{Stage: number, After: after}); err != nil {
			return err
		}
	}
}

func (s *Sync) step(what string, n int) {
	if s.Step != nil {
		s.Step(what, n)
	}
}

// take compares objects and publishes those that differ.
func (s *Sync) take(ctx context.Context, objects []api.Object) error {
	var some []fold.Fetched
	size := 0
	for _, o := range objects {
		f, err := fold.NewFetched(o.JSON, api.APIVersion, o.At)
		if err != nil {
			return err
		}
		if o.Type == "subscription" {
			s.seen[o.ID] = true
		}
		s.report.Compared[o.Type]++
		if size += len(o.JSON); size > chunk && len(some) > 0 {
			if err := s.compare(ctx, some); err != nil {
				return err
			}
			some, size = some[:0], len(o.JSON)
		}
		some = append(some, f)
	}
	if len(some) == 0 {
		return nil
	}
	return s.compare(ctx, some)
}

func (s *Sync) compare(ctx context.Context, some []fold.Fetched) error {
	drifts, err := ask(ctx, s, fold.CompareQuestion, some)
	if err != nil {
		return err
	}
	byID := map[string]*fold.Fetched{}
	for i := range some {
		byID[some[i].ID] = &some[i]
	}
	s.report.Drifts = append(s.report.Drifts, drifts...)
	if s.DryRun {
		return nil
	}
	for i := range drifts {
		body, err := json.Marshal(byID[drifts[i].ID])
		if err != nil {
			return err
		}
		if _, err := retry(ctx, func() (*jetstream.PubAck, error) {
			return s.JS.Publish(ctx, s.Names.Billing(string(fold.KindFetched)), body)
		}); err != nil {
			return fmt.Errorf("storing an object: %w", err)
		}
		s.report.Repaired++
	}
	return nil
}

// checkOpen fetches each subscription that is open here and that Stripe did not
// list.
func (s *Sync) checkOpen(ctx context.Context) error {
	for after := ""; ; {
		open, err := ask(ctx, s, fold.OpenQuestion, fold.Page{After: after, Limit: openPage})
		if err != nil {
			return err
		}
		for _, id := range open {
			if after = id; s.seen[id] {
				continue
			}
			o, err := retry(ctx, func() (api.Object, error) { return s.Stripe.Fetch(ctx, "subscription", id) })
			switch {
			case errors.Is(err, api.ErrMissing):
				s.report.Missing = append(s.report.Missing, id)
			case err != nil:
				return err
			default:
				if err := s.take(ctx, []api.Object{o}); err != nil {
					return err
				}
			}
			s.step("subscriptions that are open here", 1)
		}
		if len(open) < openPage {
			return nil
		}
	}
}

// ask sends a question to the fold. It waits up to handover while the fold has no
// owner.
func ask[Req, Resp any](ctx context.Context, s *Sync, q stream.Question[Req, Resp], req Req) (Resp, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	answer, err := q.Ask(ctx, stream.Asker{NC: s.NC, Names: s.Names, Patience: handover}, 0, req)
	if errors.Is(err, stream.ErrNotOwned) || errors.Is(err, stream.ErrNoAnswer) {
		err = fmt.Errorf("no process runs the role enforcer, which keeps subscriptions: start it: %w", err)
	}
	return answer, err
}

// retry calls f until it succeeds, fails for good, or has failed syncAttempts
// times.
func retry[T any](ctx context.Context, f func() (T, error)) (T, error) {
	pause := time.Second
	for attempt := 1; ; attempt++ {
		v, err := f()
		if err == nil || attempt == syncAttempts || ctx.Err() != nil || !temporary(err) {
			return v, err
		}
		select {
		case <-ctx.Done():
			return v, err
		case <-time.After(pause):
		}
		pause = min(2*pause, time.Minute)
	}
}

func temporary(err error) bool {
	return errors.Is(err, api.ErrAway) || errors.Is(err, api.ErrLimited) || errors.Is(err, nats.ErrTimeout) ||
		errors.Is(err, context.DeadlineExceeded)
}
