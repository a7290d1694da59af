package backup

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// entry is a line in the copy of a bucket. Of two for one key the later counts.
type entry struct {
	Key     string `json:"key"`
	Value   []byte `json:"value,omitempty"`
	Deleted bool   `json:"deleted,omitempty"`
}

// copyBucket copies the present value of every key. A snapshot of the stream would lack
// the keys that change while it is made. It returns nil if there is no such bucket.
func (n NATS) copyBucket(ctx context.Context, dir, base string) (*Copy, error) {
	name := n.Names.Bucket(base)
	s, err := n.JS.Stream(ctx, "KV_"+name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	kv, err := n.JS.KeyValue(ctx, name)
	if err != nil {
		return nil, err
	}
	info := s.CachedInfo()
	config, err := json.Marshal(info.Config)
	if err != nil {
		return nil, err
	}
	c := &Copy{Name: "KV_" + name, Bucket: true, File: base + ".ndjson", Config: config, Taken: time.Now().UTC(),
		First: info.State.FirstSeq, Last: info.State.LastSeq}
	f, err := create(dir, c.File)
	if err != nil {
		return nil, err
	}
	if err := n.copyKeys(ctx, s, kv, c, f); err != nil {
		_ = f.Close()
		return nil, err
	}
	return c, f.finish(c)
}

// copyKeys writes a line for every key. The library may say too early that there are no
// more: then the stream has more than was read.
func (n NATS) copyKeys(ctx context.Context, s jetstream.Stream, kv jetstream.KeyValue, c *Copy, to io.Writer) error {
	w, err := kv.WatchAll(ctx)
	if err != nil {
		return err
	}
	defer func() { _ = w.Stop() }()
	out := bufio.NewWriter(to)
	read, until, patience := uint64(0), ^uint64(0), answerTimeout
	for read < until {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(patience):
			if patience == answerTimeout {
				return errors.New("no answer")
			}
			until = read // what came last was removed
		case e, ok := <-w.Updates():
			if !ok {
				return errors.New("the watch has ended")
			}
			if e == nil {
				info, err := s.Info(ctx)
				if err != nil {
					return err
				}
				if until, patience = info.State.LastSeq, 2*time.Second; info.State.Msgs == 0 {
					until = 0
				}
				continue
			}
			read = e.Revision()
			c.Messages, c.Last, c.LastAt = c.Messages+1, max(c.Last, read), e.Created().UTC()
			line, err := json.Marshal(entry{Key: e.Key(), Value: e.Value(), Deleted: e.Operation() != jetstream.KeyValuePut})
			if err != nil {
				return err
			}
			n.step(c.Name, int64(len(line)))
			if _, err := out.Write(append(line, '\n')); err != nil {
				return err
			}
		}
	}
	return out.Flush()
}

// restoreBucket makes a bucket and puts the keys.
func (n NATS) restoreBucket(ctx context.Context, dir string, c *Copy, replicas int) error {
	f, err := os.Open(filepath.Join(dir, c.File))
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	var config jetstream.StreamConfig
	if err := json.Unmarshal(c.Config, &config); err != nil {
		return err
	}
	if replicas > 0 {
		config.Replicas = replicas
	}
	if _, err := n.JS.CreateStream(ctx, config); err != nil {
		return err
	}
	prefix := "$KV." + strings.TrimPrefix(c.Name, "KV_") + "."
	for lines := json.NewDecoder(bufio.NewReader(f)); ; {
		var e entry
		if err := lines.Decode(&e); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return err
		}
		n.step(c.Name, int64(len(e.Value)))
		msg := &nats.Msg{Subject: prefix + e.Key, Data: e.Value}
		if e.Deleted {
			msg.Header = nats.Header{"KV-Operation": {"DEL"}}
		}
		if _, err := n.JS.PublishMsg(ctx, msg); err != nil {
			return err
		}
	}
}
