package audit

import (
	"encoding/json"
	"fmt"
	"sync"
	"testing"

	"github.com/tidegate-io/tidegate/internal/config"
)

func settings(pairs ...string) Settings {
	s := Settings{}
	for i := 0; i < len(pairs); i += 2 {
		s[pairs[i]] = config.Setting{Text: pairs[i+1]}
	}
	return s
}

// Every process says so, at its start and after each edit: one entry a change.
func TestConfigurations(t *testing.T) {
	t.Parallel()
	l, _ := newLog(t)
	everybody := func(s Settings) {
		t.Helper()
		var wg sync.WaitGroup
		for i := range 8 {
			wg.Go(func() {
				if err := l.TakeOver(t.Context(), fmt.Sprintf("config (host-%d)", i), s); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
	}
	first := settings("gates.api.condition.limit.free", "100", "public_url", "https://x")
	second := settings("gates.api.condition.limit.free", "50", "retention.audit", "30d", "public_url", "https://x")
	third := settings("gates.api.condition.limit.free", "50", "retention.audit", "30d")
	third["public_url"] = config.Setting{Text: "https://x", Digest: "0a"}
	everybody(first)
	if list := all(t, l, Query{Limit: 10}); len(list) != 0 {
		t.Errorf("the first is no change: %+v", list)
	}
	everybody(first)
	everybody(second)
	everybody(second)
	everybody(third)
	everybody(first)
	list := all(t, l, Query{Limit: 2})
	if len(list) != 3 {
		t.Fatalf("%d entries: %+v", len(list), list)
	}
	e := list[2]
	if e.Action != Configuration || !by(e.Actor, "config") || e.Customer != "" || e.At.IsZero() || e.ID == "" {
		t.Errorf("%+v", e)
	}
	var before, after differing
	ok(t, json.Unmarshal(e.Before, &before))
	ok(t, json.Unmarshal(e.After, &after))
	if len(before.Values) != 2 || *before.Values["gates.api.condition.limit.free"] != "100" || before.Values["retention.audit"] != nil ||
		*after.Values["gates.api.condition.limit.free"] != "50" || *after.Values["retention.audit"] != "30d" || before.Digest == after.Digest {
		t.Errorf("%s\n%s", e.Before, e.After)
	}
	after = differing{}
	ok(t, json.Unmarshal(list[1].After, &after))
	if len(after.Values) != 1 || *after.Values["public_url"] != "https://x (with another value)" {
		t.Errorf("%s", list[1].After)
	}
}

// A configuration as large as a file may be fits, and so does the entry about it.
func TestLargeConfiguration(t *testing.T) {
	t.Parallel()
	l, _ := newLog(t)
	large := func(limit string) Settings {
		s := Settings{}
		for i := range 5_000 {
			s[fmt.Sprintf("gates.feature-%d.condition.limit.free", i)] = config.Setting{Text: limit}
		}
		return s
	}
	ok(t, l.TakeOver(t.Context(), "config", large("1")))
	ok(t, l.TakeOver(t.Context(), "config", large("2")))
	e := all(t, l, Query{Limit: 10})[0]
	var after differing
	ok(t, json.Unmarshal(e.After, &after))
	if len(after.Values) != changesShown || after.More != 5_000-changesShown || len(e.After) > 64<<10 {
		t.Errorf("%d bytes, %d values, %d more", len(e.After), len(after.Values), after.More)
	}
}
