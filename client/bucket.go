package client

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidegate-io/tidegate/events"
)

const (
	pageValues  = 1000    // that one request brings at most
	pageBytes   = 1 << 20 // about
	waitingPuts = 16_384  // put while others are taken
)

// bucket reads the decisions bucket. It makes no consumer: a user who may make one may
// also say where the server delivers to, and so write where it may not publish.
// The stream republishes what is put; the rest is read by direct gets.
type bucket struct {
	nc   *nats.Conn
	name string
	get  string // subject of direct gets
	keys string // what stands before a key in a subject
	puts string // subject of what is put
}

func newBucket(nc *nats.Conn, n events.Names) *bucket {
	name := n.Bucket(events.BucketDecisions)
	return &bucket{nc: nc, name: name, get: "$JS.API.DIRECT.GET.KV_" + name, keys: "$KV." + name + ".", puts: n.Decision(">")}
}

// value is a message of the bucket.
type value struct {
	entry
	seq uint64
}

var errNoValue = errors.New("a message that is none of the bucket")

// parse goes by the headers that the server adds. The subject proves nothing: it is
// another user's choice where an answer to a request of his goes.
func (b *bucket) parse(m *nats.Msg) (v value, err error) {
	v.seq, err = strconv.ParseUint(m.Header.Get(jetstream.SequenceHeader), 10, 64)
	key, ok := strings.CutPrefix(m.Header.Get(jetstream.SubjectHeader), b.keys)
	if err != nil || !ok || len(m.Header[jetstream.SubjectHeader]) != 1 { // another one: an answer was put into the bucket
		return value{}, errNoValue
	}
	v.key = key
	if m.Header.Get("KV-Operation") == "" && m.Header.Get(jetstream.MarkerReasonHeader) == "" {
		v.value = m.Data
	}
	return v, nil
}

// readFrom takes the values from a sequence on, up to the newest.
func (b *bucket) readFrom(ctx context.Context, seq uint64, take func(value)) error {
	sub, err := b.nc.SubscribeSync(b.nc.NewInbox())
	if err != nil {
		return err
	}
	defer func() { _ = sub.Unsubscribe() }() // fails when the connection is closed, which ends it too
	for more := true; more; {
		if seq, more, err = b.readPage(ctx, sub, seq, take); err != nil {
			return b.fail(err)
		}
	}
	return nil
}

// readPage also returns where the next page begins, if there is one.
func (b *bucket) readPage(ctx context.Context, sub *nats.Subscription, seq uint64, take func(value)) (next uint64, more bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	ask := fmt.Appendf(nil, `{"seq":%d,"batch":%d,"max_bytes":%d}`, seq, pageValues, pageBytes)
	if err := b.nc.PublishRequest(b.get, sub.Subject, ask); err != nil {
		return 0, false, err
	}
	for {
		m, err := sub.NextMsgWithContext(ctx)
		if err != nil {
			return 0, false, err
		}
		switch status := m.Header.Get("Status"); status {
		case "":
			v, err := b.parse(m)
			if err != nil {
				return 0, false, err
			}
			if v.seq >= seq {
				seq = v.seq + 1
				take(v)
			}
		case "204": // the end of the page
			return seq, m.Header.Get("Nats-Num-Pending") != "0", nil
		case "404": // nothing from there on
			return seq, false, nil
		case "503":
			return 0, false, nats.ErrNoResponders
		default:
			return 0, false, fmt.Errorf("direct get: %s %s", status, m.Header.Get("Description"))
		}
	}
}

// last returns the sequence of the newest value, 0 if there is none.
func (b *bucket) last(ctx context.Context) (uint64, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	m, err := b.nc.RequestWithContext(ctx, b.get, []byte(`{"last_by_subj":"`+b.keys+`>"}`))
	if err != nil {
		return 0, b.fail(err)
	}
	if m.Header.Get("Status") == "404" {
		return 0, nil
	}
	v, err := b.parse(m)
	return v.seq, b.fail(err)
}

func (b *bucket) fail(err error) error {
	switch {
	case err == nil:
		return nil
	case errors.Is(err, context.DeadlineExceeded), errors.Is(err, nats.ErrTimeout):
		return fmt.Errorf("bucket %s: no answer; denied permissions also look like this: %w", b.name, err)
	case errors.Is(err, nats.ErrNoResponders):
		return fmt.Errorf("bucket %s: %w, or without a server that has it now", b.name, jetstream.ErrBucketNotFound)
	}
	return fmt.Errorf("bucket %s: %w", b.name, err)
}
