package stream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/guard"
)

// Question is one kind of question to the owners of a role's partitions. It is
// declared once, as a variable that those who ask and those who answer share.
// Request and answer travel as JSON.
type Question[Req, Resp any] struct {
	Role string // who answers
	Kind string // name of the question within its role; one token of a subject
	// Fresh has the owner answer only after it has handled everything that was
	// stored in its inputs before the question came.
	Fresh bool
}

// The errors of Ask.
var (
	// ErrNotOwned is returned when no process owns the partition.
	ErrNotOwned = errors.New("nobody owns the partition")
	// ErrNoAnswer is returned when no answer came in time, or when this process
	// is not connected to NATS.
	ErrNoAnswer = errors.New("no answer")
	// ErrUnknownQuestion is returned when the owner runs a version that does not
	// have the question.
	ErrUnknownQuestion = errors.New("the owner does not know the question")
	// ErrRefused is returned when the owner finds the request wrong. Handlers
	// return it, too: see Answer.
	ErrRefused = errors.New("the owner refuses the question")
	// ErrOwner is returned when the owner cannot answer for a reason of its own.
	ErrOwner = errors.New("the owner failed to answer")
)

const (
	// defaultAskTimeout bounds an Ask whose context has no deadline.
	defaultAskTimeout = 5 * time.Second
	// askPause lies between the attempts of a patient Ask.
	askPause = 250 * time.Millisecond
	// movedPause lies between the attempts of any Ask that reached an owner who
	// is about to leave, and movedAttempts is how often it tries.
	movedPause    = 20 * time.Millisecond
	movedAttempts = 5
	// askAtOnce is how many partitions AskAll asks at a time.
	askAtOnce = 64
)

// Asker is the way to the owners. It is safe for concurrent use.
type Asker struct {
	NC    *nats.Conn
	Names events.Names
	// Patience is how long Ask waits for a partition that changes hands, or for
	// a connection that comes back; 0: not at all.
	Patience time.Duration
}

// Ask puts the question to the owner of a partition, whichever process that is.
// The deadline of ctx bounds it; without one, five seconds do. The error wraps
// one of those above, and that of ctx when it has ended.
func (q Question[Req, Resp]) Ask(ctx context.Context, a Asker, partition int, req Req) (resp Resp, err error) {
	if _, bounded := ctx.Deadline(); !bounded {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, defaultAskTimeout)
		defer cancel()
	}
	body, err := json.Marshal(req)
	if err == nil {
		body, err = a.request(ctx, q.subject(a.Names, partition), body)
	}
	if err == nil {
		err = json.Unmarshal(body, &resp)
	}
	if err != nil {
		return resp, fmt.Errorf("asking %s.%d for %s: %w", q.Role, partition, q.Kind, err)
	}
	return resp, nil
}

// Answered is what the owner of one partition answered.
type Answered[Resp any] struct {
	Partition int
	Answer    Resp
	Err       error // as of Ask
}

// AskAll puts the question to the owners of the partitions 0 to n-1, some dozens
// at a time, and returns what each answered, by partition.
func (q Question[Req, Resp]) AskAll(ctx context.Context, a Asker, n int, req Req) []Answered[Resp] {
	all := make([]Answered[Resp], n)
	var wg sync.WaitGroup
	slots := make(chan struct{}, askAtOnce)
	for p := range all {
		slots <- struct{}{}
		wg.Go(func() {
			defer func() { <-slots }()
			answer, err := guard.Value(func() (Resp, error) { return q.Ask(ctx, a, p, req) })
			all[p] = Answered[Resp]{p, answer, err}
		})
	}
	wg.Wait()
	return all
}

func (q Question[Req, Resp]) subject(n events.Names, partition int) string {
	return n.Query(q.Role, partition) + "." + q.Kind
}

// request asks until somebody owns the partition or the patience has ended.
func (a Asker) request(ctx context.Context, subject string, body []byte) ([]byte, error) {
	var patience <-chan time.Time
	if a.Patience > 0 {
		patience = time.After(a.Patience)
	}
	for attempt := 1; ; attempt++ {
		reply, err := a.requestOnce(ctx, subject, body)
		pause := askPause
		switch moved := errors.Is(err, errMoved); {
		case moved && attempt < movedAttempts: // the next owner may be there already
			pause = movedPause
		case a.Patience > 0 && (moved || errors.Is(err, ErrNotOwned) || errors.Is(err, errDisconnected)):
		default:
			return reply, err
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("%w: %w", err, ctx.Err())
		case <-patience:
			return nil, err
		case <-time.After(pause):
		}
	}
}

var (
	errDisconnected = fmt.Errorf("%w: not connected to NATS", ErrNoAnswer)
	errMoved        = fmt.Errorf("%w: its owner is leaving", ErrNotOwned)
)

func (a Asker) requestOnce(ctx context.Context, subject string, body []byte) ([]byte, error) {
	if !a.NC.IsConnected() { // the request would wait for a connection
		return nil, errDisconnected
	}
	reply, err := a.NC.RequestWithContext(ctx, subject, body)
	switch {
	case errors.Is(err, nats.ErrNoResponders):
		return nil, ErrNotOwned
	case err != nil:
		return nil, fmt.Errorf("%w: %w", ErrNoAnswer, err)
	}
	return reply.Data, replyError(reply)
}
