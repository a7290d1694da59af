package mongo

import (
	"maps"
	"math"
	"slices"
	"strings"
	"testing"
	"time"

	"go.mongodb.org/mongo-driver/bson"
	driver "go.mongodb.org/mongo-driver/mongo"
	"pgregory.net/rapid"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/gate"
	"github.com/tidegate-io/tidegate/internal/records"
	"github.com/tidegate-io/tidegate/internal/test/testmongo"
)

var start = time.Date(2026, 1, 1, 12, 0, 0, int(5*time.Millisecond), time.UTC)

// fields returns type and value of every field of a document.
func fields(t *testing.T, c *driver.Collection, id string) map[string]string {
	t.Helper()
	doc, err := c.FindOne(t.Context(), byID(id)).Raw()
	if err != nil {
		t.Fatal(err)
	}
	elements, err := doc.Elements()
	if err != nil {
		t.Fatal(err)
	}
	found := make(map[string]string)
	for _, e := range elements {
		found[e.Key()] = e.Value().Type.String() + " " + e.Value().String()
	}
	return found
}

func same(t *testing.T, got, want map[string]string) {
	t.Helper()
	for _, k := range slices.Sorted(maps.Keys(want)) {
		if got[k] != want[k] {
			t.Errorf("%s is %s, want %s", k, got[k], want[k])
		}
	}
	for k, v := range got {
		if _, ok := want[k]; !ok {
			t.Errorf("%s (%s) is not documented", k, v)
		}
	}
}

func TestUsageDocument(t *testing.T) {
	t.Parallel()
	s := openAt(t, testmongo.URI(t), testmongo.Database())
	w := records.Window{
		Customer: "acme", Feature: "api", Plan: "free", Start: start, End: start.Add(time.Hour), Current: true,
		Used: events.Count(97), Limit: events.Some(events.Count(100)), Events: 97, FirstAt: start, LastAt: start.Add(time.Second),
		Partition: 3, Epoch: 4, Seq: 5,
	}
	rolling := w
	rolling.Start, rolling.End, rolling.Limit = time.Time{}, time.Time{}, events.NullValue{}
	rolling.Used = events.Value{Units: 8, Nanos: 250_000_000}
	rolling.Buckets = []gate.Bucket{{Start: start, Used: rolling.Used}}
	if err := s.WriteUsage(t.Context(), []records.Window{w, rolling}); err != nil {
		t.Fatal(err)
	}
	want := map[string]string{
		"_id": `string "acme/api/2026-01-01T12:00:00.005Z"`, "customer": `string "acme"`, "feature": `string "api"`, "plan": `string "free"`,
		"window_start": `UTC datetime {"$date":{"$numberLong":"1767268800005"}}`, "window_end": `UTC datetime {"$date":{"$numberLong":"1767272400005"}}`,
		"current": "boolean true", "used": `64-bit integer {"$numberLong":"97"}`, "limit": `64-bit integer {"$numberLong":"100"}`,
		"events":   `64-bit integer {"$numberLong":"97"}`,
		"first_at": `UTC datetime {"$date":{"$numberLong":"1767268800005"}}`, "last_at": `UTC datetime {"$date":{"$numberLong":"1767268801005"}}`,
		"partition": `32-bit integer {"$numberInt":"3"}`, "epoch": `64-bit integer {"$numberLong":"4"}`, "seq": `64-bit integer {"$numberLong":"5"}`,
	}
	same(t, fields(t, s.usage, w.ID()), want)
	want["_id"] = `string "acme/api/rolling"`
	want["window_start"], want["window_end"], want["limit"], want["used"] = "null null", "null null", "null null", `string "8.25"`
	want["buckets"] = `array [{"start": {"$date":{"$numberLong":"1767268800005"}},"used": "8.25"}]`
	same(t, fields(t, s.usage, rolling.ID()), want)
}

