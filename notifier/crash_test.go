package notifier

import (
	"context"
	"log/slog"
	"net/http"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tidegate-io/tidegate/internal/records"
)

// steps runs a notifier without its goroutine, one round of sending at a time,
// so that it can be made to die anywhere.
type steps struct {
	*bench
	end context.CancelFunc
}

func newSteps(t *testing.T) *steps {
	b := newBench(t)
	b.halt()
	s := &steps{bench: b}
	s.begin()
	return s
}

// begin is another process, which knows what was committed.
func (s *steps) begin() {
	s.t.Helper()
	p, err := New(s.options)
	s.must(err)
	s.must(p.Restore(s.snapshot))
	for _, c := range s.committed {
		s.must(p.Apply(c))
	}
	p.ctx, s.end = context.WithCancel(context.Background())
	p.log = slog.New(slog.DiscardHandler)
	close(p.started)
	close(p.stopped) // there is no goroutine to wait for
	s.p = p
	p.resume(p.ctx)
}

func (s *steps) die() {
	s.end()
	s.store.mu.Lock()
	s.store.fail, s.store.lose = nil, nil
	s.store.mu.Unlock()
	s.begin()
}

func (s *steps) round(after time.Duration) {
	s.mu.Lock()
	s.now = s.now.Add(after)
	s.mu.Unlock()
	s.p.round(s.p.ctx)
}

// dieAt makes the n-th call of the store the last one of this process: it is
// not made, or it is made and nobody learns of it.
func (s *steps) dieAt(n int, made bool) {
	s.store.mu.Lock()
	defer s.store.mu.Unlock()
	dead := false
	s.store.fail = func(string) error {
		if n--; n == 0 && !made || dead {
			dead = true
			s.end()
			return errAway
		}
		return nil
	}
	s.store.lose = func(string) bool {
		dead = n <= 0 && made
		if dead {
			s.end()
		}
		return dead
	}
}

func (s *steps) check(t *rapid.T, key string) {
	n := s.notification(key)
	s.resend.mu.Lock()
	defer s.resend.mu.Unlock()
	if len(s.resend.inbox) > 1 {
		t.Fatalf("%d mails in the inbox; %s", len(s.resend.inbox), n.State)
	}
	for _, r := range s.resend.requests {
		if r != s.resend.requests[0] {
			t.Fatalf("the key %s came with two bodies", r.key)
		}
	}
	arrived := len(s.resend.inbox) == 1
	switch n.State {
	case records.MailSent:
		if !arrived {
			t.Fatal("sent, and not in the inbox")
		}
	case records.MailCancelled, records.MailFailed:
		if arrived {
			t.Fatalf("in the inbox, and %s: %s", n.State, n.Error)
		}
	}
}

// Whatever dies or is lost, whenever: one mail at most, and the document never
// says what is not so.
func TestCrashAnywhere(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		s := newSteps(t)
		defer func() { s.end(); s.sender.Close() }()
		s.address()
		key := s.reach("api")
		var held []chan struct{}
		for range rapid.IntRange(1, 8).Draw(rt, "steps") {
			pause := time.Duration(rapid.SampledFrom([]int{0, 30, 100, 3600, 12 * 3600, 25 * 3600}).Draw(rt, "seconds")) * time.Second
			switch what := rapid.SampledFrom([]string{"round", "die", "die at", "cut", "lost", "503", "429", "hold", "release", "paid"}).Draw(rt, "what"); what {
			case "round":
				s.round(pause)
			case "die":
				s.round(pause)
				s.die()
			case "die at":
				s.dieAt(rapid.IntRange(1, 6).Draw(rt, "call"), rapid.Bool().Draw(rt, "made"))
				s.round(pause)
				s.die()
			case "hold": // dies while the provider has the request
				arrived, resume := s.resend.hold()
				over := make(chan struct{})
				go func() { s.round(pause); close(over) }()
				select {
				case <-arrived:
					held = append(held, resume)
				case <-over: // nothing was to be sent
					s.resend.mu.Lock()
					s.resend.held = nil
					s.resend.mu.Unlock()
				}
				s.end()
				<-over
				s.die()
			case "release":
				for _, c := range held {
					close(c)
				}
				held = nil
			case "paid":
				s.allow("api")
			default:
				s.resend.mu.Lock()
				switch what {
				case "cut":
					s.resend.before = cut
				case "lost":
					s.resend.after = cut
				}
				s.resend.mu.Unlock()
				if what == "503" {
					s.resend.always(503, "")
				}
				if what == "429" {
					s.resend.always(429, "rate_limit_exceeded")
				}
				s.round(pause)
				s.resend.mu.Lock()
				s.resend.before, s.resend.after = nil, nil
				s.resend.mu.Unlock()
			}
			s.check(rt, key)
		}
		for _, c := range held {
			close(c)
		}
		for range 40 { // everything works again
			s.round(time.Hour)
			s.check(rt, key)
		}
		if n := s.notification(key); open(&n) {
			rt.Fatalf("%s in the end: %s", n.State, n.Error)
		}
	})
}

