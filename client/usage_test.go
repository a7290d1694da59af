package client

import (
	"encoding/json"
	"errors"
	"math"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/events"
)

func TestDataOfAnEvent(t *testing.T) {
	t.Parallel()
	tokens := events.Gate{Feature: "tokens", Event: "tokens", Aggregate: "sum", ValueKey: "tokens", InPlan: true, Period: "month"}
	deep := tokens
	deep.Feature, deep.ValueKey = "deep", "usage.total"
	c, m := inMemory(t, nil, tokens, deep)
	for _, tt := range []struct {
		value any
		props map[string]any
		want  string
	}{
		{nil, nil, ``},
		{812, nil, `{"value":812,"tokens":812}`},
		{int64(-3), nil, `{"value":-3,"tokens":-3}`},
		{uint8(3), nil, `{"value":3,"tokens":3}`},
		{uint64(7), nil, `{"value":7,"tokens":7}`},
		{0.1 + 0.2, nil, `{"value":0.3,"tokens":0.3}`},
		{float32(0.25), nil, `{"value":0.25,"tokens":0.25}`},
		{json.Number("1e3"), nil, `{"value":1000,"tokens":1000}`},
		{events.Value{Units: 1, Nanos: 5e8}, nil, `{"value":1.5,"tokens":1.5}`},
		{"a\"b", nil, `{"value":"a\"b","tokens":"a\"b"}`},
		{5, map[string]any{"model": "x"}, `{"model":"x","value":5,"tokens":5}`},
		{5, map[string]any{"tokens": 6}, `{"tokens":6,"value":5}`},
		{nil, map[string]any{"tokens": 6}, `{"tokens":6}`},
	} {
		if err := c.RecordAck(t.Context(), Usage{Customer: "bob", Event: "tokens", Value: tt.value, Properties: tt.props}); err != nil {
			t.Errorf("%v: %v", tt.value, err)
			continue
		}
		list := m.Usage()
		if got := string(list[len(list)-1].Data); got != tt.want {
			t.Errorf("%v: data %s, want %s", tt.value, got, tt.want)
		}
	}
	if d := c.Check("bob", "tokens"); d.Reason != events.Unlimited {
		t.Errorf("unlimited: %+v", d)
	}
}

func TestWhatRecordRefuses(t *testing.T) {
	t.Parallel()
	c, m := inMemory(t, nil, apiGate(10))
	for name, u := range map[string]Usage{
		"customer":  {Event: "api"},
		"event":     {Customer: "bob"},
		"own event": {Customer: "bob", Event: "tidegate.plan"},
		"future":    {Customer: "bob", Event: "api", Time: time.Now().Add(time.Hour)},
		"NaN":       {Customer: "bob", Event: "api", Value: math.NaN()},
		"infinity":  {Customer: "bob", Event: "api", Value: math.Inf(1)},
		"too large": {Customer: "bob", Event: "api", Value: uint64(math.MaxUint64)},
		"type":      {Customer: "bob", Event: "api", Value: []int{1}},
		"property":  {Customer: "bob", Event: "api", Properties: map[string]any{"f": func() {}}},
		"size":      {Customer: "bob", Event: "api", Properties: map[string]any{"f": strings.Repeat("x", events.MaxEventBytes)}},
	} {
		if err := c.Record(t.Context(), u); !errors.Is(err, events.ErrInvalid) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := c.Flush(t.Context()); err != nil || len(m.Usage()) != 0 {
		t.Errorf("recorded %v, %v", m.Usage(), err)
	}
	if c.Check("bob", "api").Used.Valid {
		t.Error("a use that was refused is counted")
	}
}

func TestWhatIsCountedDown(t *testing.T) {
	t.Parallel()
	sum := events.Gate{Feature: "tokens", Event: "api", Aggregate: "sum", ValueKey: "n", InPlan: true, Limit: events.Some(events.Count(10)), Period: "day"}
	most := sum
	most.Feature, most.Aggregate = "most", "max"
	c, _ := inMemory(t, nil, apiGate(10), sum, most)
	for _, u := range []Usage{
		{ID: "1", Value: 2.5},
		{ID: "1", Value: 2.5},                      // the same use
		{ID: "1", Value: 2.5, Source: "elsewhere"}, // another one
		{Time: time.Now().Add(-time.Hour)},         // of another window, perhaps
		{Properties: map[string]any{"n": 1}},
		{Properties: map[string]any{"other": 1}},
	} {
		u.Customer, u.Event = "bob", "api"
		if err := c.Record(t.Context(), u); err != nil {
			t.Fatal(err)
		}
	}
	for feature, want := range map[string]string{"api": "4", "tokens": "6", "most": "unlimited"} {
		if got := c.Check("bob", feature).Used.String(); got != want {
			t.Errorf("%s: used is %s, want %s", feature, got, want)
		}
	}
}

func TestCountsAreBounded(t *testing.T) {
	t.Parallel()
	c, _ := inMemory(t, nil, apiGate(10))
	now := time.Now()
	g := c.cache.view.Load().gates.byFeature["api"]
	const most = 2 * tallyShards * tallyMost
	for i := range most {
		c.cache.count(g, strconv.Itoa(i), events.Count(1), now.Add(time.Duration(i)))
	}
	n := 0
	c.cache.tallies.update(func(*counter) { n++ })
	if n > tallyShards*tallyMost || n < tallyShards*tallyMost/4 {
		t.Errorf("%d counts are kept", n)
	}
	if c.Check(strconv.Itoa(most-1), "api").Used.Units != 1 {
		t.Error("the newest count is gone")
	}
}

func TestFailedPublishesAreRetried(t *testing.T) {
	t.Parallel()
	failures := make(chan error, 10)
	c, m := inMemory(t, []Option{OnError(func(err error) { failures <- err })}, apiGate(10))
	full := errors.New("maximum bytes exceeded")
	m.Fail(full)
	acked := make(chan error, 1)
	go func() { acked <- c.RecordAck(t.Context(), Usage{Customer: "bob", Event: "api"}) }()
	if err := <-failures; !errors.Is(err, full) {
		t.Errorf("reported: %v", err)
	}
	m.Fail(nil)
	if err := <-acked; err != nil {
		t.Error(err)
	}
	if n := len(m.Usage()); n != 1 {
		t.Errorf("%d uses arrived", n)
	}
}

// TestValuesAreRounded: to the nearest billionth as it is written, and to the even one
// between two.
func TestValuesAreRounded(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		value any
		want  string
	}{
		{0.1 + 0.2, "0.3"}, {5e-10, "0"}, {15e-10, "0.000000002"}, {1e-300, "0"}, {float32(0.1), "0.1"},
		{json.Number("0.0000000004999"), "0"}, {json.Number("1e-400"), "0"}, {json.Number("2.00000000000000000000000000000000000000001"), "2"},
	} {
		u := Usage{Value: c.value}
		if got, err := u.literal(); err != nil || got != c.want {
			t.Errorf("%v: %s, %v; want %s", c.value, got, err, c.want)
		}
	}
}
