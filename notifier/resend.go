package notifier

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"strings"
	"time"

	"github.com/resend/resend-go/v2"
)

// ResendSender sends through Resend's API, at the rate that Resend's answers allow.
// NewResendSender makes it.
type ResendSender struct {
	client   *resend.Client
	http     *http.Client
	throttle *throttle
}

// NewResendSender returns a sender with an API key. baseURL "" means Resend's own.
func NewResendSender(key, baseURL string) (*ResendSender, error) {
	t := newThrottle()
	h := &http.Client{Timeout: 30 * time.Second, Transport: &answers{next: newTransport(), throttle: t}}
	c := resend.NewCustomClient(h, strings.TrimSpace(key))
	if baseURL == "" {
		baseURL = "https://api.resend.com"
	}
	u, err := url.Parse(strings.TrimRight(baseURL, "/") + "/") // the client resolves paths against it
	if err != nil || u.Host == "" {
		return nil, errors.New("RESEND_BASE_URL is not a URL such as https://api.resend.com")
	}
	c.BaseURL = u
	return &ResendSender{client: c, http: h, throttle: t}, nil
}

// Close closes idle connections.
func (s *ResendSender) Close() { s.http.CloseIdleConnections() }

// Send implements Sender. It waits until the provider's rate allows the
// request.
func (s *ResendSender) Send(ctx context.Context, m Mail) (providerID string, err error) {
	if err := s.throttle.wait(ctx); err != nil {
		return "", &SendError{Class: Retry, Unsent: true, Err: err}
	}
	var answer *SendError
	connected := false
	ctx = httptrace.WithClientTrace(context.WithValue(ctx, answerKey{}, &answer),
		&httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { connected = true }})
	// Resend refuses other bytes with the same key.
	req, err := s.client.NewRequestWithOptions(ctx, http.MethodPost, "emails", json.RawMessage(m.Body),
		resend.SendEmailOptions{IdempotencyKey: m.Key})
	if err != nil {
		return "", &SendError{Class: Permanent, Err: err}
	}
	var out resend.SendEmailResponse
	if _, err := s.client.Perform(req, &out); err != nil {
		if answer != nil {
			answer.Err = err
			return "", answer
		}
		// There is no answer, or a 200 that cannot be read: the mail may be sent.
		return "", &SendError{Class: Retry, Unsent: !connected, Err: err}
	}
	if out.Id == "" {
		return "", &SendError{Class: Retry, Err: errors.New("the answer names no mail")}
	}
	return out.Id, nil
}

// answerKey is the key in a request's context of the pointer that RoundTrip sets to
// the error in the answer. The client hides its status and name.
type answerKey struct{}

// answers reads each answer before the client does.
type answers struct {
	next     *http.Transport
	throttle *throttle
}

func newTransport() *http.Transport {
	t := http.DefaultTransport.(*http.Transport).Clone() // with its proxy settings and time-outs
	t.MaxIdleConnsPerHost = 1                            // one request at a time
	return t
}

// CloseIdleConnections is called by http.Client's method of that name.
func (a *answers) CloseIdleConnections() { a.next.CloseIdleConnections() }

// maxErrorBody bounds how much of an error's body is read.
const maxErrorBody = 64 << 10

// RoundTrip implements http.RoundTripper.
func (a *answers) RoundTrip(req *http.Request) (*http.Response, error) {
	resp, err := a.next.RoundTrip(req)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	a.throttle.observe(resp.StatusCode, resp.Header, now)
	place, _ := req.Context().Value(answerKey{}).(**SendError)
	if resp.StatusCode < 300 || place == nil {
		return resp, nil
	}
	body, err := io.ReadAll(io.LimitReader(resp.Body, maxErrorBody))
	_ = resp.Body.Close()
	resp.Body = io.NopCloser(bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	var said struct {
		Name string `json:"name"`
	}
	_ = json.Unmarshal(body, &said) // a proxy's error page has no name
	*place = &SendError{Class: classify(resp.StatusCode, said.Name), Status: resp.StatusCode, Name: said.Name,
		After: retryAfterHeader(resp.Header, now)}
	return resp, nil
}
