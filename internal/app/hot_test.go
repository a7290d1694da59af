package app

import (
	"context"
	"fmt"
	"strings"
	"testing"

	"github.com/nats-io/nats.go"

	"github.com/tidegate-io/tidegate/client"
	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/config"
	"github.com/tidegate-io/tidegate/internal/test/wait"
)

// narrow starts Tidegate with one partition and a limit, and an app's client.
func narrow(t testing.TB, limit string) (*App, *nats.Conn, *client.Client) {
	t.Helper()
	yaml := "partitions: 1\n" + strings.Replace(config.ExampleYAML, "free: 100", "free: "+limit, 1)
	cfg, err := config.Parse([]byte(yaml), nil)
	if err != nil {
		t.Fatal(err)
	}
	a, err := Start(context.Background(), Settings{Roles: []string{RoleAggregator, RoleEnforcer}}, cfg, nil)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { a.Stop(context.Background()) })
	nc, err := nats.Connect(a.NATS())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	c, err := client.New(nc, client.Source("app"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = c.Close(context.Background()) })
	<-c.Synced()
	return a, nc, c
}

// TestAHotCustomerStarvesNobody: of one partition's uses every other one is of
// the same customer. Everybody else is counted and blocked, and so is that one,
// with one document written for all of it in a second.
func TestAHotCustomerStarvesNobody(t *testing.T) {
	t.Parallel()
	a, _, c := narrow(t, "10")
	const others, each = 200, 10
	for n := range others * each {
		for _, customer := range []string{"hot", fmt.Sprint("org-", n%others)} {
			if err := c.Record(t.Context(), client.Usage{Customer: customer, Event: "api", ID: fmt.Sprint(n)}); err != nil {
				t.Fatal(err)
			}
		}
	}
	if err := c.Flush(t.Context()); err != nil {
		t.Fatal(err)
	}
	for n := range others {
		blocks(t, c, fmt.Sprint("org-", n))
	}
	blocks(t, c, "hot")
	for customer, want := range map[string]int64{"hot": others * each, "org-0": each, "org-199": each} {
		wait.Until(t, customer+" is documented", func() error {
			ws, err := a.store.Usage(t.Context(), customer)
			if err == nil && (len(ws) != 1 || ws[0].Used != events.Count(want)) {
				err = fmt.Errorf("%+v", ws)
			}
			return err
		})
	}
}

// blocks waits until the app's client knows that the customer is blocked.
func blocks(t testing.TB, c *client.Client, customer string) {
	t.Helper()
	wait.Until(t, customer+" is blocked", func() error {
		if d := c.Check(customer, "api"); d.Allowed {
			return fmt.Errorf("it says %+v", d)
		}
		return nil
	})
}
