package audit

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/nats-io/nats.go/jetstream"
	"pgregory.net/rapid"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/stream"
	"github.com/tidegate-io/tidegate/internal/test/testnats"
)

func TestMain(m *testing.M) { testnats.Main(m) }

func ok(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// newLog returns a log in a stream of its own, in a namespace.
func newLog(t testing.TB) (*Log, jetstream.JetStream) {
	t.Helper()
	js, err := stream.JetStream(testnats.Start(t).Connect(t))
	ok(t, err)
	names := events.Names{Namespace: "acme"}
	_, err = stream.Ensure(t.Context(), js, stream.Layout{Names: names, Partitions: 1})
	ok(t, err)
	return New(js, names, slog.New(slog.DiscardHandler)), js
}

func entry(customer, actor string, n int) Entry {
	return Entry{ID: NewID(), Actor: actor, Action: CustomerPlan, Customer: customer, Before: Value("free"), After: Value(n), Reason: fmt.Sprint("because ", n)}
}

// all reads every page.
func all(t testing.TB, l *Log, q Query) []Entry {
	t.Helper()
	var list []Entry
	for range 1000 {
		p, err := l.Read(t.Context(), q)
		ok(t, err)
		if len(p.Entries) > q.Limit {
			t.Fatalf("%d entries of at most %d", len(p.Entries), q.Limit)
		}
		list = append(list, p.Entries...)
		if p.Next == 0 {
			return list
		}
		q.Before = p.Next
	}
	t.Fatal("the list does not end")
	return nil
}

func values(list []Entry) string {
	var s []string
	for _, e := range list {
		s = append(s, string(e.After))
	}
	return strings.Join(s, " ")
}

func TestEntriesAreListedNewestFirst(t *testing.T) {
	t.Parallel()
	l, _ := newLog(t)
	ok(t, l.Write(t.Context(), []Entry{entry("acme", "ops", 1), entry("a.b@c", "ops (ada@host)", 2)}))
	middle := entry("acme", "billing", 3)
	ok(t, l.Write(t.Context(), []Entry{middle, {ID: NewID(), Actor: "ops", Action: GateOff, Feature: "api", After: Value(4), Reason: "fire"}}))
	for name, c := range map[string]struct {
		q    Query
		want string
	}{
		"all":                      {Query{}, "4 3 2 1"},
		"a customer's":             {Query{Customer: "acme"}, "3 1"},
		"of a customer with signs": {Query{Customer: "a.b@c"}, "2"},
		"a key's":                  {Query{Actor: "ops"}, "4 2 1"},
		"a user's":                 {Query{Actor: "ops (ada@host)"}, "2"},
		"nobody's":                 {Query{Actor: "op"}, ""},
		"both":                     {Query{Customer: "acme", Actor: "ops"}, "1"},
	} {
		for limit := 1; limit <= 5; limit++ {
			c.q.Limit = limit
			if got := values(all(t, l, c.q)); got != c.want {
				t.Errorf("%s, %d a page: %s, want %s", name, limit, got, c.want)
			}
		}
	}
	e := all(t, l, Query{Limit: 10})
	if e[1].ID != middle.ID || string(e[1].Before) != `"free"` || e[1].Reason != "because 3" || e[0].Reason != "fire" || e[0].Feature != "api" || time.Since(e[0].At) > time.Minute {
		t.Errorf("%+v", e)
	}
}

func TestPeriods(t *testing.T) {
	t.Parallel()
	l, _ := newLog(t)
	for i := range 6 {
		ok(t, l.Write(t.Context(), []Entry{entry([]string{"a", "b"}[i%2], "ops", i)}))
	}
	list := all(t, l, Query{Limit: 10})
	slices.Reverse(list)
	for from := range 6 {
		for to := from; to < 6; to++ {
			got := all(t, l, Query{From: list[from].At, To: list[to].At, Limit: 2})
			slices.Reverse(got)
			if want := list[from:to]; values(got) != values(want) {
				t.Errorf("[%d, %d): %s, want %s", from, to, values(got), values(want))
			}
			of := all(t, l, Query{Customer: "b", From: list[from].At, To: list[to].At, Limit: 2})
			for _, e := range of {
				if e.Customer != "b" || e.At.Before(list[from].At) || !e.At.Before(list[to].At) {
					t.Errorf("[%d, %d) of b: %+v", from, to, e)
				}
			}
		}
	}
}

// A customer with few entries in a long log is found, and so is each of a customer with
// very many.
func TestLongLog(t *testing.T) {
	t.Parallel()
	l, _ := newLog(t)
	var list []Entry
	for i := range 30_000 {
		customer := "busy"
		if i%10_000 == 5 {
			customer = "rare"
		}
		list = append(list, Entry{ID: NewID(), Actor: "ops", Action: CustomerErase, Customer: customer, Feature: fmt.Sprint(i)})
	}
	ok(t, l.Write(t.Context(), list))
	features := func(list []Entry) (s []string) {
		for _, e := range list {
			s = append(s, e.Feature)
		}
		return s
	}
	if got := features(all(t, l, Query{Customer: "rare", Limit: 2})); fmt.Sprint(got) != "[20005 10005 5]" {
		t.Errorf("%v", got)
	}
	got := features(all(t, l, Query{Limit: 1000}))
	if len(got) != 30_000 || got[0] != "29999" || got[29_999] != "0" {
		t.Errorf("%d entries", len(got))
	}
	// One query looks at a bounded number; the pages lead to the end all the same.
	p, err := l.Read(t.Context(), Query{Actor: "nobody", Limit: 10})
	ok(t, err)
	if len(p.Entries) != 0 || p.Next == 0 {
		t.Errorf("%+v", p)
	}
	if got := all(t, l, Query{Actor: "nobody", Limit: 10}); len(got) != 0 {
		t.Errorf("%v", got)
	}
}

// To erase leaves who, what and when, in their places.
func TestErase(t *testing.T) {
	t.Parallel()
	l, js := newLog(t)
	secret := entry("acme", "ops", 1)
	secret.Reason = "Ada moved to Vienna"
	ok(t, l.Write(t.Context(), []Entry{secret, entry("other", "ops", 2), entry("acme", "ops", 3)}))
	ok(t, l.Erase(t.Context(), "acme"))
	ok(t, l.Erase(t.Context(), "acme"))
	ok(t, l.Write(t.Context(), []Entry{entry("acme", "ops", 4)}))
	list := all(t, l, Query{Limit: 2})
	if values(list) != "4  2 " {
		t.Errorf("%q", values(list))
	}
	for _, i := range []int{1, 3} {
		if e := list[i]; !e.Erased || e.Reason != "" || e.Before != nil || e.Actor != "ops" || e.Action != CustomerPlan || e.Customer != "acme" || e.At.IsZero() {
			t.Errorf("%+v", e)
		}
	}
	if list[0].Erased || list[2].Erased {
		t.Errorf("%+v", list)
	}
	s, err := js.Stream(t.Context(), "acme_AUDIT")
	ok(t, err)
	for seq := uint64(1); seq <= s.CachedInfo().State.LastSeq; seq++ {
		if m, err := s.GetMsg(t.Context(), seq); err == nil && strings.Contains(string(m.Data), "Vienna") {
			t.Errorf("message %d still has it: %s", seq, m.Data)
		}
	}
}

func TestResults(t *testing.T) {
	t.Parallel()
	l, _ := newLog(t)
	a, b, c := entry("acme", "ops", 1), entry("acme", "ops", 2), Entry{ID: NewID(), Actor: "ops", Action: GateOff, Feature: "api"}
	ok(t, l.Write(t.Context(), []Entry{a, b, c}))
	l.Mark(t.Context(), []Outcome{{a, Failed}, {c, Unknown}})
	ok(t, l.Write(t.Context(), []Entry{entry("acme", "ops", 3)}))
	for _, limit := range []int{1, 10} {
		list := all(t, l, Query{Limit: limit})
		if list[0].Result != "" || list[1].Result != Unknown || list[2].Result != "" || list[3].Result != Failed {
			t.Errorf("%+v", list)
		}
	}
	if list := all(t, l, Query{Customer: "acme", Limit: 1}); list[2].Result != Failed || list[1].Result != "" {
		t.Errorf("%+v", list)
	}
}

// What cannot be written is refused, whatever keeps it from being written.
func TestWriteIsRefused(t *testing.T) {
	t.Parallel()
	for name, spoil := range map[string]func(context.Context, jetstream.JetStream) error{
		"deleted": func(ctx context.Context, js jetstream.JetStream) error { return js.DeleteStream(ctx, "acme_AUDIT") },
		"full": func(ctx context.Context, js jetstream.JetStream) error {
			return change(ctx, js, func(c *jetstream.StreamConfig) { c.MaxMsgs = 1 })
		},
		"sealed": func(ctx context.Context, js jetstream.JetStream) error {
			return change(ctx, js, func(c *jetstream.StreamConfig) { c.Sealed = true })
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			l, js := newLog(t)
			ok(t, l.Write(t.Context(), []Entry{entry("acme", "ops", 1)}))
			ok(t, spoil(t.Context(), js))
			if err := l.Write(t.Context(), []Entry{entry("acme", "ops", 2)}); !errors.Is(err, ErrNotWritten) || ResultOf(err) != Failed {
				t.Errorf("%v", err)
			}
			if err := l.TakeOver(t.Context(), "config", Settings{}); !errors.Is(err, ErrNotWritten) {
				t.Errorf("%v", err)
			}
		})
	}
}

