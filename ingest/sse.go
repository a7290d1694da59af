package ingest

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/records"
)

// Times of a stream of decisions.
const (
	heartbeat    = 15 * time.Second
	writeTimeout = 30 * time.Second // for a client that does not read
	checkKey     = 2 * time.Second  // whether the key of a stream is still accepted
)

// sse writes server-sent events.
type sse struct {
	w     http.ResponseWriter
	ctl   *http.ResponseController
	stuck time.Duration // in which a client must take what is written
}

func (e *sse) send(id, name string, data []byte) error {
	var b strings.Builder
	if id != "" {
		b.WriteString("id: " + id + "\n")
	}
	b.WriteString("event: " + name + "\ndata: ")
	b.Write(data) // JSON that was marshalled has no line breaks
	b.WriteString("\n\n")
	return e.raw(b.String())
}

func (e *sse) raw(text string) error {
	_ = e.ctl.SetWriteDeadline(time.Now().Add(e.stuck)) // not every writer has one
	_, err := e.w.Write([]byte(text))
	return err
}

// bucket is the decisions bucket as a stream of revisions. The id of an event names
// its revision and its bucket, as a bucket that was made anew counts from 1 again.
type bucket struct {
	kv      jetstream.KeyValue
	made    string
	last    uint64
	resumed uint64 // 0: from the start
	gates   uint64 // revision of the gates that were sent first
}

func (b *bucket) id(revision uint64) string { return strconv.FormatUint(revision, 10) + "-" + b.made }

// resume takes the id of the last event that the client saw. It ignores an id of
// another bucket, and one that the bucket does not remember.
func (b *bucket) resume(id string, first uint64) {
	number, made, tagged := strings.Cut(id, "-")
	n, err := strconv.ParseUint(number, 10, 64)
	if err != nil || n == 0 || tagged && made != b.made || n > b.last || n+1 < first {
		return
	}
	b.resumed = n
}

func (s *Server) openBucket(ctx context.Context, lastID string) (*bucket, error) {
	ctx, cancel := context.WithTimeout(ctx, publishTimeout)
	defer cancel()
	kv, err := s.JS.KeyValue(ctx, s.Names.Bucket(events.BucketDecisions))
	if err != nil {
		return nil, fmt.Errorf("%w: decisions: %v", ErrUnavailable, err)
	}
	status, err := kv.Status(ctx)
	if err != nil {
		return nil, fmt.Errorf("%w: decisions: %v", ErrUnavailable, err)
	}
	b := &bucket{kv: kv}
	first := uint64(0)
	if st, ok := status.(*jetstream.KeyValueBucketStatus); ok {
		info := st.StreamInfo()
		b.made = strconv.FormatInt(info.Created.UnixNano(), 36)
		b.last, first = info.State.LastSeq, info.State.FirstSeq
	}
	b.resume(lastID, first)
	return b, nil
}

func (s *Server) decisions(w http.ResponseWriter, r *http.Request) error {
	giveBack, err := s.boundStream(s.bounds.key(callerOf(r).Name))
	if err != nil {
		return err
	}
	defer giveBack()
	// A watcher from before a reconnect may be silent for many seconds. So the
	// stream ends, and the client resumes.
	lost := s.NC.StatusChanged(nats.DISCONNECTED, nats.RECONNECTING, nats.CLOSED)
	defer s.NC.RemoveStatusListener(lost)
	b, err := s.openBucket(r.Context(), r.Header.Get("Last-Event-ID"))
	if err != nil {
		return err
	}
	var opts []jetstream.WatchOpt
	if b.resumed > 0 {
		opts = append(opts, jetstream.ResumeFromRevision(b.resumed+1))
	}
	ctx, cancel := context.WithCancel(r.Context())
	defer cancel()
	watcher, err := b.kv.WatchAll(ctx, opts...)
	if err != nil {
		return fmt.Errorf("%w: decisions: %v", ErrUnavailable, err)
	}
	defer func() { _ = watcher.Stop() }()
	s.counters.streams.Inc()
	h := w.Header()
	h.Set("Content-Type", "text/event-stream")
	h.Set("X-Accel-Buffering", "no") // nginx would hold events back
	w.WriteHeader(http.StatusOK)
	if r.Method == http.MethodHead {
		return nil
	}
	out := &sse{w: w, ctl: http.NewResponseController(w), stuck: s.stuck}
	_ = out.ctl.SetReadDeadline(time.Time{}) // one of a body would end the stream
	_ = s.follow(r, out, b, watcher, lost)   // the client is gone, or will come again
	return nil
}

