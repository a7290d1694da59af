package e2e

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"go.mongodb.org/mongo-driver/bson"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/test/sample"
	"github.com/tidegate-io/tidegate/internal/test/testmongo"
	"github.com/tidegate-io/tidegate/internal/test/wait"
)

// TestServersComeLater starts Tidegate before its NATS and MongoDB. Tidegate waits for
// NATS; it counts, decides and blocks without MongoDB. Documents and the mail follow when
// MongoDB starts.
func TestServersComeLater(t *testing.T) {
	t.Parallel()
	server := testmongo.StartServer(t)
	server.Stop()
	in := newInstallation(t, server.URI)
	impatient := in.serve(roleAggregator)
	impatient.Says("for=NATS")
	if code := impatient.Interrupt(); code != exitOK {
		t.Errorf("exit %d while waiting", code)
	}
	p := in.serve(everyRole)
	p.Says("for=NATS")
	for path, want := range map[string]int{"/livez": http.StatusOK, "/readyz": http.StatusServiceUnavailable, "/v1/check": http.StatusServiceUnavailable} {
		if status, answer, err := in.request("GET", path, "", ""); err != nil || status != want {
			t.Errorf("%s: %d %s %v", path, status, answer, err)
		}
	}
	in.startNATS()
	p.Says("for=MongoDB")
	in.ready()
	in.lacks("store")
	in.put("acme", `{"email":"ada@acme.example"}`)
	in.post("application/x-ndjson", sample.Lines(sample.Events("acme", "use", 10)), 10)
	sees(t, in.app(in.connect()), "acme", false)
	in.decides("acme", events.LimitReached, 10)
	in.waits(map[string]int{"usage": 1, "customers": 1, "notifications": 1})
	for _, f := range in.diagnosis() {
		if f.Check == "documents" && !strings.Contains(f.Detail, "usage of partition") {
			t.Errorf("doctor: %+v", f)
		}
	}
	server.Restart(t)
	document(t, in.documents().Collection("usage"), "acme", func(d bson.M) error { return has(d, bson.M{"used": int64(10)}) })
	document(t, in.documents().Collection("customers"), "acme", func(d bson.M) error { return has(d, bson.M{"email": "ada@acme.example"}) })
	isMailedOnce(t, in)
	in.waits(map[string]int{"usage": 0, "customers": 0, "notifications": 0})
	in.lacks()
	p.Says("mongodb_reached")
	if code := p.Interrupt(); code != exitOK {
		t.Errorf("exit %d", code)
	}
}

// TestAForeignDatabaseComesLater: Tidegate reports that the database is foreign and does
// not write to it. Decisions do not depend on it.
func TestAForeignDatabaseComesLater(t *testing.T) {
	t.Parallel()
	server := testmongo.StartServer(t)
	in := newInstallation(t, server.URI)
	usage := in.documents().Collection("usage")
	if _, err := usage.InsertOne(t.Context(), bson.M{"theirs": true}); err != nil {
		t.Fatal(err)
	}
	in.startNATS()
	refused := in.serve(roleAggregator)
	if code := refused.Exit(wait.Patience); code != exitFailed || !strings.Contains(refused.Stderr.String(), `"usage"`) {
		t.Errorf("exit %d", code)
	}
	server.Stop()
	p := in.serve(everyRole)
	p.Says("for=MongoDB")
	in.ready()
	server.Restart(t)
	p.Says("no_document_is_written")
	in.post("application/x-ndjson", sample.Lines(sample.Events("acme", "use", 10)), 10)
	in.decides("acme", events.LimitReached, 10)
	in.lacks("store")
	in.waits(map[string]int{"usage": 1})
	if n, err := usage.CountDocuments(t.Context(), bson.M{}); err != nil || n != 1 {
		t.Errorf("%d documents, %v", n, err)
	}
}

