package wire

import (
	"bytes"
	"encoding/hex"
	"reflect"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/gate"
	"github.com/tidegate-io/tidegate/internal/records"
)

func totals() *rapid.Generator[[]records.WindowTotal] {
	moment := rapid.Custom(func(t *rapid.T) time.Time {
		if rapid.Bool().Draw(t, "zero") {
			return time.Time{}
		}
		return time.Unix(rapid.Int64Range(-62135596799, 253402300799).Draw(t, "sec"), rapid.Int64Range(0, 999_999_999).Draw(t, "ns")).UTC()
	})
	value := rapid.Custom(func(t *rapid.T) events.Value {
		return events.Value{Units: rapid.Int64().Draw(t, "units"), Nanos: rapid.Int32Range(0, 999_999_999).Draw(t, "nanos")}
	})
	return rapid.SliceOfN(rapid.Custom(func(t *rapid.T) records.WindowTotal {
		w := records.WindowTotal{Customer: rapid.String().Draw(t, "customer"), Feature: rapid.String().Draw(t, "feature"),
			Generation: rapid.Uint64().Draw(t, "generation"), Position: rapid.Uint64().Draw(t, "position"), Index: rapid.IntRange(0, 1000).Draw(t, "index"),
			Start: moment.Draw(t, "start"), End: moment.Draw(t, "end"), Used: value.Draw(t, "used"), StoredAt: moment.Draw(t, "stored"),
			Silent: rapid.Bool().Draw(t, "silent")}
		for range rapid.IntRange(0, 3).Draw(t, "buckets") {
			w.Buckets = append(w.Buckets, gate.Bucket{Start: moment.Draw(t, "bucket"), Used: value.Draw(t, "used")})
		}
		return w
	}), 1, 5)
}

func TestTotalsSurvive(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		want := totals().Draw(t, "totals")
		b, err := Totals(want)
		if err != nil {
			t.Fatal(err)
		}
		got, err := ParseTotals(b)
		if err != nil || !reflect.DeepEqual(got, want) {
			t.Fatalf("%+v, %v; want %+v", got, err, want)
		}
		if again, err := Totals(got); err != nil || !bytes.Equal(again, b) {
			t.Fatalf("other bytes for the same totals: %v", err)
		}
		if cut := rapid.IntRange(0, len(b)-1).Draw(t, "cut"); true {
			if got, err := ParseTotals(b[:cut]); err == nil {
				t.Fatalf("%d of %d bytes give %+v", cut, len(b), got)
			}
		}
	})
}

// TestBytesNeverChange: a later version has to read the stored bytes of this one.
func TestBytesNeverChange(t *testing.T) {
	t.Parallel()
	noon := time.Date(2026, 7, 1, 12, 0, 0, 0, time.UTC)
	b, err := Totals([]records.WindowTotal{{Customer: "acme", Feature: "api", Generation: 1, Position: 7, Index: 2, Start: noon, Used: events.Value{Units: 1, Nanos: 5}}})
	if err != nil {
		t.Fatal(err)
	}
	want := "da" + hex.EncodeToString([]byte("tide")) + "8201" + // tag, format
		"818c" + "6461636d65" + "63617069" + "01" + "07" + "02" + // customer, feature, generation, position, index
		"74" + hex.EncodeToString([]byte("2026-07-01T12:00:00Z")) + "f6" + // start; no end
		"820105" + "f6" + "f6" + "f4" + "f6" // used, no buckets, no time, not silent, no cut
	if got := hex.EncodeToString(b); got != want {
		t.Errorf("\ngot  %s\nwant %s", got, want)
	}
}

func TestEqualMapsHaveEqualBytes(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		m := rapid.MapOf(rapid.String(), rapid.Int64()).Draw(t, "m")
		other := map[string]int64{}
		for k, v := range m {
			other[k] = v
		}
		a, err := Marshal(m)
		b, err2 := Marshal(other)
		if err != nil || err2 != nil || !bytes.Equal(a, b) {
			t.Fatalf("%x and %x, %v, %v", a, b, err, err2)
		}
	})
}

func TestUnreadableBytes(t *testing.T) {
	t.Parallel()
	for _, b := range [][]byte{nil, {0xff}, []byte(`[{"customer":"acme"}]`), {0x81, 0x82, 0x01, 0x02}, bytes.Repeat([]byte{0x81}, 100)} {
		if _, err := ParseTotals(b); err == nil || !strings.HasPrefix(err.Error(), "a record that this version cannot read: ") {
			t.Errorf("%x: %v", b, err)
		}
	}
}

func FuzzParseTotals(f *testing.F) {
	b, err := Totals([]records.WindowTotal{{Customer: "acme", Feature: "api", Start: time.Unix(1, 2).UTC(), Buckets: []gate.Bucket{{Used: events.Count(1)}}}})
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Fuzz(func(t *testing.T, b []byte) {
		ts, err := ParseTotals(b)
		if err != nil {
			return
		}
		if _, err := Totals(ts); err != nil {
			t.Fatalf("%+v cannot be written: %v", ts, err)
		}
	})
}