func change(ctx context.Context, js jetstream.JetStream, f func(*jetstream.StreamConfig)) error {
	s, err := js.Stream(ctx, "acme_AUDIT")
	if err != nil {
		return err
	}
	cfg := s.CachedInfo().Config
	f(&cfg)
	_, err = js.UpdateStream(ctx, cfg)
	return err
}

// Some of the entries fit, the stream is full: those that were stored are failed.
func TestPartlyWritten(t *testing.T) {
	t.Parallel()
	l, js := newLog(t)
	ok(t, change(t.Context(), js, func(c *jetstream.StreamConfig) { c.MaxMsgsPerSubject, c.DiscardNewPerSubject = 1, true }))
	list := []Entry{{ID: NewID(), Actor: "ops", Action: CustomerErase, Customer: "a"}, {ID: NewID(), Actor: "ops", Action: CustomerErase, Customer: "a"}}
	if err := l.Write(t.Context(), list); !errors.Is(err, ErrNotWritten) {
		t.Errorf("%v", err)
	}
	if got := all(t, l, Query{Limit: 10}); len(got) != 1 || got[0].Result != Failed {
		t.Errorf("%+v", got)
	}
}

func TestNewerFormatIsRefused(t *testing.T) {
	t.Parallel()
	l, js := newLog(t)
	_, err := js.Publish(t.Context(), "acme.audit.entry.acme", []byte(`{"v":2,"id":"x","actor":"ops","action":"customer.plan"}`))
	ok(t, err)
	if _, err := l.Read(t.Context(), Query{Limit: 1}); err == nil || !strings.Contains(err.Error(), "newer") {
		t.Errorf("%v", err)
	}
}

