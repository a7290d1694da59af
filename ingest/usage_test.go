package ingest

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/events"
)

const (
	oneEvent = `{"specversion":"1.0","id":"1","source":"app","type":"api","subject":"acme","time":"2026-03-10T11:00:00Z","data":{"a":1}}`
	noID     = `{"type":"api","subject":"acme"}`
)

func eventOf(id, customer string) string {
	return fmt.Sprintf(`{"id":%q,"type":"api","subject":%q}`, id, customer)
}

func TestEventsAreTakenInEveryForm(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	for i, c := range []struct {
		contentType, body string
		accepted          int
	}{
		{"application/cloudevents+json", oneEvent, 1},
		{"application/cloudevents+json; charset=UTF-8", noID, 1},
		{"application/cloudevents-batch+json", "[" + oneEvent + "," + eventOf("2", "b") + "]", 2},
		{"application/json", " \n" + oneEvent + "\n", 1},
		{"application/json;charset=utf-8", " [ " + oneEvent + " , " + eventOf("2", `a "b] c}, \ é`) + " ] ", 2},
		{"application/x-ndjson", oneEvent + "\r\n\n" + eventOf("3", "c"), 2},
		{"", oneEvent, 1},
	} {
		before := len(b.usage())
		a := b.want(http.StatusAccepted, "POST", "/v1/events", c.body, "Content-Type: "+c.contentType).json(t)
		if a["accepted"] != float64(c.accepted) || len(a["rejected"].([]any)) != 0 {
			t.Errorf("%d: %v", i, a)
		}
		if got := len(b.usage()) - before; got != c.accepted {
			t.Errorf("%d: %d events stored, want %d", i, got, c.accepted)
		}
	}
}

func TestStoredEventIsWhatWasSent(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.want(http.StatusAccepted, "POST", "/v1/events", oneEvent)
	e := b.usage()[0]
	if e.ID != "1" || e.Source != "app" || e.Type != "api" || e.Subject != "acme" || string(e.Data) != `{"a":1}` || !e.Time.Equal(testNow.Add(-time.Hour)) {
		t.Errorf("%+v", e)
	}
}

func TestSingleEventGetsAnID(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	a := b.want(http.StatusAccepted, "POST", "/v1/events", noID).json(t)
	ids := a["ids"].([]any)
	if len(ids) != 1 || ids[0] != b.usage()[0].ID || ids[0] == "" {
		t.Errorf("%v, stored %+v", a, b.usage())
	}
	if a := b.want(http.StatusAccepted, "POST", "/v1/events", oneEvent).json(t); a["ids"] != nil {
		t.Errorf("an id was assigned: %v", a)
	}
}

func TestBadEventsOfABatchAreNamed(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	body := "[" + strings.Join([]string{
		eventOf("good", "a"), noID, `{"id":"x","type":"api"}`, `7`, ``, `{"id":"y","type":"tidegate.anchor","subject":"a"}`,
		`{"id":"late","type":"api","subject":"a","time":"2026-01-01T00:00:00Z"}`, `{"id":"early","type":"api","subject":"a","time":"2026-03-10T12:06:00Z"}`,
		`{"id":"z" "type":1}`, eventOf("good2", "b"),
	}, ",") + "]"
	a := b.want(http.StatusAccepted, "POST", "/v1/events", body)
	var r receipt
	ok(t, json.Unmarshal(a.body, &r))
	want := []rejection{{1, "", "`id` is missing"}, {2, "x", "`subject` is missing"}, {3, "", "a number"}, {4, "", "not JSON"}, {5, "y", "Tidegate's own"},
		{6, "late", "older than the horizon"}, {7, "early", "in the future"}, {8, "", "not JSON"}}
	if r.Accepted != 2 || len(r.Rejected) != len(want) {
		t.Fatalf("%s", a.body)
	}
	for i, w := range want {
		if g := r.Rejected[i]; g.Index != w.Index || g.ID != w.ID && w.ID != "" || !strings.Contains(g.Error, w.Error) {
			t.Errorf("rejection %d: %+v, want %+v", i, g, w)
		}
	}
	if len(b.usage()) != 2 {
		t.Errorf("stored %+v", b.usage())
	}
}

