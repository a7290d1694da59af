package permissions

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/records"
)

// readers says who may read each stream, by consumers and direct gets.
var readers = map[string]string{
	"USAGE":     "tidegate aggregator operator",
	"STATE":     "tidegate aggregator enforcer notifier operator backup",
	"SEEN":      "tidegate aggregator operator",
	"WINDOWS":   "tidegate enforcer operator",
	"BILLING":   "tidegate enforcer operator",
	"ACCOUNT":   "tidegate enforcer notifier operator",
	"LIMITS":    "tidegate notifier operator",
	"DEAD":      "tidegate aggregator enforcer notifier operator",
	"AUDIT":     "tidegate ingest operator",
	"decisions": "tidegate ingest enforcer notifier operator",
	"owners":    "tidegate ingest aggregator enforcer notifier operator",
}

const (
	everyRole = "tidegate ingest aggregator enforcer notifier"
	movers    = "tidegate aggregator enforcer"
)

// requests says who may send which request about a stream besides reading it.
func requests(base string) map[string]string {
	all := map[string]string{
		"STREAM.CREATE": everyRole, "STREAM.INFO": everyRole + " operator backup", "STREAM.UPDATE": movers,
		"STREAM.DELETE": "", "STREAM.PURGE": "", "STREAM.MSG.DELETE": "", "STREAM.SNAPSHOT": "backup", "STREAM.RESTORE": "backup",
		"STREAM.LEADER.STEPDOWN": "", "STREAM.PEER.REMOVE": "", "CONSUMER.NAMES": "", "CONSUMER.LIST": "",
	}
	switch base {
	case events.StreamState:
		all["STREAM.PURGE"] = "tidegate aggregator enforcer notifier operator"
	case events.StreamSeen:
		all["STREAM.MSG.DELETE"] = "tidegate aggregator"
	case events.StreamAudit:
		all["STREAM.PURGE"] = "tidegate ingest"
	case events.BucketOwners:
		all["STREAM.UPDATE"] = ""
		fallthrough
	case events.BucketDecisions: // are made again, not restored
		all["STREAM.SNAPSHOT"], all["STREAM.RESTORE"] = "", ""
	}
	return all
}

func TestWhoMayAskJetStream(t *testing.T) {
	t.Parallel()
	forBothNamespaces(t, func(s *site) {
		for _, kind := range Kinds() {
			u := s.user(kind)
			for base, who := range readers {
				s.asks(u, nameOf(s.o.Names, base), base, who)
			}
			for _, api := range []string{"STREAM.NAMES", "STREAM.LIST", "STREAM.CREATE.OTHER", "STREAM.INFO.OTHER", "ACCOUNT.PURGE.X", "META.LEADER.STEPDOWN"} {
				s.requests(u, api, "", false)
			}
			s.requests(u, "INFO", "", kind != App && kind != Reporter)
		}
	})
}

// nameOf returns the name of a stream, or that of a bucket's, which is in small letters.
func nameOf(n events.Names, base string) string {
	if base == strings.ToLower(base) {
		return "KV_" + n.Bucket(base)
	}
	return n.Stream(base)
}

// asks sends every request about a stream. Nothing may change: a request that is
// allowed is one that JetStream refuses.
func (s *site) asks(u *user, name, base, readers string) {
	s.t.Helper()
	before := s.holdings()
	for api, who := range requests(base) {
		s.requests(u, api+"."+name, "?", may(who, u.kind))
	}
	reads := may(readers, u.kind)
	for _, api := range []string{"CONSUMER.CREATE.%s.x", "CONSUMER.CREATE.%s.x.a.b", "CONSUMER.DELETE.%s.x", "CONSUMER.INFO.%s.x", "CONSUMER.MSG.NEXT.%s.x", "DIRECT.GET.%s.x"} {
		s.requests(u, fmt.Sprintf(api, name), "?", reads)
	}
	s.requests(u, "DIRECT.GET."+name, "?", reads || base == events.BucketDecisions && u.kind == App)
	s.requests(u, "STREAM.MSG.GET."+name, "?", reads || base == events.StreamAudit && may(everyRole, u.kind))
	s.requests(u, "CONSUMER.CREATE."+name, "?", false)
	s.requests(u, "CONSUMER.DURABLE.CREATE."+name+".x", "?", false)
	s.requests(u, "CONSUMER.PAUSE."+name+".x", "?", false)
	if got := changed(before, s.holdings()); len(got) > 0 {
		s.t.Errorf("%s changes %v", u.kind, got)
	}
}

