package permissions

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/stream"
	"github.com/tidegate-io/tidegate/internal/test/testnats"
)

func TestMain(m *testing.M) { testnats.Main(m) }

// site is a server with the accounts of an installation, and an administrator in each.
type site struct {
	*testnats.Server
	t     *testing.T
	o     Options
	admin *nats.Conn
	js    jetstream.JetStream // the administrator's
}

const partitions = 2

func newSite(t *testing.T, namespace string) *site {
	t.Helper()
	o := Options{Names: events.Names{Namespace: namespace}}
	config := regexp.MustCompile(`\$NATS_\w+_PASSWORD`).ReplaceAllString(Format(o.Accounts()), "secret")
	config = strings.Replace(config, "users: [", "users: [\n{user: admin, password: secret}", 1)
	s := &site{Server: testnats.StartWith(t, config), t: t, o: o}
	s.admin = s.Connect(t, nats.UserInfo("admin", "secret"))
	var err error
	if s.js, err = jetstream.New(s.admin); err != nil {
		t.Fatal(err)
	}
	if _, err := stream.Ensure(t.Context(), s.js, stream.Layout{Names: o.Names, Partitions: partitions}); err != nil {
		t.Fatal(err)
	}
	return s
}

// user is a connection of a kind of user that notes what is denied.
type user struct {
	*nats.Conn
	t    *testing.T
	kind string
	last error // that the server has told
}

// forBothNamespaces calls f with the streams and users of none and of a namespace.
func forBothNamespaces(t *testing.T, f func(*site)) {
	t.Helper()
	for _, ns := range []string{"", "acme"} {
		t.Run(ns, func(t *testing.T) {
			t.Parallel()
			f(newSite(t, ns))
		})
	}
}

func (s *site) user(kind string) *user {
	s.t.Helper()
	return &user{t: s.t, kind: kind, Conn: s.Connect(s.t, nats.UserInfo(UserName(s.o.Names, kind), "secret"),
		nats.CustomInboxPrefix(Inbox(s.o.Names, kind)), nats.ErrorHandler(func(*nats.Conn, *nats.Subscription, error) {}))}
}

// wasDenied reports whether the server denied what was sent before.
func (u *user) wasDenied() bool {
	u.t.Helper()
	if err := u.FlushTimeout(10 * time.Second); err != nil {
		u.t.Fatal(err)
	}
	err := u.LastError() // the server says it before it answers the flush
	if err == u.last {   //nolint:errorlint // whether it is the same one
		return false
	}
	if u.last = err; !errors.Is(err, nats.ErrPermissionViolation) {
		u.t.Fatal(err)
	}
	return true
}

// holdings says what is in all streams: a number that grows with each message, and one
// that tells a changed configuration.
func (s *site) holdings() map[string]string {
	s.t.Helper()
	all := map[string]string{}
	for info := range s.js.ListStreams(s.t.Context()).Info() {
		config, err := json.Marshal(info.Config)
		if err != nil {
			s.t.Fatal(err)
		}
		all[info.Config.Name] = fmt.Sprintf("%d of %d messages, %d consumers, %s", info.State.Msgs, info.State.LastSeq, info.State.Consumers, config)
	}
	return all
}

