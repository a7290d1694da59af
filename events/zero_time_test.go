package events

import (
	"encoding/binary"
	"errors"
	"strings"
	"testing"
	"time"
)

// TestTheFirstMomentIsNoAbsentTime: it is as old as any, though Go takes it for none.
func TestTheFirstMomentIsNoAbsentTime(t *testing.T) {
	t.Parallel()
	for _, s := range []string{"0001-01-01T00:00:00Z", "0001-01-01T01:00:00+01:00", "0000-12-31T23:00:00-01:00"} {
		_, err := Decode([]byte(`{"type":"api","subject":"acme","time":"` + s + `"}`))
		if !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "lies before 1970") {
			t.Errorf("%s: %v", s, err)
		}
	}
	// The packed form of another moment with as many bytes.
	other := time.Time{}.Add(time.Second)
	e := Event{ID: "1", Type: "api", Subject: "acme", Time: other}
	seconds := func(at time.Time) string { return string(binary.AppendUvarint(nil, uint64(at.Unix()))) }
	packed := strings.Replace(string(AppendBatch(nil, &e)), seconds(other), seconds(time.Time{}), 1)
	n := 0
	err := EachInBatch([]byte(packed), func(_ int, _ Event, _ []byte, err error) {
		if n++; !errors.Is(err, ErrInvalid) || !strings.Contains(err.Error(), "lies before 1970") {
			t.Errorf("packed: %v", err)
		}
	})
	if err != nil || n != 1 {
		t.Errorf("%d events, %v", n, err)
	}
}