func TestDocumentsHaveTheDocumentedFields(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := openAt(t, testmongo.URI(t), testmongo.Database())
	for _, err := range []error{
		s.WriteCustomers(ctx, []records.Customer{{ID: "acme", Overrides: map[string]gate.Override{"a.b": {Reason: "r"}}}}),
		s.WriteSubscriptions(ctx, []records.Subscription{{Customer: "acme"}}),
		s.WriteConversion(ctx, records.Conversion{Key: "k"}),
	} {
		if err != nil {
			t.Fatal(err)
		}
	}
	if _, err := s.InsertNotification(ctx, records.Notification{Key: "k", Body: []byte("{}")}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		in         *driver.Collection
		id, fields string
	}{
		{s.customers, "acme", "_id customer email stripe_email locale stripe_customer plan pinned anchor overrides suppressed position updated_at"},
		{s.subscriptions, "acme", "_id customer plan status stripe_customer stripe_subscriptions current_period_end cancel_at grace_until history position"},
		{s.notifications, "k", "_id key customer feature kind percent plan limit window_start window_end reached_at state to subject body attempts first_try_at next_at provider_id error sent_at delivered_at clicked_at"},
		{s.conversions, "k", "_id key kind customer from_plan to_plan stripe_event amount currency feature limit_reached_at mailed_at clicked_at converted_at"},
	} {
		got, want := slices.Sorted(maps.Keys(fields(t, c.in, c.id))), slices.Sorted(slices.Values(strings.Fields(c.fields)))
		if !slices.Equal(got, want) {
			t.Errorf("%s\n got %v\nwant %v", c.in.Name(), got, want)
		}
	}
	if got, want := fields(t, s.customers, "acme")["overrides"], `embedded document {"a%2Eb": {"reason": "r"}}`; got != want {
		t.Errorf("overrides are %s, want %s", got, want)
	}
	if got := fields(t, s.subscriptions, "acme"); got["history"] != "array []" || got["stripe_subscriptions"] != "array []" {
		t.Errorf("empty lists are %s and %s", got["history"], got["stripe_subscriptions"])
	}
}

// TestDocumentsEditedByHand: a shell writes doubles and 32-bit integers.
func TestDocumentsEditedByHand(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	s := openAt(t, testmongo.URI(t), testmongo.Database())
	if _, err := s.usage.InsertOne(ctx, bson.D{
		{Key: "_id", Value: "acme/api/rolling"}, {Key: "customer", Value: "acme"}, {Key: "feature", Value: "api"},
		{Key: "used", Value: 2.5}, {Key: "limit", Value: int32(7)}, {Key: "events", Value: 3.0},
	}); err != nil {
		t.Fatal(err)
	}
	found, err := s.Usage(ctx, "acme")
	if err != nil || len(found) != 1 {
		t.Fatalf("%v, %v", found, err)
	}
	if w := found[0]; w.Used.String() != "2.5" || w.Limit.String() != "7" || w.Events != 3 {
		t.Errorf("read %+v", w)
	}
	// It has no version, so it is older than all others.
	w := records.Window{Customer: "acme", Feature: "api", Used: events.Count(1)}
	if err := s.WriteUsage(ctx, []records.Window{w}); err != nil {
		t.Fatal(err)
	}
	if found, err = s.Usage(ctx, "acme"); err != nil || len(found) != 1 || found[0].Used != events.Count(1) {
		t.Errorf("after a write: %+v, %v", found, err)
	}
	if _, err := s.usage.UpdateByID(ctx, w.ID(), bson.D{{Key: "$set", Value: bson.D{{Key: "used", Value: "many"}}}}); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Usage(ctx, "acme"); err == nil || !strings.Contains(err.Error(), "used") {
		t.Errorf("what is no number: %v", err)
	}
}

func TestAmountsComeBack(t *testing.T) {
	t.Parallel()
	type doc struct {
		A amount   `bson:"a"`
		O optional `bson:"o"`
		N optional `bson:"n"`
	}
	rapid.Check(t, func(t *rapid.T) {
		v := events.Value{
			Units: rapid.Int64Range(math.MinInt64+1, math.MaxInt64).Draw(t, "units"),
			Nanos: rapid.OneOf(rapid.Just(int32(0)), rapid.Int32Range(0, 999_999_999)).Draw(t, "nanos"),
		}
		b, err := bson.Marshal(doc{A: amount(v), O: optional{amount(v), true}})
		if err != nil {
			t.Fatal(err)
		}
		var d doc
		if err := bson.Unmarshal(b, &d); err != nil {
			t.Fatal(err)
		}
		if events.Value(d.A) != v || d.O.value() != events.Some(v) || d.N.value().Valid {
			t.Fatalf("%v came back as %v, %v, %v", v, d.A, d.O, d.N)
		}
	})
}

func TestFeaturesAsFields(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		feature := rapid.OneOf(rapid.String(), rapid.StringOfN(rapid.RuneFrom([]rune("a.$%25E")), 0, 12, -1)).Draw(t, "feature")
		field := fieldEscape.Replace(feature)
		if strings.ContainsAny(field, ".$") {
			t.Fatalf("%q is no field", field)
		}
		if got := fieldUnescape.Replace(field); got != feature {
			t.Fatalf("%q became %q", feature, got)
		}
	})
}