// follow writes the gates, all values of the bucket, and then every change, until
// the client, its key, the server or the connection to NATS goes away.
func (s *Server) follow(r *http.Request, out *sse, b *bucket, watcher jetstream.KeyWatcher, lost <-chan nats.Status) error {
	ctx, who := r.Context(), callerOf(r)
	gates, err := s.firstGates(ctx, b)
	if err != nil {
		return err
	}
	if err := out.raw("retry: 1000\n\n"); err != nil {
		return err
	}
	// Without an id: it stands before all revisions.
	if err := out.send("", "gates", gates); err != nil {
		return err
	}
	beat := time.NewTicker(heartbeat)
	defer beat.Stop()
	check := time.NewTicker(checkKey)
	defer check.Stop()
	for {
		select {
		case entry, ok := <-watcher.Updates():
			if !ok {
				return nil
			}
			if err := out.entry(b, entry); err != nil {
				return err
			}
			if entry != nil && len(watcher.Updates()) > 0 {
				continue // more is there: flush once
			}
		case <-beat.C:
			if err := out.raw(": still here\n\n"); err != nil {
				return err
			}
		case <-check.C:
			if !s.still(who, ScopeRead) {
				return nil
			}
			continue
		case <-ctx.Done():
			return ctx.Err()
		case <-s.closed:
			return nil
		case <-lost:
			return nil
		}
		if err := out.ctl.Flush(); err != nil {
			return err
		}
	}
}

// firstGates reads the gates that a client must know before any decision.
func (s *Server) firstGates(ctx context.Context, b *bucket) ([]byte, error) {
	entry, err := b.kv.Get(ctx, events.GatesKey)
	if err == nil {
		b.gates = entry.Revision()
		return oneLine(entry.Value()), nil
	}
	return json.Marshal(s.currentGates())
}

// entry writes one entry of the watcher; nil marks the end of what was there.
func (e *sse) entry(b *bucket, entry jetstream.KeyValueEntry) error {
	if entry == nil {
		data, err := json.Marshal(map[string]any{"resumed": b.resumed > 0})
		if err != nil {
			return err
		}
		return e.send("", "synced", data)
	}
	key, id := entry.Key(), b.id(entry.Revision())
	customer, feature, ok := strings.Cut(key, ".")
	switch {
	case key == events.GatesKey:
		if entry.Operation() != jetstream.KeyValuePut || entry.Revision() <= b.gates {
			return nil
		}
		return e.send(id, "gates", oneLine(entry.Value()))
	case !ok || strings.HasPrefix(key, records.FencePrefix):
		return nil
	case entry.Operation() != jetstream.KeyValuePut:
		return e.removed(id, customer, feature)
	}
	return e.send(id, "decision", oneLine(entry.Value()))
}

func (e *sse) removed(id, customerToken, featureToken string) error {
	customer, err := events.ParseToken(customerToken)
	if err != nil {
		return nil
	}
	feature, err := events.ParseToken(featureToken)
	if err != nil {
		return nil
	}
	data, err := json.Marshal(map[string]string{"customer": customer, "feature": feature})
	if err != nil {
		return err
	}
	return e.send(id, "removed", data)
}

// oneLine keeps a value from ending its event early.
func oneLine(value []byte) []byte {
	return []byte(strings.NewReplacer("\n", " ", "\r", " ").Replace(string(value)))
}
