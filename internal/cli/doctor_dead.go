package cli

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/app"
	"github.com/tidegate-io/tidegate/internal/records"
	"github.com/tidegate-io/tidegate/internal/stream"
)

// deadSince is how far back letters deserve a warning.
const deadSince = 24 * time.Hour

// dead says how many dead letters there are, and what roles could not process.
func (c *doctorCmd) dead(e *env, ctx context.Context) (string, string) {
	l, err := c.connect(e)
	if err != nil {
		return stateSkipped, "NATS is not reachable"
	}
	defer l.close()
	name := l.names.Stream(events.StreamDead)
	s, err := l.js.Stream(ctx, name)
	if errors.Is(err, jetstream.ErrStreamNotFound) {
		return stateFailed, "the stream " + name + " is missing, so dead letters are lost: start Tidegate again, which makes it"
	}
	if err != nil {
		return stateFailed, err.Error()
	}
	state, texts := stateOK, []string{}
	switch n, newest, err := lettersSince(ctx, s, l.names, time.Now().Add(-deadSince)); {
	case err != nil:
		return stateFailed, err.Error()
	case n > 0:
		state = stateWarning
		texts = append(texts, fmt.Sprintf("%d dead letters in a day, the newest is %s: %.200s: see `tidegate dead`", n, newest.Origin, newest.Reason))
	}
	if full(s.CachedInfo()) {
		state = stateFailed
		texts = append(texts, "the stream "+name+" is full, and refuses: let it discard old letters, or give it space (nats stream edit)")
	}
	answers, _ := app.AskProgress(ctx, l.nc, l.names, l.partitions)
	if told := troubles(answers); len(told) > 0 {
		state = cmp.Or(map[string]string{stateOK: stateWarning}[state], state)
		texts = append(texts, told...)
	}
	if len(texts) == 0 {
		texts = append(texts, "no dead letter in a day")
	}
	return state, strings.Join(texts, "; ")
}

// lettersSince counts the letters that were stored since a moment, and returns the
// newest.
func lettersSince(ctx context.Context, s jetstream.Stream, n events.Names, since time.Time) (count uint64, newest records.Dead, err error) {
	last, err := s.GetLastMsgForSubject(ctx, n.Subject("dead.*"))
	if errors.Is(err, jetstream.ErrMsgNotFound) || err == nil && last.Time.Before(since) {
		return 0, newest, nil
	}
	if err != nil {
		return 0, newest, err
	}
	if json.Unmarshal(last.Data, &newest) != nil || records.RefuseAnswer(last.Header, 1) != nil {
		newest.Reason = "unreadable"
	}
	cons, err := s.CreateConsumer(ctx, jetstream.ConsumerConfig{DeliverPolicy: jetstream.DeliverByStartTimePolicy, OptStartTime: &since,
		AckPolicy: jetstream.AckNonePolicy, MemoryStorage: true, Replicas: 1, InactiveThreshold: 5 * time.Second})
	if err != nil {
		return 0, newest, err
	}
	info := cons.CachedInfo()
	_ = s.DeleteConsumer(ctx, info.Name) // otherwise it expires
	return max(info.NumPending, 1), newest, nil
}

// full reports whether a stream refuses messages for their size.
func full(info *jetstream.StreamInfo) bool {
	c := &info.Config
	return c.Discard == jetstream.DiscardNew && (c.MaxBytes > 0 && info.State.Bytes >= uint64(c.MaxBytes)*95/100 ||
		c.MaxMsgs > 0 && info.State.Msgs >= uint64(c.MaxMsgs))
}

// troubles says what each role could not process in each process since its start.
func troubles(answers []stream.Progress) (texts []string) {
	for i := range answers {
		p := &answers[i]
		t := &p.Trouble
		var parts []string
		for _, one := range []struct {
			n    uint64
			what string
		}{
			{t.Panicked, "messages at which it panicked"}, {t.Failures, "other failures"},
			{t.Refused, "refusals of documents by the store"}, {t.LostLetters, "dead letters that were lost"},
			{t.Lost, "processed messages that its streams have lost"},
			{t.Forgotten, "fingerprints that SEEN has lost"},
		} {
			if one.n > 0 {
				parts = append(parts, fmt.Sprintf("%d %s", one.n, one.what))
			}
		}
		if len(parts) > 0 {
			texts = append(texts, fmt.Sprintf("%s in %s has had %s, the last at %s: %s", p.Role, p.Holder, strings.Join(parts, ", "),
				t.LastAt.Format(time.RFC3339), t.Last))
		}
	}
	slices.Sort(texts)
	return slices.Compact(texts) // one for each process, not for each partition
}
