package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidegate-io/tidegate/aggregator"
	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/records"
	"github.com/tidegate-io/tidegate/internal/test/sample"
	"github.com/tidegate-io/tidegate/internal/test/wait"
)

// TestOnce sends the same events over several interfaces, and some that can't be counted.
func TestOnce(t *testing.T) {
	t.Parallel()
	d := newDevelopment(t, "")
	js, err := jetstream.New(d.connect())
	if err != nil {
		t.Fatal(err)
	}
	es := sample.Events("acme", "order", 20)
	d.post("application/x-ndjson", sample.Lines(es), 20)
	d.post("application/json", sample.Array(es), 20) // as when the client did not get the answer
	for i, e := range es {
		_, err := js.Publish(t.Context(), "usage.in.acme", []byte(e), jetstream.WithMsgID(fmt.Sprint("test/order-", i+1)))
		if err != nil {
			t.Fatal(err)
		}
	}
	if code, _, stderr := d.command(sample.Lines(es), "send", "-"); code != exitOK {
		t.Fatalf("send: exit %d: %s", code, stderr)
	}
	bad := map[string]string{
		"usage.in.acme":   `not JSON`,
		"usage.in.globex": sample.Event("acme", "smuggled"), // the event of another customer
		"usage.in.hooli":  `{"type":"tidegate.plan","subject":"hooli","id":"1","source":"test","data":{"name":"paid"}}`,
	}
	for subject, body := range bad {
		if _, err := js.Publish(t.Context(), subject, []byte(body)); err != nil {
			t.Fatal(err)
		}
	}
	d.post("application/json", sample.Event("acme", "last"), 1)
	d.uses("acme", 21)
	d.decides("hooli", events.WithinLimit, 0)

	var letters []records.Dead
	wait.Until(t, "dead letters", func() error {
		if d.decoded(&letters, "dead"); len(letters) != len(bad) {
			return fmt.Errorf("there are %d: %+v", len(letters), letters)
		}
		return nil
	})
	for _, l := range letters {
		if l.Reason == "" || !strings.HasPrefix(l.Origin, "USAGE/") {
			t.Errorf("a dead letter says %+v", l)
		}
	}
	if table := d.must("dead"); !strings.Contains(table, "not JSON") {
		t.Errorf("the table of dead letters is\n%s", table)
	}
	verifies(t, d, 1)
}

// verifies fails unless a replay of the stream results in the live windows.
func verifies(t *testing.T, d *development, windows int) {
	t.Helper()
	var results []aggregator.Result
	d.decoded(&results, "verify")
	n := 0
	for _, r := range results {
		if n += r.Windows; len(r.Differences) > 0 {
			t.Errorf("partition %d differs: %+v", r.Partition, r.Differences)
		}
	}
	if n != windows {
		t.Errorf("verified %d windows, not %d", n, windows)
	}
}

// TestImport imports a year-old history twice while usage continues.
func TestImport(t *testing.T) {
	t.Parallel()
	d := newDevelopment(t, "")
	then := time.Now().UTC().AddDate(-1, 0, 0).Truncate(time.Second)
	var file strings.Builder
	for i := range 30 { // without ids: the content is the identity
		fmt.Fprintf(&file, `{"type":"api","subject":"acme","time":%q}`+"\n", then.Add(time.Duration(i)*time.Minute).Format(time.RFC3339))
	}
	path := filepath.Join(d.dir, "history.ndjson")
	if err := os.WriteFile(path, []byte(file.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		var did tally
		if d.decoded(&did, "import", path); did.Accepted != 30 || len(did.Rejected) != 0 {
			t.Fatalf("import says %+v", did)
		}
	}
	d.post("application/x-ndjson", sample.Lines(sample.Events("acme", "now", 5)), 5)
	d.uses("acme", 5)
	d.allows("acme")

	var windows []records.Window
	d.decoded(&windows, "replay", "--customer", "acme")
	used := map[bool]int64{} // by whether the window contains the history
	for _, w := range windows {
		used[!w.Start.After(then) && w.End.After(then)] += w.Used.Units
	}
	if used[true] != 30 || used[false] != 5 {
		t.Errorf("replay gives %+v", windows)
	}
	verifies(t, d, 2)
	replays(t, d, then)
}

// replays tries the other options of replay.
func replays(t *testing.T, d *development, then time.Time) {
	t.Helper()
	if table := d.must("replay", "--customer", "acme"); !strings.Contains(table, "WINDOW BEGINS") || !strings.Contains(table, then.Format("2006-01-02")) {
		t.Errorf("the table of the replay is\n%s", table)
	}
	var windows []records.Window
	if d.decoded(&windows, "replay", "--to", then.AddDate(0, 2, 0).Format(time.DateOnly)); len(windows) != 1 || windows[0].Used != events.Count(30) {
		t.Errorf("replay up to two months later gives %+v", windows)
	}
	other := filepath.Join(d.dir, "other.yaml")
	if err := os.WriteFile(other, []byte("retention: {usage: 4000d}\n"+strings.Replace(sample.Config, "period: 30d", "period: 3660d", 1)), 0o600); err != nil {
		t.Fatal(err)
	}
	if d.decoded(&windows, "replay", "--with", other); len(windows) != 1 || windows[0].Used != events.Count(35) {
		b, _ := json.Marshal(windows)
		t.Errorf("replay with a period of ten years gives %s", b)
	}
}
