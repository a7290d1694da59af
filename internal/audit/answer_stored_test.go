package audit

import "testing"

// TestAnEntryThatTheServerStoredIsNone lets the server answer a request into the log.
func TestAnEntryThatTheServerStoredIsNone(t *testing.T) {
	t.Parallel()
	l, js := newLog(t)
	ok(t, l.Write(t.Context(), []Entry{entry("acme", "ops", 1)}))
	m, err := l.message(kindEntry, "acme", record{Entry: entry("acme", "ops", 2), Format: format})
	ok(t, err)
	m.Subject, m.Header = "acme.state.notifier.zz", nil
	_, err = js.PublishMsg(t.Context(), m)
	ok(t, err)
	ok(t, js.Conn().PublishRequest("$JS.API.DIRECT.GET.acme_STATE", l.names.Audit(kindEntry, "acme"), []byte(`{"last_by_subj":"acme.state.notifier.zz"}`)))
	ok(t, l.Write(t.Context(), []Entry{entry("acme", "ops", 3)}))
	s, err := js.Stream(t.Context(), l.stream())
	ok(t, err)
	if n := s.CachedInfo().State.Msgs; n != 5 { // each entry has a detail
		t.Errorf("%d messages: the forged one is not stored", n)
	}
	if got := values(all(t, l, Query{Limit: 10})); got != "3 1" {
		t.Errorf("the log shows %s", got)
	}
}
