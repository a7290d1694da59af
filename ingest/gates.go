package ingest

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/audit"
	"github.com/tidegate-io/tidegate/internal/gate"
	"github.com/tidegate-io/tidegate/internal/questions"
	"github.com/tidegate-io/tidegate/internal/records"
	"github.com/tidegate-io/tidegate/internal/stream"
)

func (s *Server) gates(w http.ResponseWriter, _ *http.Request) error {
	return writeJSON(w, http.StatusOK, s.currentGates())
}

// currentGates returns the gates that the enforcer has announced, or before that
// those of the configuration.
func (s *Server) currentGates() events.Gates {
	if g, ok := s.Decisions.Gates(); ok {
		return g
	}
	c := s.Catalog()
	return events.Gates{Partitions: s.Partitions, DefaultPlan: c.Default().Name, Gates: c.Announced()}
}

func (s *Server) putGate(w http.ResponseWriter, r *http.Request) error {
	feature := r.PathValue("feature")
	catalog := s.Catalog()
	if _, ok := catalog.Gate(feature); !ok {
		return unknownFeature(feature)
	}
	body, free, err := readBody(w, r, maxWebhookBytes)
	if err != nil {
		return err
	}
	defer free()
	var in struct {
		Off    *bool   `json:"off"`
		Until  *string `json:"until"`
		Reason string  `json:"reason"`
	}
	if err := decodeStrict(body, &in); err != nil {
		return err
	}
	if in.Off == nil {
		return badRequest("`off` is missing: send {\"off\": true} to allow all, {\"off\": false} to limit again")
	}
	if err := gate.ValidReason(in.Reason); err != nil {
		return badRequest("`reason`: %v", err)
	}
	to := records.GateSwitch{Feature: feature, Off: *in.Off}
	if in.Until != nil {
		if !to.Off {
			return badRequest("`until` is when a gate that is off is on again: leave it out with {\"off\": false}")
		}
		if to.Until, err = moment("until", *in.Until); err != nil {
			return err
		}
		if !to.Until.After(s.Now()) {
			return badRequest("`until` has passed: name a time to come, or send {\"off\": false}")
		}
	}
	if err := s.switchGate(r, to, in.Reason); err != nil {
		return err
	}
	return writeJSON(w, http.StatusOK, to)
}

// position of a switch, in the audit log.
type position struct {
	Off   bool       `json:"off"`
	Until *time.Time `json:"until,omitempty"`
}

func (s *Server) switchGate(r *http.Request, to records.GateSwitch, reason string) error {
	e := audit.Entry{ID: audit.NewID(), Actor: s.actor(r), Action: audit.GateOn, Feature: to.Feature, After: audit.Value(position{to.Off, to.Until}), Reason: reason}
	if to.Off {
		e.Action = audit.GateOff
	}
	ctx, cancel := context.WithTimeout(r.Context(), settingsTimeout)
	defer cancel()
	if were, err := questions.SwitchedOff.Ask(ctx, stream.Asker{NC: s.NC, Names: s.Names}, 0, stream.None{}); err == nil {
		was := were[to.Feature]
		e.Before = audit.Value(position{was.Off, was.Until})
	} else {
		s.notAsked(err)
	}
	body, err := json.Marshal(records.Account{Gate: &to})
	if err != nil {
		return fmt.Errorf("encoding a change: %w", err)
	}
	return s.audited(r.Context(), []audit.Entry{e}, func(ctx context.Context) error {
		return s.publish(ctx, &nats.Msg{Subject: s.Names.Account(0), Header: nats.Header{audit.Header: {e.ID}}, Data: body})
	})
}

// publishAccount stores a change of what is known of a customer. A second one with the
// same id within the hour is not stored; "" is no id.
func (s *Server) publishAccount(ctx context.Context, a *records.Account, id string) error {
	m, err := s.accountMessage(&change{account: a})
	if err != nil {
		return err
	}
	if id != "" {
		m.Header = nats.Header{jetstream.MsgIDHeader: {id}}
	}
	return s.publish(ctx, m)
}

// publish stores a message and waits for the acknowledgement.
func (s *Server) publish(ctx context.Context, m *nats.Msg) error {
	ctx, cancel := context.WithTimeout(ctx, publishTimeout)
	defer cancel()
	if _, err := s.JS.PublishMsg(ctx, m); err != nil {
		return fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	return nil
}

func (s *Server) partitionOf(customer string) int { return events.PartitionOf(customer, s.Partitions) }

func pointer(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}
