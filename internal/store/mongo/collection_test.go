package mongo

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"math"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/bson"
	"go.mongodb.org/mongo-driver/bson/primitive"

	"github.com/tidegate-io/tidegate/internal/test/testmongo"
)

// TestPlainValues converts a value of every BSON type.
func TestPlainValues(t *testing.T) {
	t.Parallel()
	object, _ := primitive.ObjectIDFromHex("65f0c0ffee65f0c0ffee65f0")
	uuid, _ := hex.DecodeString("6a2f41a35c1140c0a3ef1b2c3d4e5f60")
	decimal, _ := primitive.ParseDecimal128("12.50")
	nan, _ := primitive.ParseDecimal128("NaN")
	at := time.Date(2025, 3, 1, 12, 30, 0, 250e6, time.UTC)
	for _, c := range []struct{ stored, want any }{
		{"text", "text"},
		{true, true},
		{nil, nil},
		{int32(-7), json.Number("-7")},
		{int64(math.MaxInt64), json.Number("9223372036854775807")},
		{42.0, json.Number("42")},
		{0.25, json.Number("0.25")},
		{1e300, json.Number("1e+300")},
		{math.Inf(1), "+Inf"},
		{decimal, json.Number("12.50")},
		{nan, "NaN"},
		{at, "2025-03-01T12:30:00.25Z"},
		{primitive.Timestamp{T: 86400, I: 1}, "1970-01-02T00:00:00Z"},
		{object, "65f0c0ffee65f0c0ffee65f0"},
		{primitive.Binary{Subtype: 4, Data: uuid}, "6a2f41a3-5c11-40c0-a3ef-1b2c3d4e5f60"},
		{primitive.Binary{Data: []byte("bytes")}, "Ynl0ZXM="},
		{bson.D{{Key: "a", Value: bson.A{int32(1), "b"}}}, map[string]any{"a": []any{json.Number("1"), "b"}}},
	} {
		raw, err := bson.Marshal(bson.D{{Key: "v", Value: c.stored}})
		if err != nil {
			t.Fatal(err)
		}
		got, err := plainDocument(raw)
		if err != nil || !reflect.DeepEqual(got["v"], c.want) {
			t.Errorf("%v: %#v, %v; want %#v", c.stored, got["v"], err, c.want)
		}
	}
}

func TestEachDocument(t *testing.T) {
	t.Parallel()
	uri, database := testmongo.URI(t), testmongo.Database()
	db := raw(t, uri, database)
	const n = 2500 // more than two batches
	for from := 0; from < n; from += 500 {
		docs := make([]any, 500)
		for i := range docs {
			docs[i] = bson.D{{Key: "_id", Value: int32(n - from - i)}, {Key: "at", Value: time.Unix(0, 0)}, {Key: "secret", Value: "s"}}
		}
		if _, err := db.Collection("uses").InsertMany(t.Context(), docs); err != nil {
			t.Fatal(err)
		}
	}
	r := reader(t, uri, database)
	p := Place{Collection: "uses"}
	if count, err := r.Count(t.Context(), p); err != nil || count != n {
		t.Errorf("count: %d, %v", count, err)
	}
	var ids []any
	err := r.Each(t.Context(), p, []string{"_id", "at"}, func(doc map[string]any) error {
		if ids = append(ids, doc["_id"]); len(doc) != 2 || doc["at"] != "1970-01-01T00:00:00Z" {
			t.Fatalf("a document is %v", doc)
		}
		return nil
	})
	if err != nil || len(ids) != n || ids[0] != json.Number("1") || ids[n-1] != json.Number("2500") {
		t.Errorf("%d documents, %v", len(ids), err)
	}
	enough := errors.New("enough")
	if err := r.Each(t.Context(), p, []string{"_id"}, func(map[string]any) error { return enough }); err != enough { //nolint:errorlint // as it is
		t.Errorf("an error of the caller became %v", err)
	}
	if _, err := r.Count(t.Context(), Place{Collection: "none"}); err == nil || !strings.Contains(err.Error(), "--collection") {
		t.Errorf("a collection that is not there: %v", err)
	}
}

// TestEachWithoutServer: when the server goes away during a listing, Each returns an
// error.
func TestEachWithoutServer(t *testing.T) {
	t.Parallel()
	server, database := testmongo.StartServer(t), testmongo.Database()
	docs := make([]any, 1500)
	for i := range docs {
		docs[i] = bson.D{{Key: "_id", Value: int32(i)}}
	}
	db := raw(t, server.URI, database)
	for part := range slices.Chunk(docs, 500) {
		if _, err := db.Collection("uses").InsertMany(t.Context(), part); err != nil {
			t.Fatal(err)
		}
	}
	n := 0
	err := reader(t, server.URI, database).Each(t.Context(), Place{Collection: "uses"}, []string{"_id"}, func(map[string]any) error {
		if n++; n == 1 {
			server.Stop()
		}
		return nil
	})
	if err == nil || n == len(docs) || !strings.Contains(err.Error(), "APP_MONGODB_URI") {
		t.Errorf("after %d documents: %v", n, err)
	}
	server.Restart(t) // for the clean-up of the test
}
