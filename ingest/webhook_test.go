package ingest

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math"
	"net"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/internal/httpserver"
	"github.com/tidegate-io/tidegate/internal/stripe/fold"
)

// real verifies as the wiring does.
func real(secrets []string, mode fold.Mode) func(*Options) {
	return func(o *Options) {
		o.Verify = func(payload []byte, header string) (string, string, error) {
			e, err := fold.Verify(payload, header, secrets, testNow)
			if err == nil {
				err = e.CheckMode(mode)
			}
			return e.ID, e.Type, err
		}
	}
}

func TestStripeWebhooksThatAreRefused(t *testing.T) {
	t.Parallel()
	b := newBench(t, real([]string{"whsec_old", "whsec_new"}, fold.ModeLive))
	const live = `{"id":"evt_1","type":"invoice.paid","livemode":true}`
	const test = `{"id":"evt_2","type":"invoice.paid","livemode":false}`
	sign := func(body, secret string, at time.Time) string {
		return "Stripe-Signature: " + fold.Sign([]byte(body), secret, at)
	}
	for name, c := range map[string]struct{ body, header, says string }{
		"no signature":    {live, "X: y", "signature"},
		"garbage":         {live, "Stripe-Signature: t=now,v1=x", "signature"},
		"another secret":  {live, sign(live, "whsec_other", testNow), "signature"},
		"another body":    {live + " ", sign(live, "whsec_new", testNow), "signature"},
		"too old":         {live, sign(live, "whsec_new", testNow.Add(-time.Hour)), "clock"},
		"from the future": {live, sign(live, "whsec_new", testNow.Add(time.Hour)), "clock"},
		"not an object":   {"[]", sign("[]", "whsec_new", testNow), "payload"},
		"another mode":    {test, sign(test, "whsec_new", testNow), "test mode"},
	} {
		t.Run(name, func(t *testing.T) {
			a := b.want(400, "POST", "/webhooks/stripe", c.body, c.header)
			if detail := fmt.Sprint(a.json(t)["detail"]); !strings.Contains(detail, c.says) {
				t.Errorf("detail %q does not speak of %q", detail, c.says)
			}
		})
	}
	if m := b.stored("BILLING"); len(m) != 0 {
		t.Fatalf("stored: %+v", m)
	}
	for _, secret := range []string{"whsec_old", "whsec_new"} {
		b.want(200, "POST", "/webhooks/stripe", live, sign(live, secret, testNow))
	}
	if m := b.stored("BILLING"); len(m) != 1 {
		t.Fatalf("stored: %+v", m)
	}
}

// lines is a log that may be written by many.
type lines struct {
	mu sync.Mutex
	bytes.Buffer
}

func (l *lines) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.Buffer.Write(p)
}

func TestSecretsStaySecret(t *testing.T) {
	t.Parallel()
	secrets := []string{"whsec_0123456789", "whsec_abcdefghij"}
	var log lines
	b := newBench(t, real(secrets, fold.ModeLive), func(o *Options) {
		o.Log = slog.New(slog.NewJSONHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug}))
	})
	var said strings.Builder
	for _, body := range []string{`{}`, `null`, `[`, `{"id":"evt_1","livemode":false}`, `{"id":"evt_1","livemode":true}`} {
		for _, header := range []string{"", "t=1,v1=00", secrets[0], fold.Sign([]byte(body), secrets[1], testNow), fold.Sign([]byte(body), secrets[1], testNow.Add(time.Hour))} {
			b.srv.refusals.next.Store(0) // every one is logged
			said.Write(b.call("POST", "/webhooks/stripe", body, "Stripe-Signature: "+header).body)
		}
	}
	ok(t, b.js.DeleteStream(t.Context(), "BILLING"))
	body := []byte(`{"id":"evt_2"}`)
	said.Write(b.want(503, "POST", "/webhooks/stripe", string(body), "Stripe-Signature: "+fold.Sign(body, secrets[0], testNow)).body)
	said.Write(b.call("GET", "/metrics", "").body)
	log.mu.Lock()
	said.WriteString(log.String())
	log.mu.Unlock()
	if !strings.Contains(said.String(), "webhooks were refused") {
		t.Error("the log does not tell of refused webhooks")
	}
	for _, secret := range secrets {
		if i := strings.Index(said.String(), strings.TrimPrefix(secret, "whsec_")); i >= 0 {
			t.Errorf("a secret shows: …%s…", said.String()[max(0, i-100):i])
		}
	}
}

