// Package memory stands in for Tidegate's servers in tests of apps: a client
// made with it talks to nobody.
package memory

import (
	"sync"

	"github.com/tidegate-io/tidegate/events"
)

// Server keeps what a client publishes and feeds it decisions. The zero value
// is ready. It is safe for concurrent use.
type Server struct {
	mu       sync.Mutex
	feed     func(key string, value []byte) error
	usage    []events.Event
	accounts [][]byte
	failure  error
	discard  bool
}

// Attach is called by the client: feed takes a value of the decisions bucket.
func (s *Server) Attach(feed func(key string, value []byte) error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.feed = feed
}

// Put gives the client a value of the decisions bucket, before it returns.
func (s *Server) Put(key string, value []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.feed(key, value)
}

// Fail makes every publish fail with err, until it is nil.
func (s *Server) Fail(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failure = err
}

// Discard makes the server forget what is published, for benchmarks.
func (s *Server) Discard() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.discard = true
}

// Publish is what the client calls instead of JetStream.
func (s *Server) Publish(contentType string, body []byte) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.failure != nil || s.discard {
		return s.failure
	}
	if contentType != events.ContentTypeBatch {
		s.accounts = append(s.accounts, append([]byte(nil), body...))
		return nil
	}
	return events.EachInBatch(body, func(_ int, e events.Event, _ []byte, _ error) {
		s.usage = append(s.usage, e)
	})
}

// Usage returns what was recorded, in order of arrival.
func (s *Server) Usage() []events.Event {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]events.Event(nil), s.usage...)
}

// Accounts returns what Identify published.
func (s *Server) Accounts() [][]byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([][]byte(nil), s.accounts...)
}
