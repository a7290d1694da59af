package e2e

import (
	"errors"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidegate-io/tidegate/client"
	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/permissions"
	"github.com/tidegate-io/tidegate/internal/test/sample"
	"github.com/tidegate-io/tidegate/internal/test/testmongo"
	"github.com/tidegate-io/tidegate/internal/test/testnats"
	"github.com/tidegate-io/tidegate/internal/test/testprocess"
	"github.com/tidegate-io/tidegate/internal/test/wait"
)

// TestNATSUsers runs each role as its own NATS user, apps as theirs and the commands as
// the operator. Nobody may do more than it needs, and all of it works.
func TestNATSUsers(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		name, namespace string
		processes       []string
	}{
		{"a user for each role", "t1", strings.Split(everyRole, ",")},
		{"one user, no namespace", "", []string{everyRole}},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			in := newInstallation(t, testmongo.URI(t))
			in.namespace = c.namespace
			if c.namespace == "" {
				if err := os.WriteFile(in.config, []byte(strings.Replace(production, "namespace: t1\n", "", 1)), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			worksWithUsers(t, in, c.processes)
		})
	}
}

var passwords = regexp.MustCompile(`\$NATS_(\w+)_PASSWORD`)

func worksWithUsers(t *testing.T, in *installation, processes []string) {
	o := permissions.Options{Names: events.Names{Namespace: in.namespace}}
	srv := testnats.StartWith(t, passwords.ReplaceAllString(permissions.Format(o.Accounts()), "secret"))
	in.nats = srv.URL
	running := map[string]*testprocess.Process{}
	start := func() {
		for _, roles := range processes {
			kind := roles
			if roles == everyRole {
				kind = permissions.RoleAll
			}
			in.env = userEnv(t, o, kind)
			running[kind] = in.serve(roles)
		}
	}
	stop := func() {
		for kind, p := range running {
			if code := p.Interrupt(); code != exitOK {
				t.Errorf("%s: exit %d", kind, code)
			}
			if logged := p.Stderr.String(); strings.Contains(strings.ToLower(logged), "permissions violation") {
				t.Errorf("%s lacks a permission:\n%s", kind, logged)
			}
		}
	}
	start()
	in.ready()

	violations := make(chan error, 100)
	app := in.app(userConnection(t, in, o, permissions.App, violations))
	if err := app.Identify(t.Context(), client.Customer{ID: "acme", Email: "ada@acme.example"}); err != nil {
		t.Fatal(err)
	}
	for range 4 {
		if err := app.RecordAck(t.Context(), client.Usage{Customer: "acme", Event: "api"}); err != nil {
			t.Fatal(err)
		}
	}
	in.uses("acme", 4)
	reports(t, in, o, violations)
	in.uses("acme", 10)
	sees(t, app, "acme", false)
	isMailedOnce(t, in)
	in.must("gate", "off", "api")
	sees(t, app, "acme", true)
	in.must("gate", "on", "api")
	sees(t, app, "acme", false)

	in.gateway.env = userEnv(t, o, permissions.Operator)
	operates(t, in)
	stop()
	start() // it takes the partitions over from their logs
	in.ready()
	for range 2 {
		if err := app.RecordAck(t.Context(), client.Usage{Customer: "late", Event: "api"}); err != nil {
			t.Fatal(err)
		}
	}
	in.uses("late", 2)
	stop()
	select {
	case err := <-violations:
		t.Error(err)
	default:
	}
}

// operates runs the commands that connect to NATS.
func operates(t *testing.T, in *installation) {
	t.Helper()
	history := filepath.Join(in.dir, "history.ndjson")
	event := `{"type":"api","subject":"old","id":"1","time":"` + time.Now().Add(-40*24*time.Hour).Format(time.RFC3339) + `"}`
	if err := os.WriteFile(history, []byte(event+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	in.must("import", history)
	in.must("dead")
	in.must("replay")
	in.must("verify")
	if code, _, stderr := in.command("", "stripe", "sync"); code != 2 || !strings.Contains(stderr, "STRIPE_SECRET_KEY") {
		t.Errorf("stripe sync: exit %d: %s", code, stderr)
	}
	var findings []finding
	in.decoded(&findings, "doctor")
	for _, f := range findings {
		if f.State == stateFailed {
			t.Errorf("doctor: %+v", f)
		}
	}
}

// userEnv is the environment of a process that connects as a user.
func userEnv(t *testing.T, o permissions.Options, kind string) []string {
	t.Helper()
	if _, ok := o.Of(kind); !ok {
		t.Fatalf("%s is no kind of users", kind)
	}
	return []string{"NATS_USER=" + permissions.UserName(o.Names, kind), "NATS_PASSWORD=secret", "NATS_INBOX_PREFIX=" + permissions.Inbox(o.Names, kind)}
}

// userConnection connects as an app does.
func userConnection(t *testing.T, in *installation, o permissions.Options, kind string, violations chan<- error) *nats.Conn {
	t.Helper()
	env := map[string]string{"NATS_URL": in.nats}
	for _, v := range userEnv(t, o, kind) {
		name, value, _ := strings.Cut(v, "=")
		env[name] = value
	}
	how, err := client.FromEnvironment(func(name string) string { return env[name] })
	if err != nil {
		t.Fatal(err)
	}
	nc, err := how.Connect(nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { violations <- err }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	return nc
}

// reports publishes six uses without Tidegate's client.
func reports(t *testing.T, in *installation, o permissions.Options, violations chan<- error) {
	t.Helper()
	nc := userConnection(t, in, o, permissions.Reporter, violations)
	wait.Until(t, "the reporter's connection", func() error {
		if !nc.IsConnected() {
			return errors.New("it is not connected")
		}
		return nil
	})
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	for _, e := range sample.Events("acme", "reporter", 6) {
		if _, err := js.Publish(t.Context(), o.Names.UsageIn("acme"), []byte(e)); err != nil {
			t.Fatal(err)
		}
	}
}
