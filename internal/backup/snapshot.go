package backup

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/stream"
)

// answerTimeout is how long a server may be silent.
const answerTimeout = 30 * time.Second

// attempts is how often STATE is copied: its owners may delete meanwhile what the copy
// needs.
const attempts = 5

// copyStream copies a stream into a file.
func (n NATS) copyStream(ctx context.Context, dir, base string) (*Copy, error) {
	c := &Copy{Name: n.Names.Stream(base), File: base + ".snapshot"}
	for attempt := 1; ; attempt++ {
		var anchors *stream.Anchors
		if base == events.StreamState {
			var err error
			if anchors, err = stream.AnchorLogs(ctx, n.JS, n.Names); err != nil {
				return nil, err
			}
		}
		f, err := create(dir, c.File)
		if err != nil {
			return nil, err
		}
		if err := n.snapshot(ctx, c, f); err != nil {
			_ = f.Close()
			return nil, err
		}
		if err := f.finish(c); err != nil {
			return nil, err
		}
		moved, err := anchors.Moved(ctx)
		if err != nil || !moved {
			return c, err
		}
		if attempt == attempts {
			return nil, errors.New("its owners deleted old records while they were copied, again and again: raise TIDEGATE_SNAPSHOT_BYTES, or try when there is less usage")
		}
	}
}

// snapshot has the server send a snapshot of a stream.
func (n NATS) snapshot(ctx context.Context, c *Copy, to io.Writer) error {
	nc := n.JS.Conn()
	inbox := nc.NewInbox()
	sub, err := nc.SubscribeSync(inbox)
	if err != nil {
		return err
	}
	defer func() { _ = sub.Unsubscribe() }()
	// Consumers are Tidegate's readers, which it makes anew.
	body, _ := json.Marshal(map[string]any{"deliver_subject": inbox, "no_consumers": true, "jsck": true})
	var answer struct {
		Error  *jetstream.APIError `json:"error"`
		Config json.RawMessage     `json:"config"`
		State  json.RawMessage     `json:"state"`
	}
	if err := n.request(ctx, "STREAM.SNAPSHOT."+c.Name, body, &answer); err != nil {
		return err
	}
	if answer.Error != nil {
		return answer.Error
	}
	var state jetstream.StreamState
	if err := json.Unmarshal(answer.State, &state); err != nil {
		return fmt.Errorf("answer about a snapshot: %w", err)
	}
	c.Config, c.State, c.Taken, c.LastAt = answer.Config, answer.State, time.Now().UTC(), time.Time{}
	c.Messages, c.First, c.Last = state.Msgs, state.FirstSeq, state.LastSeq
	if state.LastSeq > 0 {
		c.LastAt = state.LastTime.UTC()
	}
	return n.receive(ctx, sub, c.Name, to)
}

// receive writes the chunks of a snapshot. The server sends more when chunks are
// acknowledged, and ends with an empty one.
func (n NATS) receive(ctx context.Context, sub *nats.Subscription, name string, to io.Writer) error {
	for {
		msg, err := next(ctx, sub)
		if err != nil {
			return fmt.Errorf("the snapshot ended too early: %w", err)
		}
		if len(msg.Data) == 0 {
			if status := msg.Header.Get("Status"); status != "" && status != "204" {
				return fmt.Errorf("the snapshot failed: %s %s", status, msg.Header.Get("Description"))
			}
			return nil
		}
		if _, err := to.Write(msg.Data); err != nil {
			return err
		}
		n.step(name, int64(len(msg.Data)))
		if msg.Reply != "" {
			if err := msg.Respond(nil); err != nil {
				return err
			}
		}
	}
}

func next(ctx context.Context, sub *nats.Subscription) (*nats.Msg, error) {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	return sub.NextMsgWithContext(ctx)
}

// request asks JetStream something.
func (n NATS) request(ctx context.Context, api string, body []byte, answer any) error {
	ctx, cancel := context.WithTimeout(ctx, answerTimeout)
	defer cancel()
	reply, err := n.JS.Conn().RequestWithContext(ctx, jetstream.DefaultAPIPrefix+api, body)
	if err != nil {
		return fmt.Errorf("%s: %w: may this NATS user make and restore backups?", api, err)
	}
	return json.Unmarshal(reply.Data, answer)
}