func TestRefusedBodies(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	many := "[" + strings.Repeat(eventOf("1", "a")+",", maxBatchEvents) + eventOf("1", "a") + "]"
	for _, c := range []struct {
		name, contentType, body string
		status                  int
		detail                  string
	}{
		{"empty", "", "", 400, "empty"},
		{"empty array", "", "[]", 400, "empty"},
		{"blank lines", "application/x-ndjson", "\n\n", 400, "empty"},
		{"none good", "", `[{"id":"1"},{"id":"2"}]`, 400, "none of 2"},
		{"single bad", "", `{"id":"1","type":"api"}`, 400, "`subject` is missing"},
		{"cut array", "", "[" + oneEvent, 400, "not closed"},
		{"cut string", "", `[{"id":"`, 400, "inside a string"},
		{"after the array", "", "[" + oneEvent + "] x", 400, "followed by"},
		{"object as batch", "application/cloudevents-batch+json", oneEvent, 400, "must be a JSON array"},
		{"array as one", "application/cloudevents+json", "[" + oneEvent + "]", 400, "not a JSON object but an array"},
		{"form", "application/x-www-form-urlencoded", oneEvent, 415, "not supported"},
		{"charset", "application/json; charset=latin1", oneEvent, 415, "charset"},
		{"too many", "", many, 413, "more than 10000"},
		{"too many lines", "application/x-ndjson", strings.Repeat(eventOf("1", "a")+"\n", maxBatchEvents+1), 413, "more than 10000"},
		{"too large", "", strings.Repeat(" ", maxBodyBytes) + oneEvent, 413, "8388608 bytes"},
		{"large event", "", `{"type":"api","subject":"a","data":{"x":"` + strings.Repeat("x", events.MaxEventBytes-60) + `"}}`, 400, "at most 65536"},
	} {
		a := b.want(c.status, "POST", "/v1/events", c.body, "Content-Type: "+c.contentType)
		if d := a.json(t)["detail"].(string); !strings.Contains(d, c.detail) {
			t.Errorf("%s: %s", c.name, d)
		}
	}
	if n := len(b.stored("USAGE")); n != 0 {
		t.Errorf("%d messages were stored", n)
	}
}

func zipped(t *testing.T, s string) string {
	t.Helper()
	var buf bytes.Buffer
	w := gzip.NewWriter(&buf)
	_, err := w.Write([]byte(s))
	ok(t, err)
	ok(t, w.Close())
	return buf.String()
}

func TestCompressedBodies(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.want(http.StatusAccepted, "POST", "/v1/events", zipped(t, oneEvent), "Content-Encoding: gzip")
	if len(b.usage()) != 1 {
		t.Error("the event is not there")
	}
	b.want(http.StatusRequestEntityTooLarge, "POST", "/v1/events", zipped(t, strings.Repeat(" ", maxBodyBytes+1)), "Content-Encoding: gzip")
	b.want(http.StatusBadRequest, "POST", "/v1/events", oneEvent, "Content-Encoding: gzip")
	b.want(http.StatusBadRequest, "POST", "/v1/events", zipped(t, oneEvent)[:20], "Content-Encoding: gzip")
	b.want(http.StatusUnsupportedMediaType, "POST", "/v1/events", oneEvent, "Content-Encoding: br")
}

func TestUnmeteredTypesAreNamed(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	body := "[" + eventOf("1", "a") + `,{"id":"2","type":"apo","subject":"a"},{"id":"3","type":"apo","subject":"a"},{"id":"4","type":"tokens","subject":"a"}]`
	if got := b.want(http.StatusAccepted, "POST", "/v1/events", body).json(t)["unmetered"]; fmt.Sprint(got) != "[apo]" {
		t.Errorf("unmetered %v", got)
	}
	if got := b.want(http.StatusAccepted, "POST", "/v1/events", oneEvent).json(t)["unmetered"]; got != nil {
		t.Errorf("unmetered %v", got)
	}
}

// A full stream refuses, and the answer says so.
func TestFullStreamIsUnavailable(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	s, err := b.js.Stream(t.Context(), "USAGE")
	ok(t, err)
	cfg := s.CachedInfo().Config
	cfg.MaxMsgs = 1
	_, err = b.js.UpdateStream(t.Context(), cfg)
	ok(t, err)
	b.want(http.StatusAccepted, "POST", "/v1/events", oneEvent)
	a := b.want(http.StatusServiceUnavailable, "POST", "/v1/events", oneEvent)
	if a.header.Get("Retry-After") == "" {
		t.Error("no Retry-After")
	}
}

func TestMissingStreamIsUnavailable(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	ok(t, b.js.DeleteStream(t.Context(), "USAGE"))
	b.want(http.StatusServiceUnavailable, "POST", "/v1/events", oneEvent)
}

func TestServerAwayAndBack(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	b.nats.Stop()
	b.want(http.StatusServiceUnavailable, "POST", "/v1/events", oneEvent)
	b.nats.Restart(t)
	for {
		if a := b.call("POST", "/v1/events", oneEvent); a.status == http.StatusAccepted {
			break
		}
	}
	if len(b.usage()) == 0 {
		t.Error("nothing is stored")
	}
}

