package chaos

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/stream"
)

const (
	// growth is by how many bytes USAGE may still grow when its limit is set, because
	// its exact size is not known then.
	growth = 64 << 10
	// fullTime is the time-out for effects while USAGE is full. Other faults may happen
	// meanwhile.
	fullTime = 60 * time.Second
)

// padding is the type of events that only fill the stream. No gate meters it.
const padding = "padding"

// fillUsage sets a size limit for USAGE and fills it. While it is full, Tidegate must
// refuse usage, and count and commit all usage that was stored before.
func (j *injector) fillUsage(ctx context.Context, f Fault) error {
	ctx, cancel := context.WithTimeout(ctx, 2*fullTime)
	defer cancel()
	err := j.limitUsage(ctx, func(size uint64) int64 { return int64(size) + growth })
	if err == nil {
		err = j.whileFull(ctx)
	}
	pause(ctx, f.Length)
	again, done := context.WithTimeout(context.WithoutCancel(ctx), fullTime)
	defer done()
	return errors.Join(err, j.limitUsage(again, func(uint64) int64 { return -1 }))
}

func (j *injector) limitUsage(ctx context.Context, limit func(size uint64) int64) error {
	return eventually(ctx, "limit of USAGE", func() error {
		ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
		defer cancel()
		s, err := j.js.Stream(ctx, j.names.Stream(events.StreamUsage))
		if err != nil {
			return err
		}
		cfg := s.CachedInfo().Config
		cfg.MaxBytes = limit(s.CachedInfo().State.Bytes)
		_, err = j.js.UpdateStream(ctx, cfg)
		return err
	})
}

func (j *injector) whileFull(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, fullTime)
	defer cancel()
	if err := eventually(ctx, "USAGE is full", func() error { return j.pad(ctx) }); err != nil {
		return err
	}
	if err := eventually(ctx, "a full USAGE refuses over HTTP", j.refused); err != nil {
		return err
	}
	for p := range partitions {
		if err := eventually(ctx, fmt.Sprintf("commits of partition %d while USAGE is full", p), func() error { return j.committed(ctx, p) }); err != nil {
			return err
		}
	}
	return nil
}

// pad returns nil when USAGE refuses a message because it is full.
func (j *injector) pad(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	e := j.padding()
	j.s.ledger.Send("NATS", e)
	body, _ := json.Marshal(e.usage()) // plain values
	_, err := j.js.Publish(ctx, j.names.UsageIn(e.Customer), body, jetstream.WithRetryAttempts(0))
	if err == nil {
		j.s.ledger.Accept(e)
		return errors.New("it still takes usage")
	}
	var api *jetstream.APIError
	if errors.As(err, &api) && strings.Contains(api.Description, "maximum bytes") {
		return nil
	}
	return err
}

// padding events are larger than others, so that others may still fit when padding
// does not.
func (j *injector) padding() Event {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.padded++
	return Event{ID: fmt.Sprintf("p-%d", j.padded), Customer: fmt.Sprintf("padding-%d", j.padded%8), Type: padding, Member: strings.Repeat("x", 6<<10)}
}

// refused returns nil when a process answers that the stream accepts nothing now.
func (j *injector) refused() error {
	e := j.padding()
	j.s.ledger.Send("HTTP", e)
	body, _ := json.Marshal([]any{e.usage()}) // plain values
	base := j.s.bases[int(time.Now().UnixNano())%len(j.s.bases)]
	status, answer, err := post(j.s.http, base+"/v1/events", body)
	switch {
	case err == nil && status == http.StatusAccepted:
		j.s.ledger.Accept(e)
		fallthrough
	case err == nil && status != http.StatusServiceUnavailable:
		return fmt.Errorf("%d %s", status, answer)
	case err == nil && !strings.Contains(string(answer), "the stream cannot take it now"): // the process is only starting
		return fmt.Errorf("%s", answer)
	}
	return err
}

// committed returns nil when all messages of USAGE are committed.
func (j *injector) committed(ctx context.Context, partition int) error {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	in := stream.Input{Stream: events.StreamUsage, Filters: []string{j.names.Usage(partition, ">")}}
	newest, err := stream.Newest(ctx, j.js, j.names, in)
	if err != nil {
		return err
	}
	at, err := stream.Committed(ctx, j.js, j.names, stream.RoleAggregator, partition)
	if err != nil || newest == 0 || len(at) > 0 && at[0].Seq >= newest {
		return err
	}
	return fmt.Errorf("%v of %d", at, newest)
}
