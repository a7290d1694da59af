package stream

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidegate-io/tidegate/internal/test/testnats"
)

func TestParseDelivery(t *testing.T) {
	t.Parallel()
	at := time.Unix(1_780_000_000, 123_456_789).UTC()
	for reply, want := range map[string]uint64{
		"$JS.ACK.USAGE.cons.1.4711.12.1780000000123456789.3":             4711,
		"$JS.ACK._.hash.USAGE.cons.1.4711.12.1780000000123456789.3":      4711,
		"$JS.ACK.hub.hash.USAGE.cons.1.4711.12.1780000000123456789.3.rn": 4711,
		"$JS.ACK.USAGE.cons.1.4711.12.1780000000123456789":               0,
		"_INBOX.USAGE.cons.1.4711.12.1780000000123456789.3.4":            0,
		"$JS.ACK.USAGE.cons.1.47-1.12.1780000000123456789.3":             0,
		"": 0,
	} {
		got := parseDelivery(reply)
		if got.seq != want || want != 0 && (got.consumerSeq != 12 || !got.time.Equal(at)) {
			t.Errorf("%s: %+v", reply, got)
		}
	}
}

// TestDeliveryIsWhatTheLibraryReads off the messages of a real server.
func TestDeliveryIsWhatTheLibraryReads(t *testing.T) {
	t.Parallel()
	js := testnats.Start(t).JetStream(t)
	s, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: "S", Subjects: []string{"s.*"}})
	if err != nil {
		t.Fatal(err)
	}
	for range 12 {
		if _, err := js.Publish(context.Background(), "s.a", []byte("x")); err != nil {
			t.Fatal(err)
		}
	}
	cons, err := s.OrderedConsumer(t.Context(), jetstream.OrderedConsumerConfig{OptStartSeq: 10, DeliverPolicy: jetstream.DeliverByStartSequencePolicy})
	if err != nil {
		t.Fatal(err)
	}
	for want := uint64(10); want <= 12; want++ {
		m, err := cons.Next()
		if err != nil {
			t.Fatal(err)
		}
		md, err := m.Metadata()
		if err != nil {
			t.Fatal(err)
		}
		if got := parseDelivery(m.Reply()); got.seq != want || got.seq != md.Sequence.Stream || got.consumerSeq != md.Sequence.Consumer || !got.time.Equal(md.Timestamp) {
			t.Errorf("%s: %+v, want %d at %s", m.Reply(), got, md.Sequence.Stream, md.Timestamp)
		}
	}
}
