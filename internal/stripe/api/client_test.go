package api

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/tidegate-io/tidegate/internal/test/teststripe"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// account is a fake Stripe and a client for it.
func account(t *testing.T, change ...func(*Options)) (*teststripe.Server, *Client) {
	t.Helper()
	s := teststripe.New(t)
	o := Options{Key: s.Key, Base: s.URL, Timeout: time.Minute}
	for _, f := range change {
		f(&o)
	}
	c, err := New(o)
	if err != nil {
		t.Fatal(err)
	}
	return s, c
}

func TestOptions(t *testing.T) {
	t.Parallel()
	for _, o := range []Options{
		{}, {Key: "sk_test_1\n"}, {Key: "sk test"}, {Key: "sk_1", Base: "api.stripe.com"}, {Key: "sk_1", Base: "ftp://x"}, {Key: "sk_1", Base: "https://user:pw@x"},
	} {
		if _, err := New(o); err == nil || strings.Contains(err.Error(), "pw") || o.Key != "" && strings.Contains(err.Error(), o.Key) {
			t.Errorf("%+v: %v", o, err)
		}
	}
}

func TestFetch(t *testing.T) {
	t.Parallel()
	s, c := account(t)
	s.Price("price_1", "pro_monthly", "prod_1")
	customer := s.Customer("ada@acme.example", "tidegate_customer", "acme")
	sub, _ := s.Subscribe(customer, "price_1")
	for typ, id := range map[string]string{"subscription": sub, "customer": customer, "price": "price_1", "product": "prod_1", "invoice": "in_0001"} {
		o, err := c.Fetch(t.Context(), typ, id)
		if err != nil || o.ID != id || o.Type != typ || !bytes.Contains(o.JSON, []byte(`"`+id+`"`)) {
			t.Errorf("%+v, %v", o, err)
		}
		// The answer has the time of Stripe's clock; the request came earlier.
		if age := s.Now().Sub(o.At); age < 0 || age > time.Minute {
			t.Errorf("asked %s before Stripe's now", age)
		}
	}
	for _, r := range s.Requests("GET") {
		if r.Header.Get("Stripe-Version") != APIVersion || r.Header.Get("X-Stripe-Client-Telemetry") != "" {
			t.Errorf("headers %v", r.Header)
		}
	}
	s.Delete(customer)
	if o, err := c.Fetch(t.Context(), "customer", customer); err != nil || !bytes.Contains(o.JSON, []byte(`"deleted":true`)) {
		t.Errorf("%s, %v", o.JSON, err)
	}
	for _, of := range [][2]string{{"subscription", "sub_none"}, {"subscription", ""}, {"refund", "re_1"}, {"customer", "../subscriptions"}} {
		if _, err := c.Fetch(t.Context(), of[0], of[1]); !errors.Is(err, ErrMissing) {
			t.Errorf("%v: %v", of, err)
		}
	}
}

func TestLists(t *testing.T) {
	t.Parallel()
	s, c := account(t)
	s.Price("price_1", "pro_monthly", "prod_1")
	const n = 230
	for i := range n {
		id, _ := s.Subscribe(s.Customer(fmt.Sprint("u", i, "@acme.example")), "price_1")
		if i%3 == 0 {
			s.Cancel(id)
		}
	}
	for name, next := range map[string]func(after string) (Page, error){
		"subscriptions": func(after string) (Page, error) { return c.Subscriptions(t.Context(), after) },
		"customers":     func(after string) (Page, error) { return c.Customers(t.Context(), after) },
	} {
		seen := map[string]bool{}
		for after := ""; ; {
			p, err := next(after)
			if err != nil {
				t.Fatal(err)
			}
			for _, o := range p.Objects {
				after, seen[o.ID] = o.ID, true
			}
			if !p.More {
				break
			}
		}
		if len(seen) != n {
			t.Errorf("%d of %d %s", len(seen), n, name)
		}
	}
	s.Wait(time.Hour)
	since := s.Now()
	s.Cancel("sub_0002")
	p, err := c.Events(t.Context(), since, "")
	if err != nil || len(p.Objects) != 1 || p.More || p.Objects[0].Type != "event" {
		t.Errorf("%+v, %v", p, err)
	}
	if _, err := c.Subscriptions(t.Context(), "sub_none"); !errors.Is(err, ErrRequest) {
		t.Errorf("after one that is gone: %v", err)
	}
}

func TestPrice(t *testing.T) {
	t.Parallel()
	s, c := account(t)
	s.Price("price_1", "pro_monthly", "prod_1")
	s.Price("gold", "", "prod_2")
	for name, want := range map[string]string{"pro_monthly": "price_1", "price_1": "price_1", "gold": "gold"} {
		if id, err := c.Price(t.Context(), name); err != nil || id != want {
			t.Errorf("%s: %q, %v", name, id, err)
		}
	}
	if _, err := c.Price(t.Context(), "none"); !errors.Is(err, ErrMissing) {
		t.Error(err)
	}
}