// The process dies while the provider is still busy with its request; the next
// one is told so, and asks again.
func TestRequestStillUnderWay(t *testing.T) {
	t.Parallel()
	s := newSteps(t)
	defer func() { s.end() }()
	s.address()
	key := s.reach("api")
	arrived, resume := s.resend.hold()
	over := make(chan struct{})
	go func() { s.round(0); close(over) }()
	<-arrived
	s.end()
	<-over
	s.die()
	s.round(2 * time.Minute)
	if n := s.notification(key); n.State != records.MailPending || n.Attempts != 2 || n.FirstTryAt == nil {
		n.Body = nil
		t.Errorf("document %+v", n)
	}
	<-s.resend.got // the refusal
	close(resume)
	<-s.resend.got
	s.round(10 * time.Minute)
	if n := s.notification(key); n.State != records.MailSent || n.ProviderID != "re_1" {
		n.Body = nil
		t.Errorf("document %+v", n)
	}
	if requests, mails := s.resend.counts(); requests != 3 || mails != 1 {
		t.Errorf("%d requests, %d mails", requests, mails)
	}
}

// While nobody answers there, it is sure that nothing has gone out.
func TestNobodyIsThere(t *testing.T) {
	t.Parallel()
	s := newSteps(t)
	defer func() { s.end() }()
	sender, err := NewResendSender("re_test", "http://127.0.0.1:1")
	s.must(err)
	defer sender.Close()
	s.options.Sender = sender
	s.die()
	s.address()
	key := s.reach("api")
	s.round(0)
	if n := s.notification(key); n.State != records.MailPending || n.Attempts != 1 || n.FirstTryAt != nil || n.Error == "" {
		n.Body = nil
		t.Errorf("document %+v", n)
	}
	s.allow("api")
	s.round(time.Hour)
	if n := s.notification(key); n.State != records.MailCancelled {
		t.Errorf("%s: %s", n.State, n.Error)
	}
}

// A provider that says when to come back is left alone until then, with all mail.
func TestRateLimitHoldsForAllMail(t *testing.T) {
	t.Parallel()
	s := newSteps(t)
	defer func() { s.end() }()
	s.address()
	s.resend.always(http.StatusTooManyRequests, "rate_limit_exceeded", "retry-after", "60")
	first, second := s.reach("api"), s.reach("exports")
	s.round(0)
	s.round(59 * time.Second)
	if requests, _ := s.resend.counts(); requests != 1 {
		t.Errorf("%d requests", requests)
	}
	s.resend.always(0, "")
	s.round(time.Second)
	for _, key := range []string{first, second} {
		if n := s.notification(key); n.State != records.MailSent {
			t.Errorf("%s: %s", n.State, n.Error)
		}
	}
}
