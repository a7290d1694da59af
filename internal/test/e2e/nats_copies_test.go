package e2e

import (
	"encoding/json"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidegate-io/tidegate/internal/test/sample"
	"github.com/tidegate-io/tidegate/internal/test/testmongo"
	"github.com/tidegate-io/tidegate/internal/test/wait"
)

// TestEditedStreamAndCopies edits a stream between two restarts of NATS, goes on with
// snapshots that NATS itself made, as `nats account backup` does, and with the copied
// folder of a stopped server.
func TestEditedStreamAndCopies(t *testing.T) {
	t.Parallel()
	in := newInstallation(t, testmongo.URI(t))
	server := in.startNATS()
	tidegate := in.serve(everyRole)
	in.ready()
	sent := 0
	goesOn := func() {
		t.Helper()
		in.ready()
		sent += 12
		for _, c := range []string{"acme", "globex", "initech"} {
			in.post("application/x-ndjson", sample.Lines(sample.Events(c, "e", sent)), sent) // those from before count once
			in.uses(c, int64(sent))
		}
		committed(t, in)
	}
	restart := func(folder string) {
		t.Helper()
		server.Interrupt()
		server = in.startNewNATS(folder)
	}
	goesOn()
	restart("nats")
	editUsage(t, in)
	goesOn()
	restart("nats")
	goesOn()

	tidegate.Interrupt()
	copies := snapshots(t, in.connect())
	restart("restored")
	restoreAll(t, in.connect(), copies)
	tidegate = in.serve(everyRole)
	goesOn()

	tidegate.Interrupt()
	server.Interrupt()
	if err := os.CopyFS(filepath.Join(in.dir, "copied"), os.DirFS(filepath.Join(in.dir, "restored"))); err != nil {
		t.Fatal(err)
	}
	server = in.startNewNATS("copied")
	in.serve(everyRole)
	goesOn()
}

// editUsage gives USAGE a limit, as `nats stream edit` does.
func editUsage(t *testing.T, in *installation) {
	t.Helper()
	js, err := jetstream.New(in.connect())
	if err != nil {
		t.Fatal(err)
	}
	s, err := js.Stream(t.Context(), "t1_USAGE")
	if err != nil {
		t.Fatal(err)
	}
	cfg := s.CachedInfo().Config
	cfg.MaxBytes = 1 << 30
	if _, err := js.UpdateStream(t.Context(), cfg); err != nil {
		t.Fatal(err)
	}
}

// snapshot is a stream with its consumers.
type snapshot struct {
	Name   string          `json:"-"`
	Chunks [][]byte        `json:"-"`
	Config json.RawMessage `json:"config"`
	State  json.RawMessage `json:"state"`
}

// asks sends a request to JetStream.
func asks(t *testing.T, nc *nats.Conn, subject string, body, answer any) {
	t.Helper()
	raw, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	if body == nil {
		raw = nil
	}
	reply, err := nc.Request(subject, raw, wait.Patience)
	if err != nil {
		t.Fatal(subject, err)
	}
	var failed struct {
		Error *jetstream.APIError `json:"error"`
	}
	if err := json.Unmarshal(reply.Data, &failed); err != nil || failed.Error != nil {
		t.Fatal(subject, err, failed.Error)
	}
	if err := json.Unmarshal(reply.Data, answer); err != nil {
		t.Fatal(subject, err)
	}
}

// snapshots copies all streams and buckets.
func snapshots(t *testing.T, nc *nats.Conn) (all []snapshot) {
	t.Helper()
	js, err := jetstream.New(nc)
	if err != nil {
		t.Fatal(err)
	}
	for name := range js.StreamNames(t.Context()).Name() {
		sub, err := nc.SubscribeSync(nc.NewInbox())
		if err != nil {
			t.Fatal(err)
		}
		s := snapshot{Name: name}
		asks(t, nc, "$JS.API.STREAM.SNAPSHOT."+name, map[string]string{"deliver_subject": sub.Subject}, &s)
		for {
			msg, err := sub.NextMsg(wait.Patience)
			if err != nil {
				t.Fatal(name, err)
			}
			if len(msg.Data) == 0 {
				break
			}
			s.Chunks = append(s.Chunks, msg.Data)
			if msg.Reply != "" {
				_ = msg.Respond(nil)
			}
		}
		all = append(all, s)
	}
	if len(all) < 11 {
		t.Fatalf("there are %d streams", len(all))
	}
	return all
}

// restoreAll makes the streams again.
func restoreAll(t *testing.T, nc *nats.Conn, all []snapshot) {
	t.Helper()
	for _, s := range all {
		var to struct {
			Deliver string `json:"deliver_subject"`
		}
		asks(t, nc, "$JS.API.STREAM.RESTORE."+s.Name, s, &to)
		for _, chunk := range s.Chunks {
			if reply, err := nc.Request(to.Deliver, chunk, 10*time.Second); err != nil || len(reply.Data) > 0 {
				t.Fatal(s.Name, err, string(reply.Data))
			}
		}
		var made struct {
			Created time.Time `json:"created"`
		}
		asks(t, nc, to.Deliver, nil, &made)
		if made.Created.IsZero() {
			t.Errorf("%s was not made", s.Name)
		}
	}
}
