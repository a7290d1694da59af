package backup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/stream"
)

// Restore makes the streams of a folder in a NATS that has none of them. replicas is the
// number of each; 0: as they had.
func (n NATS) Restore(ctx context.Context, dir string, m *Manifest, replicas int) error {
	if m.Namespace != n.Names.Namespace {
		return fmt.Errorf("the backup is of the namespace %q, the configuration says %q: set `namespace: %q`", m.Namespace, n.Names.Namespace, m.Namespace)
	}
	if err := n.refuseExisting(ctx); err != nil {
		return err
	}
	for i := range m.Streams {
		if err := m.Streams[i].verify(ctx, dir); err != nil {
			return err
		}
	}
	var made []string
	for i := range m.Streams {
		c := &m.Streams[i]
		restore := n.restoreStream
		if c.Bucket {
			restore = n.restoreBucket
		}
		made = append(made, c.Name)
		if err := restore(ctx, dir, c, replicas); err != nil {
			return fmt.Errorf("%s: %w: delete what was restored before you try again: %s", c.Name, err, strings.Join(made, ", "))
		}
	}
	return nil
}

// refuseExisting returns an error that names the streams that are there already.
func (n NATS) refuseExisting(ctx context.Context) error {
	var there []string
	names := []string{"KV_" + n.Names.Bucket(events.BucketDecisions)}
	for _, base := range streams() {
		names = append(names, n.Names.Stream(base))
	}
	for _, base := range documentBuckets() {
		names = append(names, "KV_"+n.Names.Bucket(base))
	}
	for _, name := range names {
		_, err := n.JS.Stream(ctx, name)
		if err == nil {
			there = append(there, name)
		} else if !errors.Is(err, jetstream.ErrStreamNotFound) {
			return fmt.Errorf("%s: %w", name, err)
		}
	}
	if len(there) > 0 {
		return fmt.Errorf("this NATS has %s already: stop Tidegate, and delete them (nats stream rm), or take an empty NATS", strings.Join(there, ", "))
	}
	return nil
}

// configOf returns the configuration for a restored stream.
func (c *Copy) configOf(state bool, replicas int) (json.RawMessage, error) {
	fields := map[string]json.RawMessage{} // numbers stay exact
	if err := json.Unmarshal(c.Config, &fields); err != nil {
		return nil, err
	}
	if replicas > 0 {
		fields["num_replicas"] = json.RawMessage(strconv.Itoa(replicas))
	}
	if state {
		metadata := map[string]string{}
		if err := json.Unmarshal(fields["metadata"], &metadata); err != nil {
			return nil, fmt.Errorf("metadata: %w", err)
		}
		metadata[stream.RestoredKey] = time.Now().UTC().Format(time.RFC3339Nano)
		b, err := json.Marshal(metadata)
		if err != nil {
			return nil, err
		}
		fields["metadata"] = b
	}
	return json.Marshal(fields)
}

func (n NATS) restoreStream(ctx context.Context, dir string, c *Copy, replicas int) error {
	f, err := os.Open(filepath.Join(dir, c.File))
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	config, err := c.configOf(c.Name == n.Names.Stream(events.StreamState), replicas)
	if err != nil {
		return err
	}
	body, err := json.Marshal(map[string]json.RawMessage{"config": config, "state": c.State})
	if err != nil {
		return err
	}
	var answer struct {
		Error   *jetstream.APIError `json:"error"`
		Deliver string              `json:"deliver_subject"`
	}
	if err := n.request(ctx, "STREAM.RESTORE."+c.Name, body, &answer); err != nil {
		return err
	}
	if answer.Error != nil {
		return answer.Error
	}
	return n.send(ctx, f, c.Name, answer.Deliver)
}

const (
	chunkSize     = 128 << 10
	finishTimeout = 10 * time.Minute // for the server to take the last of a stream in
)

// send sends the chunks of a snapshot, each when the one before was taken in, and an
// empty one at the end.
func (n NATS) send(ctx context.Context, from io.Reader, name, subject string) error {
	chunk := make([]byte, chunkSize)
	for {
		size, err := io.ReadFull(from, chunk)
		if size > 0 {
			if err := n.sendChunk(ctx, subject, chunk[:size], answerTimeout); err != nil {
				return err
			}
			n.step(name, int64(size))
		}
		switch {
		case errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF):
			return n.sendChunk(ctx, subject, nil, finishTimeout)
		case err != nil:
			return err
		}
	}
}

func (n NATS) sendChunk(ctx context.Context, subject string, chunk []byte, timeout time.Duration) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	reply, err := n.JS.Conn().RequestWithContext(ctx, subject, chunk)
	if err != nil {
		return fmt.Errorf("the server takes no more of it: %w", err)
	}
	if len(reply.Data) == 0 {
		return nil
	}
	var answer struct {
		Error *jetstream.APIError `json:"error"`
	}
	if err := json.Unmarshal(reply.Data, &answer); err != nil {
		return err
	}
	if answer.Error != nil {
		return answer.Error
	}
	return nil
}
