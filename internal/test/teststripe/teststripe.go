// Package teststripe is a Stripe for tests: a small server that remembers
// customers, subscriptions, prices, sessions, webhook endpoints and events, and
// answers the part of the API that Tidegate uses as Stripe does, in the shape
// of version 2023-10-16. It pages, bounds its rate, honours idempotency keys
// and can be out of order. What a test has customers do becomes events, which
// the test delivers as webhooks, in whatever order, or loses.
//
// Mock starts the official stripe-mock, which knows every parameter and every
// shape but remembers nothing.
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

// Object is one of Stripe's.
type Object map[string]any

// Event is what Stripe has to tell.
type Event struct {
	ID, Type string
	Payload  []byte // the webhook's body
}

// Request is one that was answered.
type Request struct {
	Method, Path string
	Params       url.Values
	Header       http.Header
	Status       int
}

// Server is a Stripe account. Its methods are safe for concurrent use.
type Server struct {
	URL string
	Key string // that it takes

	srv *httptest.Server

	mu        sync.Mutex
	ahead     time.Duration     // of the account's clock
	objects   map[string]Object // by id
	order     []string          // ids as they were made
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

// New starts an account with nothing in it, until the test ends.
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

// Now is the account's clock.
func (s *Server) Now() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now()
}

func (s *Server) now() time.Time { return time.Now().UTC().Add(s.ahead) }

// Wait moves the account's clock ahead.
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

// Down makes every request fail without an answer, until Recover.
func (s *Server) Down() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.down = true
}

// Hang keeps every request waiting, until Recover.
func (s *Server) Hang() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.hang == nil {
		s.hang = make(chan struct{})
	}
}

// Limit answers 429 to what goes beyond n requests in a second of real time; 0
// takes any number.
func (s *Server) Limit(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.perSecond = n
}

// Recover ends what Fail, Down, Hang and Limit began.
func (s *Server) Recover() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fails, s.down, s.perSecond = nil, false, 0
	if s.hang != nil {
		close(s.hang)
		s.hang = nil
	}
}

// Requests are those answered so far whose method and path begin with prefix,
// such as "POST /v1/checkout".
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

// Get is a copy of an object as it is now.
func (s *Server) Get(id string) Object {
	s.mu.Lock()
	defer s.mu.Unlock()
	return clone(s.objects[id])
}

// Put makes or replaces an object without an event, as nobody should.
func (s *Server) Put(o Object) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.put(o)
}

// Forget removes an object for good.
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

// id makes a new one.
func (s *Server) id(prefix string) string {
	s.numbers[prefix]++
	return fmt.Sprintf("%s_%04d", prefix, s.numbers[prefix])
}

// newest are the objects of a type, the last made first.
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
		panic(err) // objects hold only what JSON can
	}
	var c Object
	if err := json.Unmarshal(b, &c); err != nil {
		panic(err)
	}
	return c
}