// lacks waits until the gateway is ready except for these parts.
func (in *installation) lacks(names ...string) {
	in.t.Helper()
	wait.Until(in.t, fmt.Sprintf("readiness lacks %v", names), func() error {
		var a struct {
			NotReady map[string]string `json:"not_ready"`
		}
		if err := in.get("/readyz", &a); err != nil {
			return err
		}
		for _, name := range names {
			if a.NotReady[name] == "" {
				return fmt.Errorf("it lacks %v", a.NotReady)
			}
		}
		if len(a.NotReady) != len(names) {
			return fmt.Errorf("it lacks %v", a.NotReady)
		}
		return nil
	})
}

// waits waits until a number of documents of a collection wait for the store.
func (in *installation) waits(want map[string]int) {
	in.t.Helper()
	for collection, n := range want {
		wait.Until(in.t, fmt.Sprintf("%d documents of %s wait", n, collection), func() error {
			got, err := in.metric(`tidegate_documents_waiting{collection="` + collection + `"`)
			if err == nil && got != float64(n) {
				err = fmt.Errorf("%v do", got)
			}
			if err != nil || n > 0 {
				return err
			}
			if lag, err := in.metric(`tidegate_documents_lag_seconds{collection="` + collection + `"`); err != nil || lag != 0 {
				return fmt.Errorf("the oldest for %v, %w", lag, err)
			}
			return nil
		})
	}
}

// metric returns the sum of the figures whose name and labels begin with prefix.
func (in *installation) metric(prefix string) (sum float64, err error) {
	status, answer, err := in.request("GET", "/metrics", "", "")
	if err != nil || status != http.StatusOK {
		return 0, fmt.Errorf("/metrics: %d %w", status, err)
	}
	found := false
	for lines := bufio.NewScanner(strings.NewReader(string(answer))); lines.Scan(); {
		if !strings.HasPrefix(lines.Text(), prefix) {
			continue
		}
		v, err := strconv.ParseFloat(lines.Text()[strings.LastIndexByte(lines.Text(), ' ')+1:], 64)
		if err != nil {
			return 0, err
		}
		found, sum = true, sum+v
	}
	if !found {
		return 0, errors.New("there is no metric " + prefix)
	}
	return sum, nil
}

// finds waits until the doctor finds a state.
func (in *installation) finds(want map[string]string) {
	in.t.Helper()
	wait.Until(in.t, fmt.Sprintf("doctor finds %v", want), func() error {
		for _, f := range in.diagnosis() {
			if state := want[f.Check]; state != "" && state != f.State {
				return fmt.Errorf("%+v", f)
			}
		}
		return nil
	})
}

// diagnosis returns the doctor's findings, with any exit code.
func (in *installation) diagnosis() (found []finding) {
	in.t.Helper()
	_, stdout, stderr := in.command("", "--output", "json", "doctor")
	if err := json.Unmarshal([]byte(stdout), &found); err != nil {
		in.t.Fatalf("doctor: %v: %s%s", err, stdout, stderr)
	}
	return found
}

// TestMongoDBGoesAway: Tidegate counts and blocks without the database, and writes the
// documents when it is back.
func TestMongoDBGoesAway(t *testing.T) {
	t.Parallel()
	server := testmongo.StartServer(t)
	in := newInstallation(t, server.URI)
	in.startNATS()
	p := in.serve(everyRole)
	in.ready()
	app := in.app(in.connect())
	in.post("application/x-ndjson", sample.Lines(sample.Events("acme", "before", 5)), 5)
	counts := func(n int64) {
		t.Helper()
		document(t, in.documents().Collection("usage"), "acme", func(d bson.M) error { return has(d, bson.M{"used": n}) })
	}
	counts(5)
	server.Stop()
	in.post("application/x-ndjson", sample.Lines(sample.Events("acme", "without", 5)), 5)
	sees(t, app, "acme", false)
	in.decides("acme", events.LimitReached, 10)
	server.Restart(t)
	counts(10)
	in.post("application/x-ndjson", sample.Lines(sample.Events("acme", "after", 1)), 1)
	counts(11)
	if code := p.Interrupt(); code != exitOK {
		t.Errorf("exit %d", code)
	}
}
