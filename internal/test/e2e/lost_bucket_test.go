package e2e

import (
	"fmt"
	"testing"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidegate-io/tidegate/client"
	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/test/sample"
	"github.com/tidegate-io/tidegate/internal/test/testmongo"
	"github.com/tidegate-io/tidegate/internal/test/wait"
)

// TestTheBucketOfDecisionsIsLost: an app and /v1/check agree again, without a restart of
// anything, after the bucket was purged or deleted.
func TestTheBucketOfDecisionsIsLost(t *testing.T) {
	t.Parallel()
	in := newInstallation(t, testmongo.URI(t))
	in.startNATS()
	in.serve(everyRole)
	in.ready()
	nc, err := nats.Connect(in.nats)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	app, err := client.New(nc, client.Namespace(in.namespace))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = app.Close(t.Context()) })
	in.post("application/x-ndjson", sample.Lines(sample.Events("acme", "e", 12)), 12)
	in.decides("acme", events.LimitReached, 12)
	bucket := events.Names{Namespace: in.namespace}.Bucket(events.BucketDecisions)
	for name, lose := range map[string]func() error{
		"purged": func() error {
			s, err := js.Stream(t.Context(), "KV_"+bucket)
			if err != nil {
				return err
			}
			return s.Purge(t.Context())
		},
		"deleted": func() error { return js.DeleteKeyValue(t.Context(), bucket) },
	} {
		blocked(t, app, name+": before")
		if err := lose(); err != nil {
			t.Fatal(err)
		}
		wait.Until(t, name+": the bucket has the decision", func() error {
			kv, err := js.KeyValue(t.Context(), bucket)
			if err != nil {
				return err
			}
			_, err = kv.Get(t.Context(), events.DecisionKey("acme", "api"))
			return err
		})
		blocked(t, app, name+": after")
		in.decides("acme", events.LimitReached, 12)
	}
}

func blocked(t *testing.T, app *client.Client, when string) {
	t.Helper()
	wait.Until(t, when, func() error {
		if d := app.Check("acme", "api"); d.Allowed || d.Reason != events.LimitReached {
			return fmt.Errorf("the app has %+v", d)
		}
		return nil
	})
}
