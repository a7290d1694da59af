package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/bson"
	"go.mongodb.org/mongo-driver/bson/primitive"
	driver "go.mongodb.org/mongo-driver/mongo"
	"go.mongodb.org/mongo-driver/mongo/options"

	"github.com/tidegate-io/tidegate/internal/records"
	"github.com/tidegate-io/tidegate/internal/test/sample"
	"github.com/tidegate-io/tidegate/internal/test/testmongo"
	"github.com/tidegate-io/tidegate/internal/test/wait"
)

// metered is a configuration that sums the tokens of completions.
var metered = strings.NewReplacer("- feature: api\n", "- feature: api\n    meter: {event: completion, aggregate: sum, value: $.tokens}\n",
	"free: 10", "free: 1000000").Replace(sample.Config)

// appDatabase creates a database of the app with documents in a collection.
func appDatabase(t *testing.T) (uri string, db *driver.Database) {
	t.Helper()
	uri = testmongo.URI(t)
	c, err := driver.Connect(t.Context(), options.Client().ApplyURI(uri))
	if err != nil {
		t.Fatal(err)
	}
	db = c.Database(testmongo.Database())
	t.Cleanup(func() {
		_ = db.Drop(context.Background())
		_ = c.Disconnect(context.Background())
	})
	return uri, db
}

func insert(t *testing.T, db *driver.Database, collection string, docs ...any) {
	t.Helper()
	if _, err := db.Collection(collection).InsertMany(t.Context(), docs); err != nil {
		t.Fatal(err)
	}
}

// file writes a file in the configuration's folder.
func (d *development) file(name, text string) string {
	path := filepath.Join(d.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		d.gateway.t.Fatal(err)
	}
	return path
}

// TestImportOfTheAppsOwn imports the same history with the app's field names from files
// and from its MongoDB, each twice.
func TestImportOfTheAppsOwn(t *testing.T) {
	t.Parallel()
	d := newDevelopment(t, metered)
	uri, db := appDatabase(t)
	then := time.Now().UTC().AddDate(-1, 0, 0).Truncate(time.Second)
	const n = 30
	var csv, lines strings.Builder
	csv.WriteString("user_id,order_no,at,kind,amount\n")
	docs := make([]any, n)
	object := primitive.NewObjectID()
	for i := range n {
		at := then.Add(time.Duration(i) * time.Minute)
		fmt.Fprintf(&csv, "csv,%d,%s,completion,2\n", i, at.Format(time.RFC3339))
		fmt.Fprintf(&lines, `{"user":{"id":7},"at":%q,"usage":{"total":2.5}}`+"\n", at.Format(time.RFC3339))
		docs[i] = bson.D{{Key: "user_id", Value: object}, {Key: "at", Value: at}, {Key: "tokens", Value: int32(3)}, {Key: "note", Value: "private"}}
	}
	insert(t, db, "completions", docs...)
	const names = "customer=user_id,time=at"
	for _, c := range []struct {
		customer string
		used     string
		args     []string
	}{
		{"csv", "60", []string{d.file("history.csv", csv.String()), "--map", names + ",id=order_no,type=kind,$.tokens=amount"}},
		{"7", "75", []string{d.file("history.ndjson", lines.String()), "--type", "completion", "--map", "customer=user.id,time=at", "--map", "data.tokens=usage.total"}},
		{object.Hex(), "90", []string{"--mongo", uri, "--database", db.Name(), "--collection", "completions", "--type", "completion", "--map", names}},
	} {
		for range 2 {
			var did tally
			if d.decoded(&did, append([]string{"import"}, c.args...)...); did.Accepted != n || len(did.Rejected) != 0 {
				t.Fatalf("%s: import says %+v", c.customer, did)
			}
		}
		var windows []records.Window
		wait.Until(t, "the history is counted", func() error {
			if d.decoded(&windows, "replay", "--customer", c.customer); len(windows) == 0 || windows[0].Used.String() != c.used || windows[0].Start.After(then) {
				return fmt.Errorf("replay gives %+v", windows)
			}
			return nil
		})
	}
	if dead := d.must("dead"); strings.Contains(dead, "private") || strings.Contains(dead, "completion") {
		t.Errorf("dead letters:\n%s", dead)
	}
}

