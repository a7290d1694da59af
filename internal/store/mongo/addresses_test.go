package mongo

import (
	"context"
	"encoding/hex"
	"strings"
	"testing"

	"go.mongodb.org/mongo-driver/bson"
	"go.mongodb.org/mongo-driver/bson/primitive"

	"github.com/tidegate-io/tidegate/internal/test/testmongo"
)

func reader(t *testing.T, uri, database string) *Reader {
	t.Helper()
	r, err := OpenReader("APP_MONGODB_URI", uri, database)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = r.Close(context.Background()) })
	return r
}

func TestAddressOfTheApp(t *testing.T) {
	t.Parallel()
	uri, database := testmongo.URI(t), testmongo.Database()
	db := raw(t, uri, database)
	object, _ := primitive.ObjectIDFromHex("65f0c0ffee65f0c0ffee65f0")
	uuid, _ := hex.DecodeString("6a2f41a35c1140c0a3ef1b2c3d4e5f60")
	for _, doc := range []bson.D{
		{{Key: "user_id", Value: "acme"}, {Key: "email", Value: " ada@acme.example\n"}},
		{{Key: "user_id", Value: int32(42)}, {Key: "email", Value: "int@acme.example"}},
		{{Key: "user_id", Value: object}, {Key: "email", Value: "object@acme.example"}},
		{{Key: "user_id", Value: primitive.Binary{Subtype: 4, Data: uuid}}, {Key: "email", Value: "uuid@acme.example"}},
		{{Key: "user_id", Value: "inner"}, {Key: "profile", Value: bson.D{{Key: "mail", Value: "inner@acme.example"}}}},
		{{Key: "user_id", Value: "number"}, {Key: "email", Value: 7}},
		{{Key: "user_id", Value: "null"}, {Key: "email", Value: nil}},
	} {
		if _, err := db.Collection("users").InsertOne(t.Context(), doc); err != nil {
			t.Fatal(err)
		}
	}
	r := reader(t, uri, database)
	for _, c := range []struct{ customer, field, want string }{
		{"acme", "email", "ada@acme.example"},
		{"42", "email", "int@acme.example"},
		{"042", "email", ""},
		{"65f0c0ffee65f0c0ffee65f0", "email", "object@acme.example"},
		{"6a2f41a3-5c11-40c0-a3ef-1b2c3d4e5f60", "email", "uuid@acme.example"},
		{"inner", "profile.mail", "inner@acme.example"},
		{"inner", "email", ""},
		{"number", "email", ""},
		{"null", "email", ""},
		{"nobody", "email", ""},
	} {
		got, err := r.Address(t.Context(), Place{Collection: "users", Key: "user_id", Field: c.field}, c.customer)
		if err != nil || got != c.want {
			t.Errorf("%s, %s: %q, %v; want %q", c.customer, c.field, got, err, c.want)
		}
	}
	other := reader(t, uri, "elsewhere")
	p := Place{Database: database, Collection: "users", Key: "user_id", Field: "email"}
	if got, err := other.Address(t.Context(), p, "acme"); got != "ada@acme.example" || err != nil {
		t.Errorf("in a named database: %q, %v", got, err)
	}
	if err := other.Check(t.Context(), p); err != nil {
		t.Errorf("check: %v", err)
	}
	p.Collection = "usres"
	if err := other.Check(t.Context(), p); err == nil || !strings.Contains(err.Error(), `"usres"`) || !strings.Contains(err.Error(), "email_from") {
		t.Errorf("a collection that is not there: %v", err)
	}
}

// TestReaderDatabase: a Place without a database means the caller's, else the URI's,
// else the default.
func TestReaderDatabase(t *testing.T) {
	t.Parallel()
	for uri, want := range map[string]string{"mongodb://127.0.0.1:1/app": "app", "mongodb://127.0.0.1:1": DefaultDatabase, "mongodb://127.0.0.1:1/?authSource=admin": DefaultDatabase} {
		if r := reader(t, uri, ""); r.database != want {
			t.Errorf("%s: %s", uri, r.database)
		}
		if r := reader(t, uri, "mine"); r.database != "mine" {
			t.Errorf("%s: %s", uri, r.database)
		}
	}
	if _, err := OpenReader("--mongo", "mongodb://ada:geheim@127.0.0.1:port", ""); err == nil || !strings.HasPrefix(err.Error(), "--mongo is ") || strings.Contains(err.Error(), "geheim") {
		t.Errorf("a bad URI: %v", err)
	}
}
