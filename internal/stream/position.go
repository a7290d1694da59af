package stream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// Position is how far an input has been processed.
//
// A stream that lost its end, was set back to an older copy or was made anew goes on
// counting from where it ends. So a sequence alone does not say which message was
// read: the time at which that message was stored does. What the stream has lost is
// added to the numbers of all later messages, so that they go on growing.
type Position struct {
	Seq   uint64    `json:"seq"`             // in the stream
	At    time.Time `json:"at,omitzero"`     // when the message was stored
	Shift uint64    `json:"shift,omitempty"` // Message.Seq less the sequence in the stream
}

// number returns Message.Seq of the last message that was processed.
func (p Position) number() uint64 { return p.Seq + p.Shift }

// Loss says that a stream has lost messages that an owner had processed.
type Loss struct {
	Stream string    `json:"stream"` // base name
	Input  int       `json:"input"`  // index in Spec.Inputs
	Number uint64    `json:"number"` // Message.Seq of the last message before
	Cut    uint64    `json:"cut"`    // sequence in the stream behind which reading goes on
	Lost   uint64    `json:"lost"`   // how many sequences
	Found  time.Time `json:"found"`  // when
	// Restored says that the stream came from a backup. Nobody knows what it had beyond,
	// so Lost is more than that can be.
	Restored bool `json:"restored,omitempty"`
}

// maxLosses bounds the losses that a log keeps: the newest.
const maxLosses = 100

// ErrSetBack is returned when an input has lost messages that were read. The next
// owner reads what the stream has in their place.
var ErrSetBack = errors.New("the stream has lost messages that were read")

// timed sets the time of positions that a former version wrote without: at most that of
// their record.
func timed(list []Position, stored time.Time) {
	for i := range list {
		if list[i].At.IsZero() && list[i].Seq > 0 {
			list[i].At = stored.UTC()
		}
	}
}

// locate returns the sequence in a stream behind which reading goes on: that of the
// position or, if that message is gone, of the last one that was stored before it. A
// smaller sequence means a loss. Messages that have expired are none.
func locate(ctx context.Context, js jetstream.JetStream, s jetstream.Stream, pos Position) (uint64, error) {
	if pos.Seq == 0 {
		return 0, nil
	}
	at, err := storedAt(ctx, js, s.CachedInfo().Config.Name, pos.Seq)
	switch {
	case err == nil && at.Equal(pos.At):
		return pos.Seq, nil
	case err != nil && !errors.Is(err, jetstream.ErrMsgNotFound):
		return 0, err
	}
	cut, err := lastUpTo(ctx, js, s, pos)
	return min(cut, pos.Seq), err
}

// settled is locate, but believes a loss in a cluster only after some attempts: a
// leader that was just elected may not have applied everything.
func settled(ctx context.Context, js jetstream.JetStream, s jetstream.Stream, pos Position) (uint64, error) {
	for attempt := 1; ; attempt++ {
		cut, err := locate(ctx, js, s, pos)
		if err != nil || cut == pos.Seq || attempt == settleAttempts(s) {
			return cut, err
		}
		select {
		case <-ctx.Done():
			return 0, ctx.Err()
		case <-time.After(settlePause):
		}
	}
}

const settlePause = time.Second

func settleAttempts(s jetstream.Stream) int {
	if s.CachedInfo().Config.Replicas > 1 {
		return 10
	}
	return 1
}

// lastUpTo returns the sequence of the last message that was stored up to the time of
// a position.
func lastUpTo(ctx context.Context, js jetstream.JetStream, s jetstream.Stream, pos Position) (uint64, error) {
	info, err := Retry(ctx, func(ctx context.Context) (*jetstream.StreamInfo, error) { return s.Info(ctx) })
	if err != nil {
		return 0, err
	}
	if pos.Seq < info.State.FirstSeq {
		return pos.Seq, nil // it has expired
	}
	from := pos.At.Add(1)
	cons, err := Retry(ctx, func(ctx context.Context) (jetstream.Consumer, error) {
		return s.CreateConsumer(ctx, jetstream.ConsumerConfig{
			DeliverPolicy: jetstream.DeliverByStartTimePolicy, OptStartTime: &from, HeadersOnly: true,
			AckPolicy: jetstream.AckNonePolicy, MemoryStorage: true, Replicas: 1, InactiveThreshold: 5 * time.Second,
		})
	})
	if err != nil {
		return 0, err
	}
	found := cons.CachedInfo()
	_ = s.DeleteConsumer(ctx, found.Name) // otherwise it expires
	cut := min(found.Delivered.Stream, info.State.LastSeq)
	// The consumer may be on a replica that lags behind.
	for cut < info.State.LastSeq {
		at, err := storedAt(ctx, js, info.Config.Name, cut+1)
		if err != nil && !errors.Is(err, jetstream.ErrMsgNotFound) {
			return 0, err
		}
		if err == nil && at.After(pos.At) {
			break
		}
		cut++
	}
	return cut, nil
}

// storedAt asks the leader of a stream when it stored a message. It returns
// jetstream.ErrMsgNotFound.
func storedAt(ctx context.Context, js jetstream.JetStream, name string, seq uint64) (time.Time, error) {
	m, err := atLeader(ctx, js, name, map[string]any{"seq": seq})
	return m.Time, err
}

// lastAtLeader asks the leader of a stream for the last message of a subject. It
// returns jetstream.ErrMsgNotFound.
func lastAtLeader(ctx context.Context, js jetstream.JetStream, name, subject string) (stored, error) {
	return atLeader(ctx, js, name, map[string]any{"last_by_subj": subject})
}

// stored is a message that a stream has.
type stored struct {
	Subject string    `json:"subject"`
	Seq     uint64    `json:"seq"`
	Data    []byte    `json:"data"`
	Time    time.Time `json:"time"`
}

// atLeader asks the leader of a stream for a message. A replica that the library may
// ask can lag behind.
func atLeader(ctx context.Context, js jetstream.JetStream, name string, which map[string]any) (stored, error) {
	request, _ := json.Marshal(which)
	return Retry(ctx, func(ctx context.Context) (stored, error) {
		reply, err := js.Conn().RequestWithContext(ctx, jetstream.DefaultAPIPrefix+"STREAM.MSG.GET."+name, request)
		if err != nil {
			return stored{}, err
		}
		var got struct {
			Error   *jetstream.APIError `json:"error"`
			Message stored              `json:"message"`
		}
		if err := json.Unmarshal(reply.Data, &got); err != nil {
			return stored{}, fmt.Errorf("a message of %s: %w", name, err)
		}
		if got.Error != nil && got.Error.ErrorCode == jetstream.JSErrCodeMessageNotFound {
			return stored{}, jetstream.ErrMsgNotFound
		}
		if got.Error != nil {
			return stored{}, got.Error
		}
		return got.Message, nil
	})
}
