package wire

import (
	"errors"
	"reflect"
	"testing"

	"pgregory.net/rapid"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/records"
	"github.com/tidegate-io/tidegate/internal/test/kept"
)

func TestTotalsOfFormerVersionsAreRead(t *testing.T) {
	t.Parallel()
	for name, sample := range map[string]func() ([]byte, error){
		"format0/totals": func() ([]byte, error) { return Marshal(*kept.Sample[[]records.WindowTotal]()) },
		"format1/totals": func() ([]byte, error) { return Totals(*kept.Sample[[]records.WindowTotal]()) },
	} {
		kept.Check(t, name, sample, func(b []byte) (any, error) { return ParseTotals(b) })
	}
}

func TestTotalsOfANewerVersionAreRefusedByName(t *testing.T) {
	t.Parallel()
	_, err := ParseTotals(append(beforeBody(2), 0xa0))
	if !errors.Is(err, events.ErrFormat) {
		t.Fatalf("got %v", err)
	}
	if want := "a message of WINDOWS has format 2, and this version reads formats up to 1: " + events.ErrFormat.Error(); err.Error() != want {
		t.Errorf("got %q, want %q", err, want)
	}
}

// older and newer are the same record, of which the newer version knows more.
type older struct {
	_     struct{} `cbor:",toarray"`
	Name  string
	Inner []olderInner
	Last  events.NullValue
}

type newer struct {
	_     struct{} `cbor:",toarray"`
	Name  string
	Inner []newerInner
	Last  events.NullValue
	More  map[string]int
	Late  *newerInner
}

type olderInner struct {
	_ struct{} `cbor:",toarray"`
	N int64
}

type newerInner struct {
	_ struct{} `cbor:",toarray"`
	N int64
	S string
}

type holder[T any] struct {
	One   T            `cbor:"1,keyasint"`
	By    map[string]T `cbor:"2,keyasint,omitempty"`
	After uint64       `cbor:"3,keyasint"`
}

func TestPositionalRecordsGrowAtTheirEnd(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		n := rapid.Int64().Draw(t, "n")
		text := rapid.String().Draw(t, "text")
		was := older{Name: text, Inner: []olderInner{{N: n}, {N: 1}}, Last: events.Some(events.Value{Units: n})}
		is := newer{Name: text, Inner: []newerInner{{N: n}, {N: 1}}, Last: events.Some(events.Value{Units: n})}
		more := is
		more.Inner = []newerInner{{N: n, S: text}, {N: 1, S: text}}
		more.More, more.Late = map[string]int{text: 1}, &newerInner{N: 1, S: text}
		convert(t, holder[older]{was, map[string]older{text: was}, 7}, holder[newer]{is, map[string]newer{text: is}, 7})
		convert(t, holder[newer]{more, map[string]newer{text: more}, 7}, holder[older]{was, map[string]older{text: was}, 7})
	})
}

// convert writes one value and reads the other.
func convert[T any](t *rapid.T, from any, want T) {
	b, err := Marshal(from)
	if err != nil {
		t.Fatal(err)
	}
	var got T
	if err := Unmarshal(b, &got); err != nil || !reflect.DeepEqual(got, want) {
		t.Fatalf("%+v, %v; want %+v", got, err, want)
	}
}

func FuzzConform(f *testing.F) {
	b, err := Marshal(kept.Sample[newer]())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(b)
	f.Add([]byte{0x9b, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff})
	f.Fuzz(func(_ *testing.T, b []byte) {
		var r holder[older]
		_ = Unmarshal(b, &r) // must neither panic nor take memory without end
		var o older
		_ = Unmarshal(b, &o)
	})
}
