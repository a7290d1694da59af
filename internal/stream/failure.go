package stream

import (
	"context"
	"errors"
	"fmt"

	"github.com/tidegate-io/tidegate/internal/guard"
)

// No message stops a partition for good, and none ends the process.
//
// When a method of the Processor panics, half of a change may be in its state. So
// the ownership ends and the state is given up. Before that, the owner appends a
// note to the partition's log, behind the last commit: this part of this message is
// dead. The next owner, in this process or in another one, loads the last commit and
// handles the same messages again, except for that part, which becomes a dead
// letter. As the log is fenced and keeps the notes, the state is a function of the
// messages and of the notes, whoever derives it and with whichever version.
//
// Flush, Tick and Commit follow from many messages. If one of them panics, the note
// says up to where the next owner must be careful: it handles one message, flushes,
// ticks and commits, and then takes the next one. So it finds out which message is to
// blame. If there is none, the partition begins again, after a pause that grows.

// DeadPart is a part of a message that no owner can handle.
type DeadPart struct {
	Input  int    `json:"input"` // index in Spec.Inputs
	Seq    uint64 `json:"seq"`   // Message.Seq
	Index  int    `json:"index"` // of the part; -1: the whole message
	Reason string `json:"reason,omitempty"`
}

const (
	// whole is the index of a message as a whole, and of what remains of a broken one.
	whole = -1
	// maxDead bounds the dead parts that a log keeps: the newest.
	maxDead = 5000
)

// Outage makes an error say that no message is to blame for it: what the Processor
// needs is away or lost.
func Outage(err error) error {
	if err == nil {
		return nil
	}
	return outage{err}
}

type outage struct{ error }

func (o outage) Unwrap() error { return o.error }

// isOutside reports whether an error neither comes from a message nor from the state.
func isOutside(err error) bool { return IsStop(err) || errors.As(err, new(outage)) }

// failure is a call of the Processor that panicked or returned an error.
type failure struct {
	doing string    // the method
	part  *DeadPart // that is to blame; nil: not known
	err   error
	noted bool // the log says which part is dead, or where to be careful
}

func (f *failure) Error() string {
	if f.part == nil {
		return f.doing + ": " + f.err.Error()
	}
	return fmt.Sprintf("%s of message %d: %v", f.doing, f.part.Seq, f.err)
}

func (f *failure) Unwrap() error { return f.err }

// reason is what the dead letter says.
func (f *failure) reason() string {
	text := f.err.Error()
	if p := guard.As(f.err); p != nil {
		text = p.Detail()
	}
	return cut(text, maxReason)
}

// blame returns the failure of Handle with a message.
func (r *run) blame(m *Message, err error) error {
	part := &DeadPart{Input: m.Input, Seq: m.Seq, Index: whole}
	if p, ok := r.proc.(Parter); ok {
		at := p.Part()
		if _, dead := m.Dead[at]; at >= 0 && !dead { // else it was not that part alone
			part.Index = at
		}
	}
	return &failure{doing: "handle", part: part, err: err}
}

// guarded calls a method of the Processor that belongs to no single message. While the
// run is careful, the message handled last is to blame for a failure.
func (r *run) guarded(doing string, f func() error) error {
	err := guard.Do(f)
	if err == nil || isOutside(err) {
		return err
	}
	return &failure{doing: doing, part: r.suspect, err: err}
}

// settle is called with the error that ended the loop. If it is a failure, settle
// notes in the log how the next owner can get past it.
func (r *run) settle(work context.Context, err error) error {
	var f *failure
	if work.Err() != nil || !errors.As(err, &f) {
		return err
	}
	role, panicked := r.ledger.role(r.Role), guard.As(f.err) != nil
	dead, careful := []DeadPart(nil), []uint64(nil)
	switch {
	case f.part != nil:
		f.part.Reason = f.reason()
		dead = []DeadPart{*f.part}
	case f.part == nil && r.unsettled:
		for i := range r.pos {
			careful = append(careful, r.pos[i].number())
		}
	}
	switch {
	case panicked && dead != nil:
		role.panicked(f.err)
	case dead == nil && careful == nil:
		role.fail(f.err)
	}
	if dead == nil && careful == nil {
		return err
	}
	if noting := r.log.Note(work, dead, careful); noting != nil {
		return errors.Join(err, noting)
	}
	f.noted = true
	if n := role.throttle(r.Now()); dead != nil && n > 0 {
		r.Env.Log.Error("message_given_up", "role", r.Role, "partition", r.Partition, "stream", r.Inputs[f.part.Input].Stream,
			"sequence", f.part.Seq, "index", f.part.Index, "count", n, "error", f.err)
	}
	return err
}

// mustBeCareful reports whether messages are handled one by one.
func (r *run) mustBeCareful() bool {
	for i, until := range r.log.careful {
		if i < len(r.pos) && r.pos[i].number() < until {
			return true
		}
	}
	return false
}

// DeadParts are the dead parts of messages.
type DeadParts map[place]map[int]string

// place is a message of an input.
type place struct {
	input int
	seq   uint64
}

// deadAfter returns the dead parts of messages behind some positions.
func deadAfter(list []DeadPart, after []Position) DeadParts {
	var parts DeadParts
	for _, d := range list {
		if d.Input < len(after) && d.Seq <= after[d.Input].number() {
			continue
		}
		parts = parts.with(d.Input, d.Seq, d)
	}
	return parts
}

// stillDead returns the dead parts by the sequences in the streams, without those of
// messages that the streams have lost.
func stillDead(list []DeadPart, losses []Loss) DeadParts {
	var parts DeadParts
	for _, d := range list {
		seq, gone := d.Seq, false
		for _, l := range losses {
			if l.Input == d.Input && l.Number < d.Seq {
				seq -= l.Lost
			}
		}
		for _, l := range losses {
			gone = gone || l.Input == d.Input && l.Number >= d.Seq && l.Cut < seq
		}
		if !gone {
			parts = parts.with(d.Input, seq, d)
		}
	}
	return parts
}

func (d DeadParts) with(input int, seq uint64, part DeadPart) DeadParts {
	if d == nil {
		d = DeadParts{}
	}
	at := place{input, seq}
	if d[at] == nil {
		d[at] = map[int]string{}
	}
	d[at][part.Index] = part.Reason
	return d
}

// LeaveOut returns a function that calls f with messages as an owner calls Handle:
// without those that are dead, and with the dead parts of the others.
func (d DeadParts) LeaveOut(f func(*Message) error) func(*Message) error {
	return func(m *Message) error {
		m.Dead = d[place{m.Input, m.Seq}]
		if _, dead := m.Dead[whole]; dead {
			return nil
		}
		return f(m)
	}
}
