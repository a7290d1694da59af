package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"time"

	"github.com/nats-io/nuid"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/history"
	"github.com/tidegate-io/tidegate/internal/misuse"
)

type sendCmd struct {
	File     string `arg:"" optional:"" help:"NDJSON or CSV file; - is standard input."`
	Format   string `help:"ndjson or csv (default: by the file's name)." enum:",ndjson,csv" default:""`
	Type     string `help:"One event: what was used."`
	Customer string `help:"One event: the customer." short:"c"`
	ID       string `name:"id" help:"One event: its id (default: a new one)."`
	Source   string `help:"Who reports." default:"tidegate-cli"`
	Time     string `help:"One event: when, RFC 3339 (default: now)."`
	Data     string `help:"One event: a JSON object."`
	Count    int    `help:"One event: so many, each with an id of its own." default:"1"`
}

// sendBatch is how many events one request carries.
const sendBatch = 1000

func (c *sendCmd) Run(e *env) error {
	a, err := connectAPI()
	if err != nil {
		return err
	}
	s := sender{env: e, api: a, path: "/v1/events"}
	if c.File == "" {
		err = c.one(&s)
	} else {
		err = c.file(e, &s)
	}
	if err == nil {
		err = s.flush()
	}
	if err != nil {
		return err
	}
	return e.report(&s.tally, "accepted")
}

func (c *sendCmd) one(s *sender) error {
	if c.Customer == "" || c.Type == "" {
		return misuse.Errorf("name a file, or give --type and --customer of one event")
	}
	for i := range c.Count {
		m := map[string]any{"type": c.Type, "subject": c.Customer, "source": c.Source, "id": c.ID}
		if c.ID == "" {
			m["id"] = nuid.Next()
		} else if c.Count > 1 {
			m["id"] = c.ID + "-" + strconv.Itoa(i+1)
		}
		if c.Time != "" {
			m["time"] = c.Time
		}
		if c.Data != "" {
			if !json.Valid([]byte(c.Data)) {
				return misuse.Errorf("--data is not JSON")
			}
			m["data"] = json.RawMessage(c.Data)
		}
		raw, err := json.Marshal(m)
		if err != nil {
			return err
		}
		if err := s.add(i+1, raw); err != nil {
			return err
		}
	}
	return nil
}

func (c *sendCmd) file(e *env, s *sender) error {
	in, err := e.terminal().Open(c.File, c.Format)
	if err != nil {
		return err
	}
	defer func() { _ = in.Close() }()
	ids := history.LineIDs{}
	names := history.Unmapped()
	return history.Read(in, in.Format, names.Columns, func(line int, rec *history.Record, err error) error {
		var ev events.Event
		var raw []byte
		if err == nil {
			ev, raw, err = names.Event(rec)
		}
		if err != nil {
			s.reject(line, err)
			return nil
		}
		if ev.ID == "" {
			ev.ID = ids.Next(raw)
		}
		if ev.Source == "" {
			ev.Source = c.Source
		}
		return s.add(line, ev.AppendJSON(nil))
	})
}

// sender posts events, or customers, in batches and repeats them, with their
// ids, while the stream cannot take them.
type sender struct {
	tally
	env   *env
	api   api
	path  string
	lines []int
	body  bytes.Buffer
	told  bool // that it waits
}

func (s *sender) add(line int, object []byte) error {
	s.lines = append(s.lines, line)
	s.body.Write(object)
	s.body.WriteByte('\n')
	if len(s.lines) < sendBatch && s.body.Len() < 4<<20 {
		return nil
	}
	return s.flush()
}

func (s *sender) flush() error {
	if len(s.lines) == 0 {
		return nil
	}
	var answer struct {
		Accepted int
		Rejected []rejected
	}
	for {
		err := s.api.do(s.env.ctx, http.MethodPost, s.path, "application/x-ndjson", s.body.Bytes(), &answer)
		var status *statusError
		if errors.As(err, &status) && (status.status == http.StatusServiceUnavailable || status.status == http.StatusTooManyRequests) {
			if !s.told {
				s.told = true
				_, _ = fmt.Fprintf(s.env.stderr, "waiting, and trying again: %v\n", err)
			}
			if pause(s.env.ctx, status.after) != nil {
				return fmt.Errorf("stopped at line %d, which was not taken: %w: run it again, what was sent counts once", s.lines[0], err)
			}
			continue
		}
		alone := len(s.lines) == 1 && s.Accepted+len(s.Rejected) == 0
		if errors.As(err, &status) && len(status.rejected) > 0 && !alone { // none was good
			answer.Rejected, err = status.rejected, nil
		}
		if err != nil {
			return err
		}
		break
	}
	s.Accepted += answer.Accepted
	for _, r := range answer.Rejected {
		s.reject(s.lines[r.Index], errors.New(r.Error))
	}
	s.lines = s.lines[:0]
	s.body.Reset()
	return nil
}

// pause waits for the seconds of a Retry-After.
func pause(ctx context.Context, after string) error {
	n, _ := strconv.Atoi(after)
	select {
	case <-ctx.Done():
		return ctx.Err()
	case <-time.After(time.Duration(max(n, 1)) * time.Second):
		return nil
	}
}