func (s *site) requests(u *user, api, body string, allowed bool) {
	s.t.Helper()
	if err := u.PublishRequest("$JS.API."+api, u.NewInbox(), []byte(body)); err != nil {
		s.t.Fatal(err)
	}
	if u.wasDenied() == allowed {
		s.t.Errorf("%s may ask %s: %v, want %v", u.kind, api, !allowed, allowed)
	}
}

// TestEveryStreamIsInTheTable: who may read a new stream is decided, not forgotten.
func TestEveryStreamIsInTheTable(t *testing.T) {
	t.Parallel()
	s := newSite(t, "")
	var inTable, made []string
	for base := range readers {
		inTable = append(inTable, nameOf(s.o.Names, base))
	}
	for name := range s.js.StreamNames(t.Context()).Name() {
		made = append(made, name)
	}
	slices.Sort(inTable)
	slices.Sort(made)
	if !slices.Equal(inTable, made) {
		t.Errorf("the table has %v, Tidegate makes %v", inTable, made)
	}
}

// TestAnswersReachNoStream lets apps send each request that they may send, and lets its
// answer go to each subject that they may not publish to. In one account with the
// streams the answers would be stored there, as those of the operator are.
func TestAnswersReachNoStream(t *testing.T) {
	t.Parallel()
	s := newSite(t, "")
	put := "$KV.decisions." + events.DecisionKey("bob", "api")
	if _, err := s.js.Publish(t.Context(), put, []byte(`{"customer":"bob","feature":"api"}`)); err != nil {
		t.Fatal(err)
	}
	asked, err := s.admin.SubscribeSync("query.>")
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{App, Reporter} {
		u := s.user(kind)
		own, _ := s.o.Of(kind)
		targets := []string{put, "$KV.owners.aggregator.0", "$JS.API.STREAM.PURGE.STATE", "$JS.API.STREAM.DELETE.USAGE"}
		for _, p := range publishing {
			if p.who != "" && !may(p.who, kind) {
				targets = append(targets, p.subject)
			}
		}
		for _, target := range targets {
			got := s.answersTo(u, own.Publish, target)
			got = slices.DeleteFunc(got, func(name string) bool { return name == "USAGE" || name == "ACCOUNT" && kind == App })
			if len(got) > 0 {
				t.Errorf("%s lets the server write to %s: %v have changed", kind, target, got)
			}
		}
	}
	if n, _, err := asked.Pending(); err != nil || n > 0 {
		t.Errorf("%d questions were asked: %v", n, err)
	}
	if got := s.answersTo(s.user(Operator), []string{"usage.p.0.~import"}, "windows.0"); !slices.Contains(got, "WINDOWS") {
		t.Errorf("this test would not notice an answer in a stream: %v", got)
	}
}

// answers are the ways in which JetStream sends a stored message where the asker says.
// marked are those that leave a mark in what is stored there: see records.RefuseAnswer.
var answers = []struct {
	api, body string
	marked    bool
}{
	{"DIRECT.GET.%s", `{"seq":1}`, true},
	{"DIRECT.GET.%s", `{"seq":1,"batch":2}`, true},
	{"DIRECT.GET.%s", `{"last_by_subj":">"}`, true},
	{"DIRECT.GET.%s", `{"next_by_subj":">"}`, true},
	{"DIRECT.GET.%s", `{"multi_last":[">"]}`, true},
	{"DIRECT.GET.%s.>", ``, true},
	{"DIRECT.GET.%s", `{"seq":1,"no_hdr":true}`, false},
	{"CONSUMER.MSG.NEXT.%s.pulled", `1`, false}, // as is a push consumer
}