func TestWebhookFloodIsBounded(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	in, out := make(chan struct{}), make(chan struct{})
	h := b.srv.bounded(func(http.ResponseWriter, *http.Request) error {
		in <- struct{}{}
		<-out
		return nil
	})
	call := func(ctx context.Context) error {
		return h(httptest.NewRecorder(), httptest.NewRequestWithContext(ctx, http.MethodPost, "/webhooks/stripe", nil))
	}
	var wg sync.WaitGroup
	for range maxWebhooks {
		wg.Go(func() {
			if err := call(t.Context()); err != nil {
				t.Error(err)
			}
		})
		<-in
	}
	gone, cancel := context.WithCancel(t.Context())
	cancel()
	var p *problem
	if err := call(gone); !errors.As(err, &p) || p.Status != http.StatusServiceUnavailable || p.Retry == 0 {
		t.Errorf("one too many: %v", err)
	}
	wg.Go(func() { // has its turn when another leaves
		if err := call(t.Context()); err != nil {
			t.Error(err)
		}
	})
	out <- struct{}{}
	<-in
	close(out)
	wg.Wait()
}

// behind serves the bench's API as the program does, with that time for the bodies of
// strangers, and returns the address.
func (b *bench) behind(body time.Duration) string {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	ok(b.t, err)
	hs := httpserver.New(l, httpserver.Options{Handler: b.srv.Handler(), Log: slog.New(slog.DiscardHandler), Timeouts: httpserver.Timeouts{Body: body}})
	done := make(chan error, 1)
	go func() { done <- hs.Serve() }()
	b.t.Cleanup(func() { ok(b.t, hs.Shutdown(context.Background())); ok(b.t, <-done) })
	return l.Addr().String()
}

// TestSlowWebhookLosesItsTurn, while a caller with a key may take longer.
func TestSlowWebhookLosesItsTurn(t *testing.T) {
	t.Parallel()
	keys, err := ParseKeys("all")
	ok(t, err)
	b := newBench(t, real([]string{"whsec"}, ""), func(o *Options) { o.Keys = func() Keys { return keys } })
	addr := b.behind(10 * time.Millisecond)
	half := func(head string) (net.Conn, *bufio.Reader) {
		c, err := net.Dial("tcp", addr)
		ok(t, err)
		t.Cleanup(func() { c.Close() })
		_, err = fmt.Fprintf(c, "%s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer all\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s", head, len(oneEvent), oneEvent[:5])
		ok(t, err)
		return c, bufio.NewReader(c)
	}
	c, events := half("POST /v1/events")
	for range 3 { // each takes 10 ms
		_, webhook := half("POST /webhooks/stripe")
		res, err := http.ReadResponse(webhook, nil)
		ok(t, err)
		_ = res.Body.Close()
		if res.StatusCode != http.StatusRequestTimeout {
			t.Errorf("a webhook: %d", res.StatusCode)
		}
	}
	_, err = io.WriteString(c, oneEvent[5:])
	ok(t, err)
	res, err := http.ReadResponse(events, nil)
	ok(t, err)
	_ = res.Body.Close()
	if res.StatusCode != http.StatusAccepted {
		t.Errorf("an event: %d", res.StatusCode)
	}
}

// BenchmarkStripeWebhook posts webhooks one after another and sixteen at a time;
// raw is a synchronous publish of the same bytes.
func BenchmarkStripeWebhook(b *testing.B) {
	bench := newBench(b, real([]string{"whsec"}, ""))
	var made atomic.Int64
	body := func() []byte {
		return fmt.Appendf(nil, `{"id":"evt_%d","type":"invoice.paid","pad":"%s"}`, made.Add(1), strings.Repeat("x", 4000))
	}
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 64}}
	defer client.CloseIdleConnections()
	post := func() error {
		payload := body()
		req, err := http.NewRequest(http.MethodPost, bench.url+"/webhooks/stripe", bytes.NewReader(payload))
		if err != nil {
			return err
		}
		req.Header.Set("Stripe-Signature", fold.Sign(payload, "whsec", testNow))
		res, err := client.Do(req)
		if err != nil {
			return err
		}
		defer res.Body.Close()
		if res.StatusCode != http.StatusOK {
			return errors.New(res.Status)
		}
		return nil
	}
	raw := func() error {
		_, err := bench.js.Publish(context.Background(), "billing.raw", body())
		return err
	}
	for _, c := range []struct {
		name string
		wide int
		do   func() error
	}{{"raw", 1, raw}, {"one", 1, post}, {"raw16", 16, raw}, {"sixteen", 16, post}} {
		b.Run(c.name, func(b *testing.B) {
			took := make([]time.Duration, b.N)
			var wg sync.WaitGroup
			b.ResetTimer()
			for lane := range c.wide {
				wg.Go(func() {
					for i := lane; i < b.N; i += c.wide {
						begin := time.Now()
						if err := c.do(); err != nil {
							b.Error(err)
							return
						}
						took[i] = time.Since(begin)
					}
				})
			}
			wg.Wait()
			b.StopTimer()
			slices.Sort(took)
			at := func(q float64) float64 {
				return took[min(len(took)-1, int(math.Ceil(q*float64(len(took)))))].Seconds() * 1e3
			}
			b.ReportMetric(at(.5), "p50-ms")
			b.ReportMetric(at(.99), "p99-ms")
		})
	}
}
