// Package teststripe is a fake Stripe for tests: a small server with customers,
// subscriptions, prices, sessions, webhook endpoints and events. It implements the part
// of the API that Tidegate uses, in the shape of version 2023-10-16, with pages, a rate
// limit, idempotency keys and outages. The methods that change objects return events,
// which the test delivers as webhooks in any order, or loses.
//
// Mock starts the official stripe-mock, which knows all parameters and shapes but has
// no state.
package teststripe

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// Object is a Stripe object.
type Object map[string]any

// Event is an event of the account.
type Event struct {
	ID, Type string
	Payload  []byte // the webhook's body
}

// Request is an answered request.
type Request struct {
	Method, Path string
	Params       url.Values
	Header       http.Header
	Status       int
}

// Server is a Stripe account. Its methods are safe for concurrent use.
type Server struct {
	URL string
	Key string // the key that it accepts

	srv *httptest.Server

	mu        sync.Mutex
	ahead     time.Duration     // of the account's clock
	objects   map[string]Object // by id
	order     []string          // ids, oldest first
	events    []Event
	requests  []Request
	answered  map[string]stored // by idempotency key
	fails     []int             // statuses of the next answers
	down      bool
	hang      chan struct{} // requests wait until it is closed
	numbers   map[string]int
	perSecond int
	spent     map[int64]int
}

// New starts an empty account. It ends with the test.
func New(t testing.TB) *Server {
	t.Helper()
	s := &Server{
		Key: "sk_test_51TidegateTestKey", objects: map[string]Object{},
		answered: map[string]stored{}, numbers: map[string]int{}, spent: map[int64]int{},
	}
	s.srv = httptest.NewServer(s)
	s.URL = s.srv.URL
	t.Cleanup(func() {
		s.Recover()
		s.srv.Close()
	})
	return s
}

// Now returns the time of the account's clock.
func (s *Server) Now() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now()
}

func (s *Server) now() time.Time { return time.Now().UTC().Add(s.ahead) }

// Wait moves the account's clock forward.
func (s *Server) Wait(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ahead += d
}

// Fail makes the next requests fail, each with one of the statuses.
func (s *Server) Fail(statuses ...int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fails = append(s.fails, statuses...)
}

// Down makes all requests fail without an answer until Recover.
func (s *Server) Down() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down = true
}

// Hang blocks all requests until Recover.
func (s *Server) Hang() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.hang == nil {
		s.hang = make(chan struct{})
	}
}

// Limit makes requests above n per second of real time fail with 429. 0 is no limit.
func (s *Server) Limit(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.perSecond = n
}

// Recover ends Fail, Down, Hang and Limit.
func (s *Server) Recover() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fails, s.down, s.perSecond = nil, false, 0
	if s.hang != nil {
		close(s.hang)
		s.hang = nil
	}
}

// Requests returns the answered requests whose method and path begin with prefix, such
// as "POST /v1/checkout".
func (s *Server) Requests(prefix string) (found []Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, r := range s.requests {
		if strings.HasPrefix(r.Method+" "+r.Path, prefix) {
			found = append(found, r)
		}
	}
	return found
}

// Get returns a copy of an object.
func (s *Server) Get(id string) Object {
	s.mu.Lock()
	defer s.mu.Unlock()
	return clone(s.objects[id])
}

// Put creates or replaces an object without an event.
func (s *Server) Put(o Object) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.put(o)
}

// Forget removes an object without an event.
func (s *Server) Forget(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.objects, id)
	s.order = slices.DeleteFunc(s.order, func(o string) bool { return o == id })
}

func (s *Server) put(o Object) string {
	id := o["id"].(string)
	if s.objects[id] == nil {
		s.order = append(s.order, id)
	}
	if o["created"] == nil {
		o["created"] = s.now().Unix()
	}
	if o["livemode"] == nil {
		o["livemode"] = false
	}
	s.objects[id] = clone(o)
	return id
}

// id returns a new id.
func (s *Server) id(prefix string) string {
	s.numbers[prefix]++
	return fmt.Sprintf("%s_%04d", prefix, s.numbers[prefix])
}

// newest returns the objects of a type, the newest first.
func (s *Server) newest(typ string) (all []Object) {
	for _, id := range slices.Backward(s.order) {
		if o := s.objects[id]; o["object"] == typ {
			all = append(all, o)
		}
	}
	return all
}

func clone(o Object) Object {
	if o == nil {
		return nil
	}
	b, err := json.Marshal(o)
	if err != nil {
		panic(err) // objects have only JSON values
	}
	var c Object
	if err := json.Unmarshal(b, &c); err != nil {
		panic(err)
	}
	return c
}