// changed names the streams that differ.
func changed(before, after map[string]string) (names []string) {
	for name := range after {
		if before[name] != after[name] {
			names = append(names, name)
		}
	}
	for name := range before {
		if _, ok := after[name]; !ok {
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// publishing says who may publish what, and where it is stored.
var publishing = []struct{ subject, stream, who string }{
	{"usage.in.a", "USAGE", "app reporter"},
	{"usage.p.0.~batch", "USAGE", "app tidegate ingest"},
	{"usage.p.0.~import", "USAGE", "operator"},
	{"usage.p.0.~control", "USAGE", "tidegate aggregator enforcer"},
	{"usage.p.0.a", "", ""},
	{"usage.p.0.in.a", "", ""},
	{"account.in.a", "ACCOUNT", "app"},
	{"account.0", "ACCOUNT", "tidegate ingest enforcer"},
	{"billing.stripe", "BILLING", "tidegate ingest enforcer"},
	{"billing.map", "BILLING", "tidegate ingest"},
	{"billing.fetched", "BILLING", "tidegate enforcer operator"},
	{"state.aggregator.0.log", "STATE", "tidegate aggregator"},
	{"state.enforcer.0.log", "STATE", "tidegate enforcer"},
	{"state.billing.0.log", "STATE", "tidegate enforcer"},
	{"state.stripe.0.log", "STATE", "tidegate enforcer"},
	{"state.notifier.0.log", "STATE", "tidegate notifier"},
	{"state.stripe-sync.0.log", "STATE", "operator"},
	{"seen.0", "SEEN", "tidegate aggregator"},
	{"windows.0", "WINDOWS", "tidegate aggregator"},
	{"limits.0", "LIMITS", "tidegate enforcer"},
	{"dead.0", "DEAD", "tidegate aggregator enforcer notifier"},
	{"audit.entry.a", "AUDIT", "tidegate ingest"},
	{"audit.entry.~config", "AUDIT", "tidegate ingest aggregator enforcer notifier"},
	{"audit.detail.a", "AUDIT", "tidegate ingest"},
	{"decisions.a.api", "", ""},
	{"query.aggregator.0.resend", "", "tidegate ingest enforcer operator"},
	{"query.enforcer.0.standing", "", "tidegate ingest operator"},
	{"elsewhere", "", ""},
}

// putting says who may put what into buckets, whose subjects have no namespace.
var putting = []struct{ bucket, key, who string }{
	{events.BucketDecisions, "a.api", "tidegate enforcer"},
	{events.BucketDecisions, events.GatesKey, "tidegate enforcer"},
	{events.BucketOwners, "aggregator.0", "tidegate aggregator enforcer notifier"},
}

func TestWhoMayPublish(t *testing.T) {
	t.Parallel()
	forBothNamespaces(t, func(s *site) {
		for _, kind := range Kinds() {
			u := s.user(kind)
			for _, p := range publishing {
				s.publishes(u, s.o.Names.Subject(p.subject), s.streamOf(p.stream), may(p.who, kind))
			}
			for _, p := range putting {
				bucket := s.o.Names.Bucket(p.bucket)
				s.publishes(u, "$KV."+bucket+"."+p.key, "KV_"+bucket, may(p.who, kind))
			}
		}
	})
}

func (s *site) streamOf(base string) string {
	if base == "" {
		return ""
	}
	return s.o.Names.Stream(base)
}

func may(who, kind string) bool { return slices.Contains(strings.Fields(who), kind) }

// publishes lets a user publish, and checks that it is stored where it should be, or
// denied and stored nowhere.
func (s *site) publishes(u *user, subject, stream string, allowed bool) {
	s.t.Helper()
	before := s.holdings()
	if allowed && stream != "" {
		js, err := jetstream.New(u.Conn)
		if err != nil {
			s.t.Fatal(err)
		}
		if _, err := js.Publish(s.t.Context(), subject, []byte("{}")); err != nil {
			s.t.Errorf("%s, %s: %v", u.kind, subject, err)
		}
	} else if err := u.PublishRequest(subject, u.NewInbox(), []byte("{}")); err != nil {
		s.t.Fatal(err)
	}
	if u.wasDenied() == allowed {
		s.t.Errorf("%s may publish to %s: %v, want %v", u.kind, subject, !allowed, allowed)
	}
	want := []string{stream}
	if !allowed || stream == "" {
		want = nil
	}
	if got := changed(before, s.holdings()); !slices.Equal(got, want) {
		s.t.Errorf("%s publishes to %s: %v have changed, want %v", u.kind, subject, got, want)
	}
}

// subscribing says who may subscribe to what.
var subscribing = []struct{ subject, who string }{
	{"usage.in.>", ""}, {"usage.>", ""}, {"account.>", ""}, {"billing.>", ""}, {"state.>", ""}, {"seen.*", ""}, {"windows.*", ""}, {"limits.*", ""},
	{"dead.*", ""}, {"audit.>", ""},
	{"decisions.>", "app tidegate ingest"},
	{"decisions.a.api", "app tidegate ingest"},
	{"query.>", ""},
	{"query.aggregator.0.*", "tidegate aggregator"},
	{"query.enforcer.0.*", "tidegate enforcer"},
	{"query.billing.0.*", "tidegate enforcer"},
	{"query.notifier.0.*", "tidegate notifier"},
}

func TestWhoMaySubscribe(t *testing.T) {
	t.Parallel()
	forBothNamespaces(t, func(s *site) {
		for _, kind := range Kinds() {
			u := s.user(kind)
			for _, r := range subscribing {
				s.subscribes(u, s.o.Names.Subject(r.subject), may(r.who, kind))
			}
			for _, subject := range []string{">", "*", "*.>", "_INBOX.>", "$KV.>", "$JS.>", "$JS.API.>", "$JS.EVENT.>", "$SYS.>"} {
				s.subscribes(u, subject, false)
			}
			for _, other := range Kinds() {
				s.subscribes(u, Inbox(s.o.Names, other)+".>", other == kind)
			}
		}
	})
}

func (s *site) subscribes(u *user, subject string, allowed bool) {
	s.t.Helper()
	sub, err := u.SubscribeSync(subject)
	if err != nil {
		s.t.Fatal(err)
	}
	if u.wasDenied() == allowed {
		s.t.Errorf("%s may subscribe to %s: %v, want %v", u.kind, subject, !allowed, allowed)
	}
	_ = sub.Unsubscribe()
}

// TestEachUserHasAPassword: two namespaces on one server share none.
func TestEachUserHasAPassword(t *testing.T) {
	t.Parallel()
	whose := map[string]string{}
	for _, ns := range []string{"", "a", "A", "a-b", "a_b", "a--b", "a-_b", "aub", "aUb", "a-app", "xa", "-", "_", "u", "x", "X", "a1", "prod", "Prod", "PROD"} {
		for _, kind := range Kinds() {
			user := UserName(events.Names{Namespace: ns}, kind)
			name := Password(user)
			if other, taken := whose[name]; taken || !regexp.MustCompile(`^NATS_\w+_PASSWORD$`).MatchString(name) {
				t.Errorf("%s and %s have %s", user, other, name)
			}
			whose[name] = user
		}
	}
	if got := Password("acme-prod-app"); got != "NATS_ACME_PROD_APP_PASSWORD" {
		t.Error(got)
	}
}