// TestImportRefusesDocuments: the import names documents that it can't import, and imports
// the others.
func TestImportRefusesDocuments(t *testing.T) {
	t.Parallel()
	d := newDevelopment(t, metered)
	uri, db := appDatabase(t)
	then := time.Now().UTC().AddDate(-1, 0, 0)
	insert(t, db, "uses",
		bson.D{{Key: "_id", Value: 1}, {Key: "user_id", Value: "acme"}, {Key: "at", Value: then}, {Key: "no", Value: "a"}},
		bson.D{{Key: "_id", Value: 2}, {Key: "at", Value: then}, {Key: "no", Value: "b"}},
		bson.D{{Key: "_id", Value: 3}, {Key: "user_id", Value: "acme"}, {Key: "at", Value: "yesterday"}, {Key: "no", Value: "c"}},
		bson.D{{Key: "_id", Value: 4}, {Key: "user_id", Value: "acme"}, {Key: "at", Value: then}})
	args := []string{"import", "--mongo", uri, "--database", db.Name(), "--collection", "uses", "--type", "completion", "--map"}
	code, stdout, stderr := d.command("", append(args, "customer=user_id,time=at,id=no")...)
	if code != exitFailed || stdout != "imported 1 events\n" {
		t.Errorf("exit %d: %s%s", code, stdout, stderr)
	}
	for _, says := range []string{`document 2: _id 2: `, `"user_id"`, `document 3: _id 3: `, "RFC 3339", `document 4: _id 4: `, `"no"`, "3 of 4 events"} {
		if !strings.Contains(stderr, says) {
			t.Errorf("%q is not said:\n%s", says, stderr)
		}
	}
	code, _, stderr = d.command("", "import", "--mongo", uri, "--database", db.Name(), "--collection", "usse", "--type", "x", "--map", "customer=user_id")
	if code != exitFailed || !strings.Contains(stderr, `"usse"`) || !strings.Contains(stderr, "--collection") {
		t.Errorf("a collection that is not there: exit %d: %s", code, stderr)
	}
}

// TestImportCustomersOfTheAppsOwn imports customers from each kind of source.
func TestImportCustomersOfTheAppsOwn(t *testing.T) {
	t.Parallel()
	d := newDevelopment(t, sample.Config)
	uri, db := appDatabase(t)
	anchor := time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)
	insert(t, db, "users",
		bson.D{{Key: "_id", Value: int64(42)}, {Key: "profile", Value: bson.D{{Key: "mail", Value: "mongo@acme.example"}}}, {Key: "since", Value: anchor},
			{Key: "plan", Value: "paid"}, {Key: "password", Value: "x"}},
		bson.D{{Key: "_id", Value: int64(43)}, {Key: "profile", Value: bson.D{{Key: "mail", Value: "no address"}}}})
	names := "email=profile.mail,anchor=since"
	for _, args := range [][]string{
		{d.file("users.csv", "user_id,mail,plan,since\ncsv,csv@acme.example,paid,2026-03-01T12:00:00Z\n"), "--map", "id=user_id,email=mail,anchor=since"},
		{d.file("own.csv", "id,email,shoe size\nown,own@acme.example,42\n")},
		{d.file("users.ndjson", `{"user":7,"profile":{"mail":"ndjson@acme.example"},"since":"2026-03-01T12:00:00Z","shoe":1}`+"\n"), "--map", "customer=user," + names},
	} {
		var did tally
		if d.decoded(&did, append([]string{"import", "customers"}, args...)...); did.Accepted != 1 {
			t.Errorf("%v: %+v", args, did)
		}
	}
	code, stdout, stderr := d.command("", "import", "customers", "--mongo", uri, "--database", db.Name(), "--collection", "users", "--map", names)
	if code != exitFailed || stdout != "imported 1 customers\n" || !strings.Contains(stderr, "document 2: ") || !strings.Contains(stderr, "no address") {
		t.Errorf("exit %d: %s%s", code, stdout, stderr)
	}
	for _, c := range []struct{ id, email, plan string }{
		{"csv", "csv@acme.example", "paid"}, {"own", "own@acme.example", "free"}, {"7", "ndjson@acme.example", "free"}, {"42", "mongo@acme.example", "free"},
	} {
		wait.Until(t, "customer "+c.id, func() error {
			var v struct {
				Email, Plan string
				Anchor      time.Time
			}
			if err := d.get("/v1/customers/"+c.id, &v); err != nil {
				return err
			}
			if v.Email != c.email || v.Plan != c.plan || c.id != "own" && !v.Anchor.Equal(anchor) {
				return fmt.Errorf("%+v", v)
			}
			return nil
		})
	}
	code, stdout, stderr = d.command("id,plan\na,gold\nb,silver\n", "import", "customers", "--format", "csv", "-")
	if code != exitFailed || stdout != "imported 0 customers\n" || !strings.Contains(stderr, "line 2: ") || !strings.Contains(stderr, "line 3: ") || !strings.Contains(stderr, "silver") {
		t.Errorf("none that is good: exit %d: %s%s", code, stdout, stderr)
	}
}
