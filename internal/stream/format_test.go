package stream

import (
	"errors"
	"strings"
	"testing"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/test/kept"
)

func TestRecordsOfFormerVersionsAreRead(t *testing.T) {
	t.Parallel()
	type record struct {
		Meta    meta
		Payload []byte
	}
	sample := func() meta {
		m := *kept.Sample[meta]()
		m.Kind, m.Format = kindCommit, Format
		return m
	}
	decode := func(b []byte) (any, error) {
		m, payload, err := decodeRecord(b)
		return record{m, payload}, err
	}
	kept.Check(t, "format1/record", func() ([]byte, error) { m := sample(); return m.encode([]byte("payload\n")), nil }, decode)
	kept.Check(t, "format0/record", func() ([]byte, error) {
		m := sample()
		return []byte(strings.Replace(string(m.encode([]byte("payload\n"))), `"format":1,`, "", 1)), nil
	}, decode)
}

func TestRecordsOfANewerVersionAreRefusedByName(t *testing.T) {
	t.Parallel()
	for _, line := range []string{`{"kind":"commit","format":2}`, `{"kind":7,"format":2,"epoch":"x"}`} {
		_, _, err := decodeRecord([]byte(line + "\n"))
		if !errors.Is(err, events.ErrFormat) || !strings.Contains(err.Error(), "has format 2") {
			t.Errorf("%s: %v", line, err)
		}
	}
}