// The bytes of format 1, which later versions must read.
func TestFormat1(t *testing.T) {
	t.Parallel()
	l, js := newLog(t)
	for _, m := range [][2]string{
		{"detail.acme", `{"v":1,"id":"x","before":null,"after":{"limit":5},"reason":"r"}`},
		{"entry.acme", `{"v":1,"id":"x","actor":"ops","action":"customer.override","customer":"acme","feature":"api","detail":1}`},
		{"result.acme", `{"v":1,"id":"x","result":"failed"}`},
		{"entry.~gate", `{"v":1,"id":"y","actor":"ops","action":"gate.off","feature":"api","before":{"off":false},"after":{"off":true},"reason":"fire"}`},
	} {
		_, err := js.Publish(t.Context(), "acme.audit."+m[0], []byte(m[1]))
		ok(t, err)
	}
	list := all(t, l, Query{Limit: 10})
	for i := range list {
		list[i].At = time.Time{}
	}
	want := `[{"id":"y","actor":"ops","action":"gate.off","feature":"api","before":{"off":false},"after":{"off":true},"reason":"fire"},` +
		`{"id":"x","actor":"ops","action":"customer.override","customer":"acme","feature":"api","before":null,"after":{"limit":5},"reason":"r","result":"failed"}]`
	if got := string(Value(list)); got != want {
		t.Errorf("%s\nwant\n%s", got, want)
	}
}

func TestKeep(t *testing.T) {
	t.Parallel()
	l, js := newLog(t)
	ok(t, l.Keep(t.Context(), 48*time.Hour))
	ok(t, l.Keep(t.Context(), 48*time.Hour))
	s, err := js.Stream(t.Context(), "acme_AUDIT")
	ok(t, err)
	if age := s.CachedInfo().Config.MaxAge; age != 48*time.Hour {
		t.Errorf("kept for %s", age)
	}
}

func TestActor(t *testing.T) {
	t.Parallel()
	for user, want := range map[string]string{
		"": "ops", "  ": "ops", "ada@host": "ops (ada@host)", "x) other (y": "ops (x other y)", "a\nb\x1b[31m": "ops (ab[31m)", "\u202eada": "ops (ada)",
	} {
		if got := Actor("ops", user); got != want {
			t.Errorf("%q: %q, want %q", user, got, want)
		}
	}
	rapid.Check(t, func(t *rapid.T) {
		got := Actor("ops", rapid.String().Draw(t, "user"))
		if !by(got, "ops") || by(got, "other") || len([]rune(got)) > maxUser+6 || !utf8.ValidString(got) || strings.Count(got, "(") > 1 {
			t.Fatalf("%q", got)
		}
	})
}
