package client

import (
	"encoding/json"
	"strconv"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidegate-io/tidegate/events"
)

// The permissions that the package's documentation names are enough, also for
// more decisions than fit into one round of flow control.
func TestDocumentedPermissionsAreEnough(t *testing.T) {
	t.Parallel()
	app := &server.Permissions{
		Publish: &server.SubjectPermission{Allow: []string{
			"usage.p.*.~batch", "account.in.*", "$JS.API.STREAM.INFO.KV_decisions", "$JS.API.CONSUMER.CREATE.KV_decisions.>",
			"$JS.API.CONSUMER.DELETE.KV_decisions.>", "$JS.FC.KV_decisions.>",
		}},
		Subscribe: &server.SubjectPermission{Allow: []string{"_INBOX_app.>"}},
	}
	srv, err := server.NewServer(&server.Options{
		Host: "127.0.0.1", Port: -1, JetStream: true, StoreDir: t.TempDir(), NoLog: true, NoSigs: true,
		Users: []*server.User{{Username: "admin", Password: "a"}, {Username: "app", Password: "b", Permissions: app}},
	})
	if err != nil {
		t.Fatal(err)
	}
	srv.Start()
	t.Cleanup(func() { srv.Shutdown(); srv.WaitForShutdown() })
	if !srv.ReadyForConnections(10 * time.Second) {
		t.Fatal("the server did not start")
	}
	admin, err := nats.Connect(srv.ClientURL(), nats.UserInfo("admin", "a"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(admin.Close)
	js, err := jetstream.New(admin)
	if err != nil {
		t.Fatal(err)
	}
	for name, subject := range map[string]string{"USAGE": "usage.p.*.*", "ACCOUNT": "account.in.*"} {
		if _, err := js.CreateStream(t.Context(), jetstream.StreamConfig{Name: name, Subjects: []string{subject}}); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "decisions"}); err != nil {
		t.Fatal(err)
	}
	putMany(t, js, 30_000)

	denied := make(chan error, 100)
	nc, err := nats.Connect(srv.ClientURL(), nats.UserInfo("app", "b"), nats.CustomInboxPrefix("_INBOX_app"),
		nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { denied <- err }))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	c, err := New(nc)
	if err != nil {
		t.Fatal(err)
	}
	within(t, c.Synced())
	if d := c.Check("29999", "api"); d.Plan != "pro" {
		t.Errorf("the last decision: %+v", d)
	}
	if err := c.RecordAck(t.Context(), Usage{Customer: "a", Event: "api"}); err != nil {
		t.Error(err)
	}
	if err := c.Identify(t.Context(), Customer{ID: "a", Email: "a@acme.example"}); err != nil {
		t.Error(err)
	}
	if err := c.Close(t.Context()); err != nil {
		t.Error(err)
	}
	select {
	case err := <-denied:
		t.Error(err)
	default:
	}
}

// putMany puts the gates and n decisions.
func putMany(t *testing.T, js jetstream.JetStream, n int) {
	t.Helper()
	publish := func(key string, v any) {
		body, err := json.Marshal(v)
		if err == nil {
			_, err = js.PublishAsync("$KV.decisions."+key, body, jetstream.WithStallWait(10*time.Second))
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	publish(events.GatesKey, events.Gates{Partitions: partitions, DefaultPlan: "free", Gates: []events.Gate{apiGate(10)}})
	for i := range n {
		publish(events.DecisionKey(strconv.Itoa(i), "api"), allowed(strconv.Itoa(i)))
	}
	within(t, js.PublishAsyncComplete())
}
