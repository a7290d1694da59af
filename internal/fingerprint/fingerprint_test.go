package fingerprint

import (
	"math"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"
)

const golden = 0xf8ae90094049e770

func entries() *rapid.Generator[[]Entry] {
	return rapid.SliceOf(rapid.Custom(func(t *rapid.T) Entry {
		return Entry{FP: rapid.Uint64().Draw(t, "fp"), Hour: rapid.OneOf(rapid.Uint32Range(490_000, 490_005), rapid.Uint32()).Draw(t, "hour")}
	}))
}

func TestIdentitiesDiffer(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		text := rapid.StringMatching(`[ab]{0,3}`)
		a := [3]string{text.Draw(t, "subject"), text.Draw(t, "source"), text.Draw(t, "id")}
		b := [3]string{text.Draw(t, "subject"), text.Draw(t, "source"), text.Draw(t, "id")}
		if same := Of(a[0], a[1], a[2]) == Of(b[0], b[1], b[2]); same != (a == b) {
			t.Fatalf("%q and %q: the same fingerprint: %t", a, b, same)
		}
	})
}

// TestFingerprintsNeverChange: they are stored in logs.
func TestFingerprintsNeverChange(t *testing.T) {
	t.Parallel()
	if got := Of("acme", "billing-api", "1"); got != golden {
		t.Errorf("%#x, want %#x", got, uint64(golden))
	}
	long := string(make([]byte, 600)) // longer than the buffer
	if Of(long, "", "1") == Of(long, "", "2") {
		t.Error("long names hide the id")
	}
}

func TestASetForgetsAfterTheHorizon(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		const horizon = 48
		var s Set
		added := map[uint64]uint32{}
		hour := uint32(490_000)
		for range rapid.IntRange(1, 60).Draw(t, "steps") {
			hour += rapid.Uint32Range(0, 30).Draw(t, "later")
			oldest := hour - horizon
			fp := rapid.Uint64Range(0, 9).Draw(t, "fp")
			at, known := added[fp]
			if got, want := s.Has(fp, oldest), known && at >= oldest; got != want {
				t.Fatalf("%d of %d at %d: %t", fp, at, hour, got)
			}
			if rapid.Bool().Draw(t, "add") {
				s.Add(fp, hour)
				added[fp] = hour
			}
			s.Expire(oldest) // whenever it is called, it changes no answer
			if got, want := s.Has(fp, oldest), added[fp] >= oldest && added[fp] > 0; got != want {
				t.Fatalf("after a sweep %d of %d at %d: %t", fp, added[fp], hour, got)
			}
		}
		s.Expire(hour + 1000)
		if s.Len() != 0 {
			t.Fatalf("%d are left", s.Len())
		}
	})
}

func TestAnOlderHourDoesNotReplaceANewerOne(t *testing.T) {
	t.Parallel()
	var s Set
	s.Add(1, 10)
	s.Add(1, 5)
	if !s.Has(1, 10) || s.Has(1, 11) || s.Len() != 1 {
		t.Error("the newer hour is lost")
	}
}

func TestEncodeAndDecode(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		want := entries().Draw(t, "entries")
		b := Encode(slices.Clone(want))
		var got []Entry
		if err := Decode(b, func(e Entry) { got = append(got, e) }); err != nil {
			t.Fatal(err)
		}
		slices.SortFunc(want, compare)
		if !slices.Equal(got, want) {
			t.Fatalf("%v, want %v", got, want)
		}
		if again := Encode(got); !slices.Equal(again, b) {
			t.Fatal("the bytes depend on the order")
		}
		if len(b) > 0 {
			cut := rapid.IntRange(1, len(b)-1).Draw(t, "cut")
			n := 0
			if err := Decode(b[:cut], func(Entry) { n++ }); err == nil && n == len(want) {
				t.Fatalf("%d of %d bytes are as good as all", cut, len(b))
			}
		}
	})
}

func FuzzDecode(f *testing.F) {
	f.Add(Encode([]Entry{{1, 2}, {3, 2}, {4, 5}}))
	f.Add([]byte{0, 0, 0, 1, 255, 255, 255, 255})
	f.Fuzz(func(t *testing.T, b []byte) {
		n := 0
		if err := Decode(b, func(Entry) { n++ }); n > len(b)/8 {
			t.Fatalf("%d entries of %d bytes, %v", n, len(b), err)
		}
	})
}

func TestHour(t *testing.T) {
	t.Parallel()
	for sec, want := range map[int64]uint32{0: 0, 3599: 0, 3600: 1, 1782907200: 495252} {
		if got := Hour(time.Unix(sec, 999)); got != want {
			t.Errorf("%d: %d, want %d", sec, got, want)
		}
	}
	if Hour(time.Unix(math.MaxUint32*3600, 0)) != math.MaxUint32 {
		t.Error("hours end too early")
	}
}

// TestALargeSetLosesNothing when it grows and expires entries.
func TestALargeSetLosesNothing(t *testing.T) {
	t.Parallel()
	var s Set
	fps := append(random(7, 100_000), 0)
	for i, fp := range fps {
		if s.Has(fp, 0) {
			t.Fatalf("%#x is there before it was added", fp)
		}
		s.Add(fp, uint32(1000+i%2))
	}
	if s.Len() != len(fps) {
		t.Errorf("%d of %d", s.Len(), len(fps))
	}
	s.Expire(1001)
	for i, fp := range fps {
		if want := i%2 == 1; s.Has(fp, 0) != want {
			t.Fatalf("%#x of hour %d: %t", fp, 1000+i%2, !want)
		}
	}
	s.Reset()
	if s.Len() != 0 || s.Has(fps[1], 0) {
		t.Error("something is left")
	}
	s.Add(fps[1], 7)
	if !s.Has(fps[1], 7) || s.Has(fps[1], 8) || s.Len() != 1 {
		t.Error("a set that was emptied does not remember")
	}
}

// TestSorting sorts any fingerprints, also those that an attacker has chosen to fall
// into one bucket.
func TestSorting(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		fp := rapid.OneOf(rapid.Uint64(), rapid.Uint64Range(0, 40), rapid.Map(rapid.Uint64Range(0, 40), func(n uint64) uint64 { return ^n }))
		got := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) Entry {
			return Entry{FP: fp.Draw(t, "fp"), Hour: rapid.Uint32Range(0, 3).Draw(t, "hour")}
		}), 0, 200).Draw(t, "entries")
		want := slices.Clone(got)
		slices.SortStableFunc(want, newestFirst)
		sortByFP(got)
		if !slices.Equal(got, want) {
			t.Fatalf("%v, want %v", got, want)
		}
	})
}

func BenchmarkSet(b *testing.B) {
	fps := random(3, 100_000)
	b.Run("table", func(b *testing.B) {
		var s Set
		for b.Loop() {
			for _, fp := range fps {
				if !s.Has(fp, 0) {
					s.Add(fp, 1)
				}
			}
			s.Reset()
		}
	})
	b.Run("map", func(b *testing.B) {
		m := map[uint64]uint32{}
		for b.Loop() {
			for _, fp := range fps {
				if _, ok := m[fp]; !ok {
					m[fp] = 1
				}
			}
			clear(m)
		}
	})
}