func TestErrorsByClass(t *testing.T) {
	t.Parallel()
	s, c := account(t)
	for status, want := range map[int]error{
		401: ErrKey, 403: ErrDenied, 404: ErrMissing, 429: ErrLimited, 400: ErrRequest, 402: ErrRequest, 409: ErrAway, 500: ErrAway, 503: ErrAway,
	} {
		s.Fail(status)
		if err := c.Probe(t.Context()); !errors.Is(err, want) {
			t.Errorf("%d: %v", status, err)
		}
	}
	s.Down()
	if err := c.Probe(t.Context()); !errors.Is(err, ErrAway) {
		t.Errorf("without an answer: %v", err)
	}
	s.Recover()
	s.Hang()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- c.Probe(ctx) }()
	cancel()
	if err := <-done; !errors.Is(err, ErrAway) || !errors.Is(err, context.Canceled) {
		t.Errorf("interrupted: %v", err)
	}
	s.Recover()
	if err := c.Probe(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestRetries(t *testing.T) {
	t.Parallel()
	s, c := account(t, func(o *Options) { o.Retries = 2 })
	s.Fail(500, 503)
	if err := c.Probe(t.Context()); err != nil {
		t.Error(err)
	}
	s.Fail(500, 500, 500)
	if err := c.Probe(t.Context()); !errors.Is(err, ErrAway) {
		t.Error(err)
	}
}

func TestAnswersOfOtherServers(t *testing.T) {
	t.Parallel()
	for _, body := range []string{"", "<html>", "null", "[]", "{}", `{"id":7}`, `{"id":"sub_1"}`, `{"id":"sub_1","object":[]}`} {
		for _, status := range []int{200, 404, 502} {
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(status)
				_, _ = w.Write([]byte(body))
			}))
			c, err := New(Options{Key: "sk_test_1", Base: srv.URL})
			if err != nil {
				t.Fatal(err)
			}
			if o, err := c.Fetch(t.Context(), "subscription", "sub_1"); err == nil {
				t.Errorf("%d %q gives %+v", status, body, o)
			}
			if _, err := c.Portal(t.Context(), "cus_1", ""); err == nil {
				t.Errorf("%d %q gives a portal", status, body)
			}
			srv.Close()
		}
	}
}

func TestRedirectsAreNotFollowed(t *testing.T) {
	t.Parallel()
	s, _ := account(t)
	srv := httptest.NewServer(http.RedirectHandler(s.URL, http.StatusFound))
	defer srv.Close()
	c, err := New(Options{Key: s.Key, Base: srv.URL})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Probe(t.Context()); err == nil || len(s.Requests("")) > 0 {
		t.Errorf("the key went elsewhere: %v", err)
	}
}

// TestSecretsStayInside: Stripe and other servers repeat the request in their
// answers.
func TestSecretsStayInside(t *testing.T) {
	t.Parallel()
	const key = "sk_live_51SecretSecretSecret"
	echo := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		text := r.Header.Get("Authorization") + " rk_live_other123 whsec_abcdef ada@acme.example " + r.URL.String()
		if r.URL.Path == "/v1/customers/plain" {
			w.WriteHeader(502)
			_, _ = w.Write([]byte(text))
			return
		}
		w.WriteHeader(401)
		_, _ = fmt.Fprintf(w, `{"error":{"type":"invalid_request_error","code":"x","param":%q,"message":%q}}`, key, text)
	}))
	defer echo.Close()
	var logged bytes.Buffer
	before, stderr := slog.Default(), os.Stderr
	slog.SetDefault(slog.New(slog.NewTextHandler(&logged, &slog.HandlerOptions{Level: slog.LevelDebug})))
	read, write, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	os.Stderr = write
	t.Cleanup(func() { slog.SetDefault(before); os.Stderr = stderr })

	c, err := New(Options{Key: key, Base: echo.URL, Retries: 1})
	if err != nil {
		t.Fatal(err)
	}
	away, err := New(Options{Key: key, Base: "http://127.0.0.1:1"})
	if err != nil {
		t.Fatal(err)
	}
	said := ""
	for _, id := range []string{"cus_1", "plain"} {
		_, err := c.Fetch(t.Context(), "customer", id)
		said += fmt.Sprintf("%v %+v %#v\n", err, err, err)
	}
	_, err = away.Checkout(t.Context(), Checkout{Customer: "acme", Email: "ada@acme.example", SuccessURL: "https://x"}, time.Now())
	said += fmt.Sprintf("%v %+v %#v\n", err, err, err)
	_ = write.Close()
	if _, err := logged.ReadFrom(read); err != nil {
		t.Fatal(err)
	}
	for _, secret := range []string{key, "SecretSecret", "other123", "abcdef", "ada@"} {
		if strings.Contains(said+logged.String(), secret) {
			t.Errorf("%q is in %s%s", secret, said, logged.String())
		}
	}
	if !strings.Contains(said, "401") || !strings.Contains(said, "127.0.0.1:1") {
		t.Errorf("nothing is left: %s", said)
	}
	if strings.Contains(fmt.Sprintf("%v %+v %#v", c, c, c), key) {
		t.Error("a client that is printed shows its key")
	}
}
