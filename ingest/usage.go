package ingest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/tidegate-io/tidegate/events"
)

// waitForStream bounds how long a request waits until its events are stored.
const waitForStream = 10 * time.Second

// rejection names an element of a batch that was not taken.
type rejection struct {
	Index int    `json:"index"`
	ID    string `json:"id,omitempty"`
	Error string `json:"error"`
}

// receipt is the answer to a batch.
type receipt struct {
	Accepted  int         `json:"accepted"`
	Rejected  []rejection `json:"rejected"`
	IDs       []string    `json:"ids,omitempty"`
	Unmetered []string    `json:"unmetered,omitempty"`
}

// intake reads one body of events.
type intake struct {
	now     time.Time
	horizon time.Duration
	good    []events.Event
	receipt receipt
}

var intakes = sync.Pool{New: func() any { return &intake{receipt: receipt{Rejected: []rejection{}}} }}

func (s *Server) postEvents(w http.ResponseWriter, r *http.Request) error {
	start := time.Now() // a duration, not a moment: not the server's Now
	u := s.bounds.key(callerOf(r).Name)
	sent, err := s.boundEvents(u)
	if err != nil {
		return err
	}
	form, err := formOf(r.Header.Get("Content-Type"))
	if err != nil {
		return err
	}
	body, free, err := readBody(w, r, maxBodyBytes)
	if err != nil {
		return err
	}
	defer free()
	in := intakes.Get().(*intake)
	defer in.release()
	in.now, in.horizon = s.Now(), s.Horizon
	if err := in.read(body, form); err != nil {
		return err
	}
	sent(len(in.good) + len(in.receipt.Rejected))
	s.counters.rejected.Add(len(in.receipt.Rejected))
	if len(in.good) == 0 {
		return noneGood(in.receipt.Rejected, "event")
	}
	catalog := s.Catalog()
	over := s.admit(r.Context(), u, catalog, in)
	if len(in.good) > 0 {
		if err := s.store(r.Context(), in.good); err != nil {
			return err
		}
	}
	s.counters.accepted.Add(len(in.good))
	s.counters.seconds.UpdateDuration(start)
	if over != nil {
		return over
	}
	in.receipt.Accepted = len(in.good)
	metered := meteredTypes{of: catalog}
	in.receipt.Unmetered = metered.unmetered(in.good)
	return writeJSON(w, http.StatusAccepted, &in.receipt)
}

// store publishes usage and waits until it is stored.
func (s *Server) store(ctx context.Context, list []events.Event) error {
	if err := s.uncounted.refuse(list, s.bounds.of().RefuseUncounted); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, waitForStream)
	defer cancel()
	err := s.publisher.Publish(ctx, list, events.BatchToken)
	if errors.Is(err, context.DeadlineExceeded) {
		return fmt.Errorf("%w: not acknowledged in %s", ErrUnavailable, waitForStream)
	}
	return err
}

// read reads the events of the body. An error refuses all of them.
func (in *intake) read(body []byte, f form) error {
	seen := 0
	err := split(body, f, func(element []byte, batch bool) bool {
		if seen++; seen > maxBatchEvents {
			return false
		}
		e, err := events.Decode(element)
		if err == nil {
			err = in.validate(&e, len(element), batch)
		}
		if err != nil {
			in.reject(seen-1, e.ID, err)
			return true
		}
		in.good = append(in.good, e)
		return true
	})
	switch {
	case err != nil:
		return err
	case seen > maxBatchEvents:
		return &problem{Status: http.StatusRequestEntityTooLarge, Detail: fmt.Sprintf("more than %d events: send them in parts", maxBatchEvents)}
	case seen == 0:
		return badRequest("the batch is empty")
	}
	return nil
}

var errNoID = fmt.Errorf("%w: `id` is missing: in a batch every event needs one, so that a retry is not counted twice", events.ErrInvalid)

// validate returns why an event may not be published. It gives an id to a single
// event that has none.
func (in *intake) validate(e *events.Event, size int, batch bool) error {
	if err := e.Validate(); err != nil {
		return err
	}
	if !e.Time.IsZero() {
		if err := events.CheckTime(e.Time, in.now, in.horizon); err != nil {
			return err
		}
	}
	if e.ID == "" {
		if batch {
			return errNoID
		}
		e.ID = rand.Text()
		in.receipt.IDs = append(in.receipt.IDs, e.ID)
	}
	// The packed form must fit, too, without the four bytes of its frame; only
	// the largest events can miss that.
	if size > events.MaxEventBytes-512 && len(events.AppendBatch(nil, e)) > events.MaxEventBytes+4 {
		return fmt.Errorf("%w: the event is too large: at most %d bytes are allowed", events.ErrInvalid, events.MaxEventBytes)
	}
	return nil
}

func (in *intake) reject(index int, id string, err error) {
	in.receipt.Rejected = append(in.receipt.Rejected, rejection{Index: index, ID: strings.Clone(id), Error: reasonOf(err)})
}

// reasonOf returns an error without the words that the answer says anyway.
func reasonOf(err error) string {
	return strings.TrimPrefix(err.Error(), events.ErrInvalid.Error()+": ")
}

func (in *intake) release() {
	clear(in.good)
	clear(in.receipt.Rejected)
	*in = intake{good: in.good[:0], receipt: receipt{Rejected: in.receipt.Rejected[:0], IDs: in.receipt.IDs[:0]}}
	intakes.Put(in)
}

// noneGood returns the answer to a body without any valid element.
func noneGood(rejected []rejection, what string) error {
	detail := fmt.Sprintf("none of %d %ss is valid; the first: %s", len(rejected), what, rejected[0].Error)
	if len(rejected) == 1 {
		detail = rejected[0].Error
	}
	return &problem{Status: http.StatusBadRequest, Detail: detail, More: map[string]any{"accepted": 0, "rejected": slices.Clone(rejected)}}
}
