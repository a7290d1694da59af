package stream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/tidegate-io/tidegate/internal/guard"
)

// Answer makes f answer a question for as long as o owns its partition. A
// Processor calls it in Start. Run calls f from the goroutine that calls the
// Processor's methods; f must not change the state. An error of f that wraps ErrRefused blames the request;
// the asker gets any other, and a panic, as ErrOwner.
func Answer[Req, Resp any](o *Owner, q Question[Req, Resp], f func(Req) (Resp, error)) {
	answer(o, q, false, func(_ context.Context, req Req) (Resp, error) { return f(req) })
}

// answerer is how an owner answers one kind of question.
type answerer struct {
	fresh bool
	aside bool // beside the Processor, so also while that waits for something
	f     func(ctx context.Context, request []byte) ([]byte, error)
}

func answer[Req, Resp any](o *Owner, q Question[Req, Resp], aside bool, f func(context.Context, Req) (Resp, error)) {
	if o.answers == nil {
		o.answers = map[string]answerer{}
	}
	o.answers[q.Kind] = answerer{fresh: q.Fresh, aside: aside, f: func(ctx context.Context, request []byte) ([]byte, error) {
		var req Req
		if err := json.Unmarshal(request, &req); err != nil {
			return nil, fmt.Errorf("%w: %w", ErrRefused, err)
		}
		resp, err := guard.Value(func() (Resp, error) { return f(ctx, req) })
		if err != nil {
			return nil, err
		}
		return json.Marshal(resp)
	}}
}

// failureHeader of a reply says why it is no answer, by one of these names. The
// reply's body is the error's text.
const failureHeader = "Error"

var failures = map[string]error{
	"moved":   errMoved,
	"unknown": ErrUnknownQuestion,
	"refused": ErrRefused,
	"owner":   ErrOwner,
}

// replyError returns the error that a reply holds.
func replyError(reply *nats.Msg) error {
	name := reply.Header.Get(failureHeader)
	if name == "" {
		return nil
	}
	err := failures[name]
	if err == nil {
		err = ErrOwner
	}
	detail, begins := strings.CutPrefix(string(reply.Data), err.Error())
	if !begins {
		detail = ": " + detail
	}
	return fmt.Errorf("%w%s", err, detail)
}

// reply sends the answer, or the error in its place.
func (r *run) reply(m *nats.Msg, data []byte, err error) {
	if limit := r.NC.MaxPayload(); err == nil && int64(len(data)) > limit {
		err = fmt.Errorf("%w: the answer has %d bytes, a message at most %d", ErrOwner, len(data), limit)
	}
	if err == nil {
		_ = m.Respond(data) // without a connection the asker gets ErrNoAnswer
		return
	}
	out := nats.NewMsg(m.Reply)
	for name, of := range failures {
		if errors.Is(err, of) {
			out.Header.Set(failureHeader, name)
		}
	}
	if out.Header.Get(failureHeader) == "" {
		err = fmt.Errorf("%w: %w", ErrOwner, err)
		out.Header.Set(failureHeader, "owner")
	}
	out.Data = []byte(err.Error())
	_ = m.RespondMsg(out)
}

// asked is a question that waits for the loop.
type asked struct {
	msg  *nats.Msg
	by   answerer
	need []uint64 // positions to reach first
}

// receive takes a question from the network to the loop, or answers it at once.
func (r *run) receive(work context.Context, m *nats.Msg) {
	kind := m.Subject[strings.LastIndexByte(m.Subject, '.')+1:]
	by, known := r.owner.answers[kind]
	q := asked{msg: m, by: by, need: make([]uint64, len(r.readers))}
	switch {
	case !known:
		r.reply(m, nil, fmt.Errorf("%w: the %s has no answer to %q, it may be of another version", ErrUnknownQuestion, r.Role, kind))
	case by.aside:
		go func() {
			data, err := by.f(work, m.Data)
			r.reply(m, data, err)
		}()
	case by.fresh:
		go func() {
			if err := r.newest(work, q.need); err != nil {
				r.reply(m, nil, stopped(work, err))
				return
			}
			r.enqueue(work, q)
		}()
	default:
		r.enqueue(work, q)
	}
}

// newest sets the sequences of the last messages that are stored in the inputs.
func (r *run) newest(ctx context.Context, need []uint64) (err error) {
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	for i, rd := range r.readers {
		if need[i], err = rd.newest(ctx); err != nil {
			return err
		}
	}
	return nil
}

// stopped is errMoved once the ownership has ended, else err.
func stopped(work context.Context, err error) error {
	if work.Err() != nil {
		return errMoved
	}
	return err
}

// enqueue hands q to the loop.
func (r *run) enqueue(work context.Context, q asked) {
	select {
	case r.questions <- q:
		if work.Err() != nil { // the loop may have ended before
			r.turnAway()
		}
	case <-work.Done():
		r.reply(q.msg, nil, errMoved)
	}
}

// answer answers the questions whose positions are reached.
func (r *run) answer(work context.Context) {
	kept := r.waiting[:0]
	for _, q := range r.waiting {
		reached := true
		for i, need := range q.need {
			reached = reached && r.pos[i].Seq >= need
		}
		if !reached {
			kept = append(kept, q)
			continue
		}
		data, err := q.by.f(work, q.msg.Data)
		r.reply(q.msg, data, err)
	}
	clear(r.waiting[len(kept):])
	r.waiting = kept
}

// turnAllAway ends the subscription and tells all who still ask that the
// ownership has ended.
func (r *run) turnAllAway() {
	if r.asking != nil {
		_ = r.asking.Drain() // receive turns away the questions that have arrived
	}
	r.turnAway()
	for _, q := range r.waiting {
		r.reply(q.msg, nil, errMoved)
	}
}

// turnAway tells those whose questions lie before the loop that it has ended.
func (r *run) turnAway() {
	for {
		select {
		case q := <-r.questions:
			r.reply(q.msg, nil, errMoved)
		default:
			return
		}
	}
}
