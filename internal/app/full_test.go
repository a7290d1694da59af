package app

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net/http"
	"testing"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/stream"
	"github.com/tidegate-io/tidegate/internal/test/wait"
)

// TestFullUsageRefusesAndIsCounted: a full stream refuses usage, keeps what it
// has, and does not keep what it has from being counted and committed.
func TestFullUsageRefusesAndIsCounted(t *testing.T) {
	t.Parallel()
	a, err := Start(context.Background(), Settings{UsageBytes: 1 << 20}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Stop(context.Background())
	if err := a.WaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	accepted := 0
	for refused := false; !refused; {
		noise := make([]byte, 20_000) // the store compresses
		_, _ = rand.Read(noise)
		body := fmt.Appendf(nil, `{"type":"api","subject":"acme","data":{"noise":%q}}`, hex.EncodeToString(noise))
		resp, err := http.Post(a.URL()+"/v1/events", "application/json", bytes.NewReader(body))
		if err != nil {
			t.Fatal(err)
		}
		_ = resp.Body.Close()
		switch resp.StatusCode {
		case http.StatusAccepted:
			accepted++
		case http.StatusServiceUnavailable:
			refused = resp.Header.Get("Retry-After") != ""
		default:
			t.Fatalf("status %s", resp.Status)
		}
		if accepted > 1000 {
			t.Fatal("it never becomes full")
		}
	}
	wait.Until(t, "the count", func() error {
		resp, err := http.Get(a.URL() + "/v1/check?customer=acme&feature=api")
		if err != nil {
			return err
		}
		defer func() { _ = resp.Body.Close() }()
		var d events.Decision
		if err := json.NewDecoder(resp.Body).Decode(&d); err != nil {
			return err
		}
		if d.Used != events.Some(events.Count(int64(accepted))) {
			return fmt.Errorf("used %s of %d accepted", d.Used, accepted)
		}
		return nil
	})
	wait.Until(t, "the commit", func() error {
		at, err := committed(t.Context(), a, events.PartitionOf("acme", a.partitions))
		if err == nil && at < uint64(accepted) {
			err = fmt.Errorf("committed up to %d of %d", at, accepted)
		}
		return err
	})
}

func committed(ctx context.Context, a *App, partition int) (uint64, error) {
	at, err := stream.Committed(ctx, a.js, a.names, RoleAggregator, partition)
	if err != nil || len(at) == 0 {
		return 0, err
	}
	return at[0].Seq, nil
}
