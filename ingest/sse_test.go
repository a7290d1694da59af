package ingest

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/records"
	"github.com/tidegate-io/tidegate/internal/test/wait"
)

// sseEvent is one server-sent event.
type sseEvent struct{ id, name, data string }

type sseReader struct {
	t      *testing.T
	scan   *bufio.Scanner
	cancel func()
}

func (b *bench) stream(t *testing.T, lastID string) *sseReader {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	t.Cleanup(cancel)
	req, err := http.NewRequestWithContext(ctx, "GET", b.url+"/v1/decisions", nil)
	ok(t, err)
	if b.key != "" {
		req.Header.Set("Authorization", "Bearer "+b.key)
	}
	if lastID != "" {
		req.Header.Set("Last-Event-ID", lastID)
	}
	res, err := (&http.Client{Transport: &http.Transport{DisableKeepAlives: true}}).Do(req)
	ok(t, err)
	t.Cleanup(func() { res.Body.Close() })
	if res.StatusCode != 200 || res.Header.Get("Content-Type") != "text/event-stream" {
		t.Fatalf("%d %v", res.StatusCode, res.Header)
	}
	return &sseReader{t, bufio.NewScanner(res.Body), cancel}
}

// next returns the next event; name "" at the end of the stream.
func (r *sseReader) next() (e sseEvent) {
	for r.scan.Scan() {
		field, value, _ := strings.Cut(r.scan.Text(), ": ")
		switch field {
		case "id":
			e.id = value
		case "event":
			e.name = value
		case "data":
			e.data = value
		case "":
			if e.name != "" {
				return e
			}
		}
	}
	return sseEvent{}
}

func (r *sseReader) expect(name, part string) sseEvent {
	r.t.Helper()
	e := r.next()
	if e.name != name || !strings.Contains(e.data, part) {
		r.t.Fatalf("got %+v, want %s with %s", e, name, part)
	}
	return e
}

func (b *bench) put(kv jetstream.KeyValue, d events.Decision) {
	b.t.Helper()
	body, err := json.Marshal(d)
	ok(b.t, err)
	_, err = kv.Put(context.Background(), events.DecisionKey(d.Customer, d.Feature), body)
	ok(b.t, err)
}

func TestDecisionStream(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	kv, err := b.js.KeyValue(t.Context(), events.BucketDecisions)
	ok(t, err)
	empty := b.stream(t, "")
	empty.expect("gates", `"default_plan":"free"`)
	empty.expect("synced", "")

	b.put(kv, blocked("one", "api"))
	_, err = kv.Put(t.Context(), events.GatesKey, []byte(`{"default_plan":"starter"}`))
	ok(t, err)
	_, err = kv.Put(t.Context(), records.FenceKey(0), []byte("7"))
	ok(t, err)
	b.put(kv, blocked("two@x", "api"))
	empty.expect("decision", `"one"`)
	empty.expect("gates", "starter")
	empty.expect("decision", `"two@x"`)

	r := b.stream(t, "")
	r.expect("gates", "starter")
	first := r.expect("decision", `"one"`)
	last := r.expect("decision", `"two@x"`)
	r.expect("synced", `"resumed":false`)
	b.put(kv, blocked("three", "api"))
	r.expect("decision", `"three"`)

	for name, id := range map[string]string{"with its bucket": last.id, "bare revision": strings.Split(last.id, "-")[0]} {
		again := b.stream(t, id)
		again.expect("gates", "starter")
		if e := again.expect("decision", `"three"`); e.id == first.id {
			t.Errorf("%s: %+v", name, e)
		}
		again.expect("synced", `"resumed":true`)
	}
	for _, id := range []string{"9999999", "nonsense", "4-otherbucket", "0", "-1"} {
		anew := b.stream(t, id)
		anew.expect("gates", "starter")
		anew.expect("decision", `"one"`)
		anew.expect("decision", `"two@x"`)
		anew.expect("decision", `"three"`)
		anew.expect("synced", `"resumed":false`)
	}
	ok(t, kv.Delete(t.Context(), events.DecisionKey("two@x", "api")))
	r.expect("removed", `{"customer":"two@x","feature":"api"}`)
	b.srv.Close()
	if e := r.next(); e.name != "" {
		t.Errorf("after the close: %+v", e)
	}
}

func TestDecisionStreamEndsWithTheConnection(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	r := b.stream(t, "")
	r.expect("gates", "")
	r.expect("synced", "")
	b.nats.Stop()
	if e := r.next(); e.name != "" {
		t.Errorf("%+v", e)
	}
	b.nats.Restart(t)
}

// A stream ends with the key that it was opened with: when the key is taken away, and
// when it has ended.
func TestDecisionStreamEndsWithItsKey(t *testing.T) {
	t.Parallel()
	const other = "other:other-key-of-16-letters:read"
	for name, after := range map[string]string{
		"taken away": other,
		"ended":      "app:app-key-of-16-letters:read@2020-01-01," + other,
		"less":       "app:app-key-of-16-letters:events," + other,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var keys atomic.Pointer[Keys]
			set := func(list string) {
				ks, err := ParseKeys(list)
				ok(t, err)
				keys.Store(&ks)
			}
			set("app:app-key-of-16-letters:read," + other)
			b := newBench(t, func(o *Options) { o.Keys = func() Keys { return *keys.Load() } })
			b.key = "app-key-of-16-letters"
			r := b.stream(t, "")
			r.expect("gates", "")
			r.expect("synced", "")
			b.key = "other-key-of-16-letters"
			stays := b.stream(t, "")
			stays.expect("gates", "")
			stays.expect("synced", "")
			set(after)
			if e := r.next(); e.name != "" {
				t.Errorf("after the key was gone: %+v", e)
			}
			kv, err := b.js.KeyValue(t.Context(), events.BucketDecisions)
			ok(t, err)
			b.put(kv, events.Decision{Customer: "acme", Feature: "api"})
			stays.expect("decision", "acme")
		})
	}
}

// TestStuckReaderIsDropped: who takes nothing loses the stream, and its place.
func TestStuckReaderIsDropped(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.srv.stuck = 50 * time.Millisecond
	kv, err := b.js.KeyValue(t.Context(), events.BucketDecisions)
	ok(t, err)
	c, err := net.Dial("tcp", strings.TrimPrefix(b.url, "http://"))
	ok(t, err)
	defer c.Close()
	ok(t, c.(*net.TCPConn).SetReadBuffer(4096))
	_, err = io.WriteString(c, "GET /v1/decisions HTTP/1.1\r\nHost: localhost\r\n\r\n")
	ok(t, err)
	open := func() int64 { return b.srv.bounds.streams.Load() }
	wait.Until(t, "the stream", func() error {
		if open() != 1 {
			return errors.New("not there")
		}
		return nil
	})
	d := blocked("one", "api")
	d.Message = strings.Repeat("x", 100_000)
	wait.Until(t, "the end of the stream", func() error {
		b.put(kv, d)
		if open() != 0 {
			return errors.New("it goes on")
		}
		return nil
	})
}
