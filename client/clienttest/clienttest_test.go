package clienttest_test

import (
	"errors"
	"testing"

	"go.uber.org/goleak"

	"github.com/tidegate-io/tidegate/client"
	"github.com/tidegate-io/tidegate/client/clienttest"
	"github.com/tidegate-io/tidegate/events"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestServer(t *testing.T) {
	t.Parallel()
	s := clienttest.New(t, []events.Gate{clienttest.Gate("api", 2)})
	c := s.Client
	if !c.Ready() {
		t.Fatal("the client is not synced")
	}
	s.Block("bob", "api", 2)
	if c.Check("bob", "api").Allowed {
		t.Error("bob is not blocked")
	}
	s.Allow("bob", "api")
	if !c.Check("bob", "api").Allowed {
		t.Error("bob is blocked")
	}
	for range 2 {
		if err := c.Record(t.Context(), client.Usage{Customer: "ann", Event: "api"}); err != nil {
			t.Fatal(err)
		}
	}
	if c.Check("ann", "api").Allowed {
		t.Error("ann is not counted down")
	}
	if list := s.Recorded(); len(list) != 2 || list[0].Subject != "ann" {
		t.Errorf("recorded: %v", list)
	}
	if err := c.Identify(t.Context(), client.Customer{ID: "ann", Email: "ann@acme.example"}); err != nil {
		t.Fatal(err)
	}
	if list := s.Identified(); len(list) != 1 || *list[0].Email != "ann@acme.example" {
		t.Errorf("identified: %v", list)
	}
	away := errors.New("away")
	s.Fail(away)
	if err := c.Identify(t.Context(), client.Customer{ID: "ann"}); !errors.Is(err, away) {
		t.Errorf("failing: %v", err)
	}
}
