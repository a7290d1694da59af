package events_test

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/tidegate-io/tidegate/events"
)

// TestPartitionIsThatOfTheServer publishes for 200 customers to a real server
// whose subject mapping partitions them, and compares where they arrive.
func TestPartitionIsThatOfTheServer(t *testing.T) {
	const partitions = 32
	srv, err := server.NewServer(&server.Options{Host: "127.0.0.1", Port: -1, NoLog: true, NoSigs: true})
	if err != nil {
		t.Fatal(err)
	}
	dest := fmt.Sprintf("usage.p.{{partition(%d,1)}}.{{wildcard(1)}}", partitions)
	if err := srv.GlobalAccount().AddMapping("usage.in.*", dest); err != nil {
		t.Fatal(err)
	}
	srv.Start()
	t.Cleanup(func() { srv.Shutdown(); srv.WaitForShutdown() })
	nc, err := nats.Connect(srv.ClientURL())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(nc.Close)
	sub, err := nc.SubscribeSync("usage.p.>")
	if err != nil {
		t.Fatal(err)
	}
	r := rand.New(rand.NewPCG(1, 2))
	names := events.Names{}
	for i := range 200 {
		id := customerID(r, i)
		if err := nc.Publish(names.UsageIn(id), nil); err != nil {
			t.Fatal(err)
		}
		m, err := sub.NextMsg(10 * time.Second)
		if err != nil {
			t.Fatal(err)
		}
		if want := names.Usage(events.PartitionOf(id, partitions), events.Token(id)); m.Subject != want {
			t.Errorf("customer %q arrives at %s, want %s", id, m.Subject, want)
		}
	}
}

func customerID(r *rand.Rand, i int) string {
	alphabet := []rune([]string{"abcXYZ019_-", "@. /+=~*>", "éßñ客户🎉", "a.b@ü"}[i%4])
	var b strings.Builder
	for range 1 + r.IntN(20) {
		b.WriteRune(alphabet[r.IntN(len(alphabet))])
	}
	return b.String()
}
