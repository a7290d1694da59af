package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/bson"
	"go.mongodb.org/mongo-driver/mongo"
	"go.mongodb.org/mongo-driver/mongo/options"

	"github.com/tidegate-io/tidegate/internal/test/freeport"
	"github.com/tidegate-io/tidegate/internal/test/sample"
	"github.com/tidegate-io/tidegate/internal/test/testmongo"
	"github.com/tidegate-io/tidegate/internal/test/testprocess"
	"github.com/tidegate-io/tidegate/internal/test/wait"
)

// production is a configuration with few partitions, so that processes are ready soon.
var production = "partitions: 4\nnamespace: t1\npublic_url: https://gate.acme.example\nfrom: Acme <billing@acme.example>\n" +
	strings.Replace(sample.Config, "type: block", "type: block, upgrade_prompt: {type: email, provider: resend, template: upgrade_prompt}", 1)

// The roles.
const (
	roleIngest     = "ingest"
	roleAggregator = "aggregator"
	roleEnforcer   = "enforcer"
	roleNotifier   = "notifier"
	everyRole      = "ingest,aggregator,enforcer,notifier"
)

// installation is Tidegate in production: NATS, MongoDB and processes of roles.
type installation struct {
	gateway
	dir      string
	mongo    string // URI
	database string
	mails    *provider
	env      []string // besides the variables of all processes
}

// newInstallation prepares an installation without starting it.
func newInstallation(t testing.TB, mongoURI string) *installation {
	t.Helper()
	dir := t.TempDir()
	in := &installation{
		gateway: gateway{t: t, http: "http://" + freeport.Address(t), nats: "nats://" + freeport.Address(t),
			key: "tgk_test_all", hook: "whsec_test", config: filepath.Join(dir, "tidegate.yaml"), namespace: "t1"},
		dir: dir, mongo: mongoURI, database: testmongo.Database(), mails: newProvider(t),
	}
	if err := os.WriteFile(in.config, []byte(production), 0o600); err != nil {
		t.Fatal(err)
	}
	return in
}

// startNATS starts a NATS server as a process and waits until it answers.
func (in *installation) startNATS() *testprocess.Process {
	in.t.Helper()
	return testprocess.StartNATS(in.t, in.nats[len("nats://"):], filepath.Join(in.dir, "nats"))
}

// serve starts a process with these roles.
func (in *installation) serve(roles string) *testprocess.Process {
	in.t.Helper()
	return testprocess.Start(in.t, "serve "+roles, testprocess.Tidegate(in.t), append([]string{
		"NATS_URL=" + in.nats, "MONGODB_URI=" + in.mongo, "MONGODB_DATABASE=" + in.database,
		"TIDEGATE_API_KEYS=tgk_test_read:read," + in.key, "TIDEGATE_SECRET=links are signed with this", "STRIPE_WEBHOOK_SECRET=whsec_old," + in.hook,
		"RESEND_API_KEY=re_test", "RESEND_BASE_URL=" + in.mails.url,
	}, in.env...), "serve", "--config", in.config, "--roles", roles, "--http", in.http[len("http://"):])
}

// ready waits until the API is ready.
func (in *installation) ready() {
	in.t.Helper()
	wait.Until(in.t, "readiness", func() error {
		status, answer, err := in.request("GET", "/readyz", "", "")
		if err == nil && status != 200 {
			err = fmt.Errorf("%d %s", status, answer)
		}
		return err
	})
}

// documents returns the database, which tests read as other programs do.
func (in *installation) documents() *mongo.Database {
	in.t.Helper()
	c, err := mongo.Connect(in.t.Context(), options.Client().ApplyURI(in.mongo).SetServerSelectionTimeout(wait.Patience))
	if err != nil {
		in.t.Fatal(err)
	}
	in.t.Cleanup(func() { _ = c.Disconnect(context.Background()) })
	return c.Database(in.database)
}

// document waits until a customer has exactly one document and f accepts it.
func document(t testing.TB, c *mongo.Collection, customer string, f func(bson.M) error) {
	t.Helper()
	wait.Until(t, "a document in "+c.Name(), func() error {
		cursor, err := c.Find(t.Context(), bson.M{"customer": customer})
		if err != nil {
			return err
		}
		var docs []bson.M
		if err := cursor.All(t.Context(), &docs); err != nil {
			return err
		}
		if len(docs) != 1 {
			return fmt.Errorf("there are %d: %v", len(docs), docs)
		}
		if err := f(docs[0]); err != nil {
			return fmt.Errorf("%w in %v", err, docs[0])
		}
		return nil
	})
}

// has checks the fields of a document. A wanted field is a type such as time.Time{}, a
// value, or a pattern for a text; nil means null.
func has(d bson.M, want bson.M) error {
	for field, w := range want {
		got, there := d[field]
		if date, ok := got.(interface{ Time() time.Time }); ok {
			got = date.Time().UTC()
		}
		ok := got == w
		switch w := w.(type) {
		case time.Time:
			_, ok = got.(time.Time)
		case *regexp.Regexp:
			text, isText := got.(string)
			ok = isText && w.MatchString(text)
		}
		if !there || !ok {
			return fmt.Errorf("%s is %#v", field, got)
		}
	}
	return nil
}
