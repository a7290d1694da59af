package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/config"
	"github.com/tidegate-io/tidegate/internal/stream"
)

// TestFullUsageRefusesAndIsCounted: a full stream refuses usage, keeps what it
// has, and does not keep what it has from being counted and committed.
func TestFullUsageRefusesAndIsCounted(t *testing.T) {
	t.Parallel()
	srv, err := embeddedNATS("127.0.0.1:-1", t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	defer func() { srv.Shutdown(); srv.WaitForShutdown() }()
	set := settings{HTTP: "127.0.0.1:0", Roles: allRoles, NATS: srv.ClientURL(), Dev: true, Data: t.TempDir(), UsageBytes: 1 << 20}
	a, err := start(context.Background(), set, config.Example(), slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer a.stopIn(stopTime)
	if err := a.waitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	accepted := 0
	for refused := false; !refused; {
		noise := make([]byte, 20_000) // the store compresses
		_, _ = rand.Read(noise)
		body := fmt.Appendf(nil, `{"type":"api","subject":"acme","data":{"noise":%q}}`, hex.EncodeToString(noise))
		resp, err := http.Post("http://"+a.HTTPAddr+"/v1/events", "application/json", bytes.NewReader(body))
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
	sendSaysThatItWaits(t, a)
	eventually(t, "the count", func() error {
		resp, err := http.Get("http://" + a.HTTPAddr + "/v1/check?customer=acme&feature=api")
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
	eventually(t, "the commit", func() error {
		at, err := committed(t.Context(), a, events.PartitionOf("acme", a.partitions))
		if err == nil && at < uint64(accepted) {
			err = fmt.Errorf("committed up to %d of %d", at, accepted)
		}
		return err
	})
}

// sendSaysThatItWaits, once, and what to do when it is stopped.
func sendSaysThatItWaits(t *testing.T, a *app) {
	t.Helper()
	ctx, stop := context.WithCancel(t.Context())
	defer stop()
	said, told := io.Pipe()
	defer func() { _ = told.Close() }()
	go func() {
		_, _ = bufio.NewReader(said).ReadString('\n')
		stop()
		_, _ = io.Copy(io.Discard, said)
	}()
	noise := make([]byte, 20_000)
	_, _ = rand.Read(noise)
	s := sender{env: &env{ctx: ctx, stderr: told}, api: api{base: "http://" + a.HTTPAddr}, path: "/v1/events"}
	err := s.add(7, fmt.Appendf(nil, `{"id":"late","type":"api","subject":"acme","data":{"noise":%q}}`, hex.EncodeToString(noise)))
	if err == nil {
		err = s.flush()
	}
	if err == nil || !strings.Contains(err.Error(), "line 7") || !strings.Contains(err.Error(), "run it again") {
		t.Errorf("send ended with %v", err)
	}
}

func committed(ctx context.Context, a *app, partition int) (uint64, error) {
	at, err := stream.Committed(ctx, a.js, a.names, roleAggregator, partition)
	if err != nil || len(at) == 0 {
		return 0, err
	}
	return at[0].Seq, nil
}

func TestDoctorJudgesRoomForUsage(t *testing.T) {
	for _, c := range []struct {
		bytes uint64
		most  int64
		state string
	}{{1 << 40, -1, stateOK}, {0, 1 << 30, stateOK}, {9e8, 1e9, stateOK}, {95e7, 1e9, stateWarning}, {1e9 - 1000, 1e9, stateFailed}} {
		info := &jetstream.StreamInfo{Config: jetstream.StreamConfig{Name: "USAGE", MaxBytes: c.most}, State: jetstream.StreamState{Bytes: c.bytes}}
		if state, detail := judgeUsage(info); state != c.state || (state != stateOK) != strings.Contains(detail, "nats stream edit USAGE") {
			t.Errorf("%d of %d: %s %q", c.bytes, c.most, state, detail)
		}
	}
}
