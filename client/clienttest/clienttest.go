// Package clienttest helps to test apps that use the client. Its server lives
// in memory, holds the decisions that a test sets, and keeps what the app
// records; the client is a real one, which counts down as in production.
package clienttest

import (
	"context"
	"encoding/json"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/client"
	"github.com/tidegate-io/tidegate/client/internal/memory"
	"github.com/tidegate-io/tidegate/events"
)

// Server stands in for Tidegate. Its methods are safe for concurrent use, and
// what they set holds when they return.
type Server struct {
	Client *client.Client // synced, and closed when the test ends

	t        testing.TB
	memory   *memory.Server
	position atomic.Int64
}

// New starts a server with these gates and a client on it. A feature without a
// gate is judged by the fail policy. See Gate for a short form.
func New(t testing.TB, gates []events.Gate, opts ...client.Option) *Server {
	t.Helper()
	s := &Server{t: t, memory: &memory.Server{}}
	c, err := client.New(nil, append(opts, client.InMemory(s.memory))...)
	if err != nil {
		t.Fatal(err)
	}
	s.Client = c
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		if err := c.Close(ctx); err != nil {
			t.Error(err)
		}
	})
	s.SetGates(gates...)
	return s
}

// Gate is a gate that counts the event of its own name in windows of 30 days,
// with a limit for customers of the default plan.
func Gate(feature string, limit int64) events.Gate {
	return events.Gate{Feature: feature, Event: feature, Aggregate: "count", InPlan: true,
		Limit: events.Some(events.Count(limit)), Period: "30d", Window: "anniversary"}
}

// SetGates replaces the gates.
func (s *Server) SetGates(gates ...events.Gate) {
	s.t.Helper()
	s.put(events.GatesKey, events.Gates{Partitions: 4, DefaultPlan: "free", Gates: gates})
}

// Set gives the app a decision. A Position of 0 makes it the newest.
func (s *Server) Set(d events.Decision) {
	s.t.Helper()
	if d.Position == 0 {

		d.Position = s.position.Add(1)
	}
	s.put(events.DecisionKey(d.Customer, d.Feature), d)
}

// Allow lets a customer use a feature without limit.
func (s *Server) Allow(customer, feature string) {
	s.t.Helper()
	s.Set(events.Decision{Customer: customer, Feature: feature, Allowed: true, Reason: events.Unlimited, Plan: "paid"})
}

// Block blocks a customer who has used the feature up to a limit.
func (s *Server) Block(customer, feature string, limit int64) {
	s.t.Helper()
	used := events.Some(events.Count(limit))
	s.Set(events.Decision{Customer: customer, Feature: feature, Reason: events.LimitReached, Plan: "free",
		Limit: used, Used: used, Remaining: events.Some(events.Value{})})
}

// Recorded returns what the app has recorded, in order for each customer, after
// all of it has arrived.
func (s *Server) Recorded() []events.Event {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	if err := s.Client.Flush(ctx); err != nil {
		s.t.Fatal(err)
	}
	return s.memory.Usage()
}

// Identified returns what the app has told of customers.
func (s *Server) Identified() []events.Identity {
	s.t.Helper()
	var list []events.Identity
	for _, body := range s.memory.Accounts() {
		var a events.Identity
		if err := json.Unmarshal(body, &a); err != nil {
			s.t.Fatal(err)
		}
		list = append(list, a)
	}
	return list
}

// Fail makes everything that is published fail with err, until it is nil again.
func (s *Server) Fail(err error) { s.memory.Fail(err) }

func (s *Server) put(key string, v any) {
	s.t.Helper()
	body, err := json.Marshal(v)
	if err == nil {
		err = s.memory.Put(key, body)
	}
	if err != nil {
		s.t.Fatal(err)
	}
}
