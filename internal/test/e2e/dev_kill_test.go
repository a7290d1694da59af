package e2e

import (
	"context"
	"fmt"
	"testing"

	"github.com/tidegate-io/tidegate/client"
	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/test/sample"
	"github.com/tidegate-io/tidegate/internal/test/wait"
)

// TestKilledWhileSending kills the process between acknowledgements. Events that are sent
// again count once, and acknowledged events are not lost.
func TestKilledWhileSending(t *testing.T) {
	t.Parallel()
	d := newDevelopment(t, "")
	const batches, each = 60, 5
	acknowledged := make(chan struct{}, batches)
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	sent := make(chan int)
	go func() {
		n := 0
		for ; n < batches && ctx.Err() == nil; n++ {
			status, _, err := d.request("POST", "/v1/events", "application/json", sample.Array(sample.Events("acme", fmt.Sprint("b", n), each)))
			if err != nil || status != 202 {
				break
			}
			acknowledged <- struct{}{}
		}
		sent <- n
	}()
	for range 20 {
		<-acknowledged
	}
	d.Kill()
	n := <-sent
	d.start()
	wait.Until(t, "what was acknowledged is counted", func() error {
		if used := d.used("acme"); used < int64(n*each) { // unacknowledged events may be there too
			return fmt.Errorf("%d of %d", used, n*each)
		}
		return nil
	})
	for i := range batches {
		d.post("application/json", sample.Array(sample.Events("acme", fmt.Sprint("b", i), each)), each)
	}
	d.uses("acme", batches*each)
	d.must("verify")
	var v customerView
	d.decoded(&v, "usage", "acme")
	if v.Usage[0].Used != events.Count(batches*each) {
		t.Errorf("usage is %+v", v.Usage)
	}
}

// TestAppOutlivesTidegate records uses without ids while the process is killed and
// started again, over NATS and over HTTP.
func TestAppOutlivesTidegate(t *testing.T) {
	t.Parallel()
	d := newDevelopment(t, "")
	web, err := client.NewHTTP(d.http, d.key, client.Source("web"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = web.Close(context.Background()) })
	apps := map[string]*client.Client{"acme": d.app(d.connect()), "globex": web}
	wait.Until(t, "the client over HTTP is synced", func() error {
		if !web.Ready() {
			return fmt.Errorf("it is not")
		}
		return nil
	})
	const uses = 3000
	recorded := make(chan error, 2*uses)
	for customer, app := range apps {
		go func() {
			for range uses {
				recorded <- app.Record(t.Context(), client.Usage{Customer: customer, Event: "api"})
			}
		}()
	}
	for i := range 2 * uses {
		if err := <-recorded; err != nil {
			t.Fatalf("use %d: %v", i, err)
		}
		if i == uses/3 {
			d.Kill()
			for customer, app := range apps {
				if decision := app.Check("other", "api"); !decision.Allowed {
					t.Errorf("without Tidegate the app of %s decides %+v", customer, decision)
				}
			}
			d.start()
		}
	}
	for customer, app := range apps {
		if err := app.Flush(t.Context()); err != nil {
			t.Fatal(err)
		}
		d.uses(customer, uses)
		sees(t, app, customer, false)
	}
	d.must("dev", "upgrade", "globex", "--data", d.data())
	sees(t, web, "globex", true)
	d.must("verify")
}
