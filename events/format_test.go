package events_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/test/kept"
)

func TestWhatFormerVersionsWroteIsRead(t *testing.T) {
	t.Parallel()
	kept.Check(t, "format1/decision",
		func() ([]byte, error) { return json.Marshal(kept.Sample[events.Decision]()) },
		func(b []byte) (any, error) { return events.ParseDecision(b) })
	kept.Check(t, "format1/gates",
		func() ([]byte, error) { return json.Marshal(kept.Sample[events.Gates]()) },
		func(b []byte) (any, error) { return events.ParseGates(b) })
	kept.Check(t, "format1/batch",
		func() ([]byte, error) {
			e := kept.Sample[events.Event]()
			e.Data = []byte(`{"tokens":812.25}`)
			return events.AppendBatch(events.AppendBatch(nil, e), e), nil
		},
		func(b []byte) (any, error) {
			var list []events.Event
			err := events.EachInBatch(b, func(_ int, e events.Event, _ []byte, broken error) {
				list = append(list, e)
				if broken != nil {
					t.Error(broken)
				}
			})
			return list, err
		})
}

func TestFormatsOfNewerVersionsAreRefusedByName(t *testing.T) {
	t.Parallel()
	_, decision := events.ParseDecision([]byte(`{"customer":"acme","feature":"api","allowed":true,"format":2}`))
	_, gates := events.ParseGates([]byte(`{"partitions":4,"format":2}`))
	e := kept.Sample[events.Event]()
	e.Data = nil
	read := 0
	batch := events.EachInBatch(events.AppendBatch([]byte{15 << 3, 2}, e), func(int, events.Event, []byte, error) { read++ })
	for what, err := range map[string]error{"the decision": decision, "the list of gates": gates, "the packed message": batch} {
		if !errors.Is(err, events.ErrFormat) || !strings.HasPrefix(err.Error(), what+" has format 2, ") {
			t.Errorf("%s: %v", what, err)
		}
	}
	if read != 0 {
		t.Errorf("%d events of a packed message of a newer format were read", read)
	}
	err := events.EachInBatch(events.AppendBatch([]byte{15 << 3, 1}, e), func(int, events.Event, []byte, error) { read++ })
	if read != 1 || err != nil {
		t.Errorf("a packed message with the number of the present format: %d events, %v", read, err)
	}
}
