package aggregator

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/events"
)

// TestOneMessageMakesFewLetters: a small message must neither fill DEAD nor hold up its
// partition.
func TestOneMessageMakesFewLetters(t *testing.T) {
	t.Parallel()
	mixed := func(bad int) (b []byte) {
		for i := range 5 + bad {
			e := events.Event{ID: fmt.Sprint(i), Type: "api", Subject: "acme"}
			if i >= 5 {
				e.Subject = ""
			}
			b = events.AppendBatch(b, &e)
		}
		return b
	}
	for name, c := range map[string]struct {
		body    []byte
		letters int
		used    int
		last    string // of the reasons
		whole   int    // length of its body
	}{
		"empty events":     {bytes.Repeat([]byte{0x0a, 0}, 520_000), 1, 0, "the packed message has 1040000 bytes, at most 524288", events.MaxBatchBytes},
		"too many events":  {bytes.Repeat([]byte{0x0a, 0}, 10_001), 1, 0, "more than 10000 events", 20_002},
		"as many as may":   {bytes.Repeat([]byte{0x0a, 0}, 10_000), 101, 0, "9900 more events of this message cannot be counted", 20_000},
		"as many letters":  {mixed(100), 100, 5, "`subject` is missing", 0},
		"one more":         {mixed(101), 101, 5, "1 more events of this message cannot be counted, the first because of", len(mixed(101))},
		"and it is broken": {append(mixed(101), 0xff), 101, 5, "the packed message is broken", len(mixed(101)) + 1},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			for _, token := range []string{events.BatchToken, events.ImportToken} {
				b := startPartition(t)
				s := b.supervise(t)
				b.publish(t, "usage.p.0."+token, c.body)
				b.publish(t, "usage.in.acme", []byte(`{"type":"api","id":"after"}`))
				started := time.Now()
				want := fmt.Sprint(c.used + 1)
				eventually(t, func() bool { return s.Owning() == nil && currentUse(t, b.windows(t, "acme"), "api") == want })
				if took := time.Since(started); took > 10*time.Second {
					t.Errorf("%s: the next event waited %s", token, took)
				}
				eventually(t, func() bool { return len(b.deadLetters(t)) >= c.letters })
				letters := b.deadLetters(t)
				if len(letters) != c.letters {
					t.Fatalf("%s: %d letters, want %d", token, len(letters), c.letters)
				}
				last := letters[len(letters)-1]
				if !strings.Contains(last.Reason, c.last) || c.whole > 0 && (len(last.Body) != c.whole || !strings.HasSuffix(last.Origin, "/-1")) {
					t.Errorf("%s: %s: %s, %d bytes", token, last.Origin, last.Reason, len(last.Body))
				}
			}
		})
	}
}
