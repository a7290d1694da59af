package stream

import (
	"context"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidegate-io/tidegate/internal/test/testnats"
)

// TestLeaseThatNeverExpires: a server may forget that a dead holder's key was
// to expire. A living one keeps its lease.
func TestLeaseThatNeverExpires(t *testing.T) {
	t.Parallel()
	js := testnats.Start(t).JetStream(t)
	kv, err := js.CreateKeyValue(t.Context(), jetstream.KeyValueConfig{Bucket: "owners", LimitMarkerTTL: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := kv.Put(t.Context(), "role.0", []byte("dead")); err != nil { // without a TTL
		t.Fatal(err)
	}
	const ttl = time.Second
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	l, err := Acquire(ctx, js, kv, "role.0", "living", ttl)
	if err != nil {
		t.Fatalf("a dead holder's lease was not taken: %v", err)
	}
	defer l.Release(context.Background())
	short, stop := context.WithTimeout(t.Context(), 4*ttl)
	defer stop()
	if _, err := Acquire(short, js, kv, "role.0", "other", ttl); err == nil {
		t.Error("a lease that is renewed was taken")
	}
	select {
	case <-l.Lost():
		t.Error("the lease was lost")
	default:
	}
}
