package chaos

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidegate-io/tidegate/client"
	"github.com/tidegate-io/tidegate/events"
)

func jetStream(nc *nats.Conn) (jetstream.JetStream, error) { return jetstream.New(nc) }

func number(v events.Value) json.Number { return json.Number(v.String()) }

// senders send the load over all interfaces.
type senders struct {
	load   *load
	ledger *Ledger
	names  events.Names
	js     jetstream.JetStream // of the app's connection
	app    *client.Client
	bases  []string // of the HTTP APIs
	http   *http.Client

	mu       sync.Mutex
	recorded []Event // recorded by the client, which has to deliver them
	wrong    []string
}

const apiKey = "tgk_chaos"

// run sends over all interfaces until ctx ends. It finishes running requests.
func (s *senders) run(ctx context.Context, rng *rand.Rand) {
	var wg sync.WaitGroup
	for _, way := range []func([]Event, *rand.Rand){s.overHTTP, s.overHTTP, s.byClient, s.raw, s.raw} {
		own := rand.New(rand.NewPCG(rng.Uint64(), rng.Uint64()))
		wg.Go(func() {
			for pause(ctx, time.Duration(20+own.IntN(60))*time.Millisecond) {
				way(s.load.take(6), own)
			}
		})
	}
	wg.Wait()
}

func (s *senders) fail(format string, args ...any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.wrong = append(s.wrong, fmt.Sprintf(format, args...))
}

// overHTTP posts a batch.
func (s *senders) overHTTP(list []Event, rng *rand.Rand) {
	s.ledger.Send("HTTP", list...)
	elements := make([]map[string]any, len(list))
	for i := range list {
		elements[i] = list[i].usage()
	}
	body, _ := json.Marshal(elements) // plain values
	before := time.Now()
	status, answer, err := post(s.http, s.bases[rng.IntN(len(s.bases))]+"/v1/events", body)
	if err != nil || status == http.StatusServiceUnavailable {
		s.load.unknown(list)
		return
	}
	good, err := checkReceipt(list, status, answer, before, time.Now())
	if err != nil {
		s.fail("POST /v1/events of %d events: %v: %d %s", len(list), err, status, answer)
	}
	s.ledger.Accept(good...)
}

// checkReceipt returns the events that an answer acknowledges. It returns an error when
// the answer is wrong: exactly the events that are too old or too new must be refused.
func checkReceipt(list []Event, status int, answer []byte, from, to time.Time) (good []Event, err error) {
	var receipt struct {
		Accepted int
		Rejected []struct{ Index int }
	}
	if err := json.Unmarshal(answer, &receipt); err != nil {
		return nil, err
	}
	refused := map[int]bool{}
	for _, r := range receipt.Rejected {
		refused[r.Index] = true
	}
	for i := range list {
		first, last := Copy{At: from, Time: list[i].Time}, Copy{At: to, Time: list[i].Time}
		if refused[i] == first.valid() && refused[i] == last.valid() {
			err = fmt.Errorf("refused is %v of element %d", refused[i], i)
		}
		if !refused[i] {
			good = append(good, list[i])
		}
	}
	if want := http.StatusAccepted; len(good) != receipt.Accepted || status != want && (len(good) > 0 || status != http.StatusBadRequest) {
		return nil, errors.New("it says something else than its status")
	}
	return good, err
}

func post(c *http.Client, url string, body []byte) (status int, answer []byte, err error) {
	req, err := http.NewRequest(http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	return do(c, req)
}

func (s *senders) do(req *http.Request) (status int, answer []byte, err error) {
	return do(s.http, req)
}

func do(c *http.Client, req *http.Request) (status int, answer []byte, err error) {
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set("Authorization", "Bearer "+apiKey)
	resp, err := c.Do(req)
	if err != nil {
		return 0, nil, err
	}
	defer func() { _ = resp.Body.Close() }()
	answer, err = io.ReadAll(resp.Body)
	return resp.StatusCode, answer, err
}

// byClient records the events with the Go client.
func (s *senders) byClient(list []Event, _ *rand.Rand) {
	s.ledger.Send("client", list...)
	for _, e := range list {
		u := client.Usage{Customer: e.Customer, Event: e.Type, ID: e.ID, Source: Source, Time: e.Time, Properties: e.properties()}
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		err := s.app.Record(ctx, u)
		cancel()
		early := Copy{At: time.Now(), Time: e.Time}
		switch {
		case errors.Is(err, events.ErrInvalid) && e.Time.After(early.At) && !early.valid():
			continue
		case err != nil:
			s.fail("Record %s: %v", e.ID, err)
			continue
		}
		s.mu.Lock()
		s.recorded = append(s.recorded, e)
		s.mu.Unlock()
	}
}

// flush waits until the client has delivered all events.
func (s *senders) flush(ctx context.Context, within time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	if err := s.app.Flush(ctx); err != nil {
		return err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.ledger.Accept(s.recorded...)
	s.recorded = nil
	return nil
}

// raw publishes as an app without our client does.
func (s *senders) raw(list []Event, rng *rand.Rand) {
	for _, e := range list {
		s.ledger.Send("NATS", e)
		body, _ := json.Marshal(e.usage()) // plain values
		m := nats.NewMsg(s.names.UsageIn(e.Customer))
		m.Data = body
		if rng.IntN(2) == 0 {
			m.Header.Set(jetstream.MsgIDHeader, Source+"/"+e.ID)
		}
		ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
		_, err := s.js.PublishMsg(ctx, m)
		cancel()
		if err != nil {
			s.load.unknown([]Event{e})
			continue
		}
		s.ledger.Accept(e)
	}
}