// Large events that are accepted must be readable in their packed form.
func TestLargestEvents(t *testing.T) {
	t.Parallel()
	in := &intake{now: testNow}
	for size := events.MaxEventBytes - 600; size <= events.MaxEventBytes; size++ {
		frame := `{"type":"api","subject":"a","data":{"x":""}}`
		body := []byte(frame[:len(frame)-3] + strings.Repeat("x", size-len(frame)) + `"}}`)
		in.good = in.good[:0]
		ok(t, in.read(body, formOne))
		for i := range in.good {
			err := events.EachInBatch(events.AppendBatch(nil, &in.good[i]), func(_ int, _ events.Event, _ []byte, err error) { ok(t, err) })
			ok(t, err)
		}
	}
	if len(in.receipt.Rejected) == 0 || len(in.receipt.Rejected) > 100 {
		t.Errorf("%d rejected", len(in.receipt.Rejected))
	}
}

func FuzzBody(f *testing.F) {
	for _, s := range []string{oneEvent, noID, "[" + oneEvent + ",{}]", `["]`, `[{"a":"\"]"}]`, "[[[", "{\"a\":[}", "\xef\xbb\xbf[]", `[,]`, "\x00", `[1]]`} {
		for k := range 4 {
			f.Add([]byte(s), k)
		}
	}
	f.Fuzz(func(t *testing.T, body []byte, kind int) {
		in := &intake{now: testNow, horizon: time.Hour * 24 * 32}
		err := in.read(body, form(kind&3))
		if err != nil {
			if p := asProblem(err); p == nil || p.Status < 400 || p.Status >= 500 || p.Detail == "" {
				t.Fatalf("a refusal without a name: %v", err)
			}
			return
		}
		if len(in.good)+len(in.receipt.Rejected) == 0 {
			t.Fatal("neither taken nor refused")
		}
		last := -1
		for _, r := range in.receipt.Rejected {
			if r.Error == "" || r.Index <= last {
				t.Fatalf("rejection %+v after %d", r, last)
			}
			last = r.Index
		}
		for i := range in.good {
			e := &in.good[i]
			if e.ID == "" || e.Validate() != nil {
				t.Fatalf("accepted %+v", e)
			}
			err := events.EachInBatch(events.AppendBatch(nil, e), func(_ int, got events.Event, _ []byte, err error) {
				if err != nil || got.ID != e.ID || got.Subject != e.Subject || !got.Time.Equal(e.Time) {
					t.Fatalf("packed %+v: %+v, %v", e, got, err)
				}
			})
			if err != nil {
				t.Fatal(err)
			}
		}
	})
}

func BenchmarkRead100(b *testing.B) {
	var list []string
	for i := range 100 {
		list = append(list, fmt.Sprintf(`{"specversion":"1.0","id":"0190b3c2-%08d","source":"billing-api","type":"api","subject":"customer-%d","time":"2026-03-10T11:00:00Z","data":{"tokens":%d,"model":"large"}}`, i, i*37%1000, i))
	}
	body := []byte("[" + strings.Join(list, ",") + "]")
	b.SetBytes(int64(len(body)))
	b.ReportAllocs()
	for b.Loop() {
		in := intakes.Get().(*intake)
		in.now, in.horizon = testNow, 32*24*time.Hour
		if err := in.read(body, formEither); err != nil || len(in.good) != 100 {
			b.Fatal(err)
		}
		in.release()
	}
}

func BenchmarkHTTP100(b *testing.B) {
	of := Bounds{RequestsPerSecond: 1e9, EventsPerSecond: 1e9, AddressPerSecond: 1e9, NewCustomersPerHour: 1e9, NewTypesPerHour: 1e9}
	bench := newBench(b, func(o *Options) { o.Bounds = func() *Bounds { return &of } })
	url := "http://" + bench.behind(time.Minute)
	var list []string
	for i := range 100 {
		list = append(list, fmt.Sprintf(`{"specversion":"1.0","id":"0190b3c2-%08d","source":"billing-api","type":"api","subject":"customer-%d","time":"2026-03-10T11:00:00Z","data":{"tokens":%d,"model":"large"}}`, i, i*37%1000, i))
	}
	body := "[" + strings.Join(list, ",") + "]"
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
	b.Cleanup(client.CloseIdleConnections)
	b.SetParallelism(16)
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			res, err := client.Post(url+"/v1/events", "application/json", strings.NewReader(body))
			if err != nil {
				b.Fatal(err)
			}
			_, _ = io.Copy(io.Discard, res.Body)
			_ = res.Body.Close()
			if res.StatusCode != http.StatusAccepted {
				b.Fatal(res.Status)
			}
		}
	})
	b.ReportMetric(float64(b.N*100)/b.Elapsed().Seconds(), "events/s")
}