// TestAnswersToRolesAreMarked holds what SECURITY.md says about users in the account of
// the streams: what readers notice, and what they cannot.
func TestAnswersToRolesAreMarked(t *testing.T) {
	t.Parallel()
	s := newSite(t, "")
	for range 200 { // a pull takes one
		if _, err := s.js.Publish(t.Context(), "dead.0", []byte("forged")); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.js.CreateConsumer(t.Context(), "DEAD", jetstream.ConsumerConfig{Name: "pulled", AckPolicy: jetstream.AckNonePolicy}); err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{Aggregator, Enforcer, Notifier, Operator} {
		u := s.user(kind)
		for _, p := range publishing {
			if p.stream == "" || p.stream == "DEAD" || may(p.who, kind) || strings.Contains(p.subject, ".in.") {
				continue
			}
			for _, a := range answers {
				m := s.answer(u, fmt.Sprintf("$JS.API."+a.api, "DEAD"), a.body, p.subject)
				if marked := records.RefuseAnswer(m.Header, 0) != nil; marked != a.marked || string(m.Data) != "forged" {
					t.Errorf("%s, %s %s to %s: %q, marked: %v", kind, a.api, a.body, p.subject, m.Data, marked)
				}
			}
		}
	}
}

// answer lets an answer go to a subject, and returns the first message there.
func (s *site) answer(u *user, request, body, target string) *nats.Msg {
	s.t.Helper()
	sub, err := s.admin.SubscribeSync(target)
	if err != nil {
		s.t.Fatal(err)
	}
	defer func() { _ = sub.Unsubscribe() }()
	if err := s.admin.Flush(); err != nil {
		s.t.Fatal(err)
	}
	if err := u.PublishRequest(request, target, []byte(body)); err != nil {
		s.t.Fatal(err)
	}
	if u.wasDenied() {
		s.t.Errorf("%s may not ask %s: %v", u.kind, request, u.last)
	}
	m, err := sub.NextMsg(10 * time.Second)
	if err != nil {
		s.t.Fatal(request, err)
	}
	return m
}

// answersTo sends a request to each subject, lets the answers go to the target, and
// returns the streams that have changed.
func (s *site) answersTo(u *user, subjects []string, target string) []string {
	s.t.Helper()
	before := s.holdings()
	for _, subject := range subjects {
		subject = strings.NewReplacer("usage.p.*", "usage.p.0", "*", "a").Replace(subject)
		if err := u.PublishRequest(subject, target, []byte(`{"seq":1,"batch":10}`)); err != nil {
			s.t.Fatal(err)
		}
		// The newest servers refuse answers to JetStream itself.
		if u.wasDenied() && !strings.HasPrefix(target, "$JS.API.") {
			s.t.Errorf("%s may not publish to %s: %v", u.kind, subject, u.last)
		}
	}
	// Requests are answered in order, this one too.
	last := "usage.in.a"
	if u.kind == Operator {
		last = "usage.p.0.~import"
	}
	if _, err := u.Request(last, []byte("{}"), 10*time.Second); err != nil {
		s.t.Fatal(err)
	}
	return changed(before, s.holdings())
}

// TestHeadersGiveNoPower lets an app publish with headers that JetStream obeys.
func TestHeadersGiveNoPower(t *testing.T) {
	t.Parallel()
	s := newSite(t, "")
	u := s.user(App)
	if _, err := u.Request("usage.in.a", []byte("{}"), 10*time.Second); err != nil {
		t.Fatal(err)
	}
	trace, err := s.admin.SubscribeSync("state.aggregator.0.log")
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range []nats.Header{
		{"Nats-Rollup": {"all"}}, {"Nats-Rollup": {"sub"}}, {"Nats-TTL": {"1s"}}, {"Nats-Incr": {"+1"}},
		{"Nats-Schedule": {"@at 2020-01-01T00:00:00Z"}, "Nats-Schedule-Target": {"usage.p.0.~control"}},
		{"Nats-Batch-Id": {"x"}, "Nats-Batch-Sequence": {"1"}, "Nats-Batch-Commit": {"1"}},
		{"Nats-Trace-Dest": {"state.aggregator.0.log"}},
	} {
		before := s.holdings()
		m := &nats.Msg{Subject: "usage.in.b", Header: h, Data: []byte("{}"), Reply: u.NewInbox()}
		if err := u.PublishMsg(m); err != nil {
			t.Fatal(err)
		}
		u.wasDenied() // of a trace
		if _, err := u.Request("account.in.a", []byte("{}"), 10*time.Second); err != nil {
			t.Fatal(err)
		}
		got := slices.DeleteFunc(changed(before, s.holdings()), func(name string) bool { return name == "ACCOUNT" || name == "USAGE" })
		if len(got) > 0 {
			t.Errorf("%v: %v have changed", h, got)
		}
		usage, err := s.js.Stream(t.Context(), "USAGE")
		if err != nil {
			t.Fatal(err)
		}
		if _, err := usage.GetMsg(t.Context(), 1); err != nil {
			t.Errorf("%v: what was stored before: %v", h, err)
		}
	}
	if n, _, err := trace.Pending(); err != nil || n > 0 {
		t.Errorf("%d messages went to STATE: %v", n, err)
	}
}
