package stream

import (
	"errors"
	"strconv"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/tidegate-io/tidegate/internal/records"
)

// directGets are the requests whose answers are stored messages with headers of the
// server.
var directGets = []struct{ subject, body string }{
	{"$JS.API.DIRECT.GET.STATE", `{"last_by_subj":"state.notifier.zz"}`},
	{"$JS.API.DIRECT.GET.STATE", `{"seq":%d}`},
	{"$JS.API.DIRECT.GET.STATE", `{"seq":%d,"batch":1}`},
	{"$JS.API.DIRECT.GET.STATE", `{"next_by_subj":"state.notifier.>","seq":%d}`},
	{"$JS.API.DIRECT.GET.STATE", `{"multi_last":["state.notifier.zz"]}`},
	{"$JS.API.DIRECT.GET.STATE.state.notifier.zz", ``},
}

// storeAnswer lets the server store a forged message as its answer to one of directGets.
func (b *bench) storeAnswer(t *testing.T, get int, forged *nats.Msg, target string) {
	t.Helper()
	forged.Subject = "state.notifier.zz"
	ack, err := b.env.JS.PublishMsg(t.Context(), forged)
	if err != nil {
		t.Fatal(err)
	}
	body := strings.Replace(directGets[get].body, "%d", strconv.FormatUint(ack.Sequence, 10), 1)
	if err := b.env.NC.PublishRequest(directGets[get].subject, target, []byte(body)); err != nil {
		t.Fatal(err)
	}
}

func TestStoredAnswersAreDead(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	c := newTally()
	stop := b.start(t, picky{c})
	for get := range directGets {
		forged := &nats.Msg{Data: []byte("forged")}
		if get%2 == 0 {
			forged.Header = nats.Header{"Content-Type": {"x"}}
		}
		b.storeAnswer(t, get, forged, "account.0")
	}
	b.publish(t, 1)
	if n := <-c.handled; n != 1 {
		t.Fatalf("%d messages were handled", n)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
	forged := 0
	for origin, letters := range b.dead(t) {
		for _, d := range letters {
			if string(d.Body) == "forged" && strings.Contains(d.Reason, records.ErrAnswer.Error()) {
				forged++
			} else if len(d.Body) > 0 { // an end of batch is a message, too
				t.Errorf("%s: %s", origin, d.Reason)
			}
		}
	}
	if forged != len(directGets) {
		t.Errorf("%d forged messages have letters, want %d", forged, len(directGets))
	}
	n := 0
	err := Read(t.Context(), b.env.JS, b.env.Names, accountInput.Inputs[0], ^uint64(0), func(m *Message) error {
		if string(m.Data) == "forged" {
			n++
		}
		return nil
	})
	if err != nil || n > 0 {
		t.Errorf("%d of them are read: %v", n, err)
	}
}

func TestStoredAnswersAreNoState(t *testing.T) {
	t.Parallel()
	for get := range directGets {
		b := newBench(t)
		l := b.open(t, newTally())
		if err := l.Commit(t.Context(), []Position{{Seq: 1}}, at(1)); err != nil {
			t.Fatal(err)
		}
		b.storeAnswer(t, get, &nats.Msg{Data: []byte(`{"kind":"commit","epoch":1,"number":2,"last":true}` + "\n")}, "state.tally.0.log")
		b.publish(t, 1) // requests are answered in order
		_, err := OpenLog(t.Context(), b.env.JS, "STATE", "state.tally.0.log", "state.tally.0.snap", newTally(), nil)
		if !errors.Is(err, records.ErrAnswer) {
			t.Errorf("%s %s: %v", directGets[get].subject, directGets[get].body, err)
		}
	}
}
