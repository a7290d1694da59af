package refetch

import (
	"context"
	"encoding/json"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/stripe/fold"
)

// resume returns where an interrupted run stopped. It returns the beginning for a
// dry run, and when the position is too old or unreadable.
func (s *Sync) resume(ctx context.Context) (p position) {
	if s.DryRun || s.Restart {
		return position{}
	}
	state, err := s.JS.Stream(ctx, s.Names.Stream(events.StreamState))
	if err != nil {
		return position{}
	}
	m, err := state.GetLastMsgForSubject(ctx, s.Names.Log(syncRole, 0))
	if err != nil || json.Unmarshal(m.Data, &p) != nil || time.Since(p.At) > syncAge {
		return position{}
	}
	s.report.Resumed = true
	return p
}

func (s *Sync) save(ctx context.Context, p position) error {
	if s.DryRun {
		return nil
	}
	p.At = time.Now()
	body, err := json.Marshal(p)
	if err != nil {
		return err
	}
	_, err = s.JS.Publish(ctx, s.Names.Log(syncRole, 0), body)
	return err
}

// finish removes the position, and waits until the fold has applied everything.
func (s *Sync) finish(ctx context.Context) error {
	if s.DryRun {
		return nil
	}
	state, err := s.JS.Stream(ctx, s.Names.Stream(events.StreamState))
	if err == nil {
		err = state.Purge(ctx, jetstream.WithPurgeSubject(s.Names.Log(syncRole, 0)))
	}
	if err == nil {
		_, err = ask(ctx, s, fold.OpenQuestion, fold.Page{Limit: 1}) // answered after all that was stored
	}
	return err
}
