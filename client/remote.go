package client

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/tidegate-io/tidegate/events"
)

// remote is Tidegate's HTTP address, for apps that cannot reach NATS.
type remote struct {
	base string // without a final slash
	key  string
	http *http.Client
}

const (
	silence      = 45 * time.Second // a comment comes every 15 s
	maxSSELine   = 1 << 20
	maxPost      = 4 << 20
	postedEvents = 5_000 // of the 10,000 that a request may hold
)

// NewHTTP is New for an app that cannot reach NATS: decisions come as
// server-sent events, usage goes in batches, both from and to Tidegate's HTTP
// address, such as "http://tidegate:8080". The key needs the scopes read and
// events. A Client promises the same; a decision takes a millisecond
// more, and a busy app some CPU for JSON.
func NewHTTP(address, key string, opts ...Option) (*Client, error) {
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		// It is not quoted: a password may stand in it.
		return nil, errors.New("tidegate client: the address is not one of a Tidegate, such as http://tidegate:8080")
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost, transport.ResponseHeaderTimeout = 16, callTimeout
	r := &remote{base: strings.TrimRight(address, "/"), key: key, http: &http.Client{Transport: transport}}
	return newClient(nil, r, opts)
}

func (r *remote) do(ctx context.Context, method, path, contentType string, body []byte, headers ...string) (*http.Response, error) {
	req, err := http.NewRequestWithContext(ctx, method, r.base+path, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	if contentType != "" {
		req.Header.Set("Content-Type", contentType)
	}
	if r.key != "" {
		req.Header.Set("Authorization", "Bearer "+r.key)
	}
	for i := 0; i < len(headers); i += 2 {
		req.Header.Set(headers[i], headers[i+1])
	}
	return r.http.Do(req)
}

// call asks for a short answer.
func (r *remote) call(ctx context.Context, method, path, contentType string, body []byte) (int, []byte, error) {
	ctx, cancel := context.WithTimeout(ctx, 2*callTimeout)
	defer cancel()
	resp, err := r.do(ctx, method, path, contentType, body)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	b, err := io.ReadAll(io.LimitReader(resp.Body, maxPost))
	return resp.StatusCode, b, err
}

func refused(path string, status int, body []byte) error {
	var p struct{ Detail string }
	if json.Unmarshal(body, &p) != nil || p.Detail == "" {
		p.Detail = http.StatusText(status)
	}
	return fmt.Errorf("%s: %d %s", path, status, p.Detail)
}

// publishHTTP delivers a message of usage without NATS.
func (c *Client) publishHTTP(ctx context.Context, body []byte) error {
	var post []byte
	n := 0
	send := func() error {
		if n == 0 {
			return nil
		}
		b := append(post, ']')
		post, n = post[:0], 0
		return c.postUsage(ctx, b)
	}
	var failed error
	err := events.EachInBatch(body, func(_ int, e events.Event, _ []byte, err error) {
		if failed != nil || err != nil { // err: cannot be, this client packed it
			return
		}
		if n == 0 {
			post = append(post, '[')
		} else {
			post = append(post, ',')
		}
		post = e.AppendJSON(post)
		if n++; n >= postedEvents || len(post) >= maxPost {
			failed = send()
		}
	})
	if failed == nil {
		failed = send()
	}
	return errors.Join(err, failed)
}

func (c *Client) postUsage(ctx context.Context, body []byte) error {
	const path = "/v1/events"
	status, answer, err := c.remote.call(ctx, http.MethodPost, path, "application/cloudevents-batch+json", body)
	if err != nil {
		return err
	}
	var a struct {
		Rejected []struct{ ID, Error string }
	}
	_ = json.Unmarshal(answer, &a) // whatever else it is, it rejects none
	switch {
	case status == http.StatusAccepted, status == http.StatusBadRequest && len(a.Rejected) > 0:
		if len(a.Rejected) > 0 {
			c.report("usage can't count", fmt.Errorf("%d events, the first is %q: %s", len(a.Rejected), a.Rejected[0].ID, a.Rejected[0].Error))
		}
		return nil
	}
	return refused(path, status, answer)
}

// identify tells of a customer.
func (r *remote) identify(ctx context.Context, a events.Identity) error {
	path := "/v1/customers/" + url.PathEscape(a.Customer)
	a.Customer = ""
	body, err := json.Marshal(a)
	if err != nil {
		return err
	}
	status, answer, err := r.call(ctx, http.MethodPut, path, "application/json", body)
	if err == nil && status >= http.StatusMultipleChoices {
		err = refused("/v1/customers", status, answer)
	}
	return err
}

// followForever keeps the cache in step with GET /v1/decisions until ctx ends.
func (c *Client) followForever(ctx context.Context) {
	f := follower{c: c}
	for wait := shortestWait; ctx.Err() == nil; wait = min(2*wait, longestWait) {
		synced, err := f.once(ctx)
		c.current.Store(0)
		if ctx.Err() != nil {
			return
		}
		c.connected.next()
		if synced {
			wait = shortestWait
		}
		c.report("decisions cannot be followed now", err)
		timer := time.NewTimer(wait)
		select {
		case <-ctx.Done():
		case <-timer.C:
		}
		timer.Stop()
	}
}

// follower reads streams of decisions, one after the other.
type follower struct {
	c      *Client
	lastID string
	first  []entry
	live   bool
}

var errSilent = errors.New("the stream of decisions is silent")

func (f *follower) once(ctx context.Context) (synced bool, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	f.first, f.live = nil, false
	headers := []string{"Accept", "text/event-stream"}
	if f.lastID != "" {
		headers = append(headers, "Last-Event-ID", f.lastID)
	}
	resp, err := f.c.remote.do(ctx, http.MethodGet, "/v1/decisions", "", nil, headers...)
	if err != nil {
		return false, err
	}
	defer func() { _ = resp.Body.Close() }()
	if resp.StatusCode != http.StatusOK {
		b, _ := io.ReadAll(io.LimitReader(resp.Body, 4096))
		return false, refused("/v1/decisions", resp.StatusCode, b)
	}
	watchdog := time.AfterFunc(silence, func() { cancel(errSilent) })
	defer watchdog.Stop()
	lines := bufio.NewScanner(resp.Body)
	lines.Buffer(make([]byte, 0, 64<<10), maxSSELine)
	var one sseEvent
	for lines.Scan() {
		watchdog.Reset(silence)
		if f.live {
			f.c.seen.Store(f.c.now().UnixNano())
		}
		if line := lines.Bytes(); len(line) > 0 {
			one.line(line)
			continue
		}
		if err := f.take(&one); err != nil {
			f.c.report("an event in the stream of decisions cannot be read", err)
		}
		one = sseEvent{}
	}
	if err := context.Cause(ctx); err != nil {
		return f.live, err
	}
	if err := lines.Err(); err != nil {
		return f.live, err
	}
	return f.live, errWatchEnded
}

// sseEvent is one server-sent event in the making.
type sseEvent struct {
	id, name string
	data     []byte
}

func (e *sseEvent) line(line []byte) {
	field, value, _ := bytes.Cut(line, []byte(":"))
	value = bytes.TrimPrefix(value, []byte(" "))
	switch string(field) {
	case "id":
		e.id = string(value)
	case "event":
		e.name = string(value)
	case "data":
		e.data = append(e.data, value...)
	}
}

// take takes an event over: until the stream is synced into what is kept apart,
// for only synced tells whether that adds to what is known or replaces it.
func (f *follower) take(e *sseEvent) error {
	now := f.c.now()
	if e.name == "synced" {
		return f.sync(e.data, now)
	}
	one, ok, err := bucketEntry(e)
	if !ok || err != nil {
		return err
	}
	if e.id != "" {
		f.lastID = e.id
	}
	if !f.live {
		f.first = append(f.first, one)
		return nil
	}
	return f.c.cache.apply(one, now)
}

// bucketEntry is an event as the value of the decisions bucket that it was.
func bucketEntry(e *sseEvent) (one entry, ok bool, err error) {
	switch e.name {
	case "gates":
		return entry{key: events.GatesKey, value: e.data}, true, nil
	case "decision", "removed":
		var key struct{ Customer, Feature string }
		if err := json.Unmarshal(e.data, &key); err != nil {
			return entry{}, false, fmt.Errorf("%s %q: %w", e.name, e.id, err)
		}
		if key.Customer == "" || key.Feature == "" {
			return entry{}, false, fmt.Errorf("%s %q names no customer and feature", e.name, e.id)
		}
		one.key = events.DecisionKey(key.Customer, key.Feature)
		if e.name == "decision" {
			one.value = e.data
		}
		return one, true, nil
	}
	return entry{}, false, nil // of a newer Tidegate
}

func (f *follower) sync(data []byte, now time.Time) error {
	var s struct{ Resumed bool }
	if err := json.Unmarshal(data, &s); err != nil {
		return err
	}
	var failed []error
	if c := f.c.cache; s.Resumed && c.view.Load() != nil {
		for _, one := range f.first {
			failed = append(failed, c.apply(one, now))
		}
	} else {
		to := newDraft(len(f.first))
		for _, one := range f.first {
			failed = append(failed, c.load(to, one))
		}
		if to.gates == nil {
			return errors.New("the stream of decisions brought no gates")
		}
		c.publish(to, now)
	}
	f.first, f.live = nil, true
	f.c.becameSynced(now)
	f.c.connected.next() // usage that waits is tried at once
	return errors.Join(failed...)
}
