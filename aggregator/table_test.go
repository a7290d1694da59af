package aggregator

import (
	"maps"
	"slices"
	"strconv"
	"testing"
	"unsafe"

	"pgregory.net/rapid"
)

func TestTheTableFindsWhatWasAdded(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		s, ids := newTable(), []string(nil)
		for range rapid.IntRange(0, 1000).Draw(t, "customers") {
			ids = append(ids, strconv.Itoa(len(ids))+rapid.SampledFrom([]string{"", "x", string(make([]byte, 36)), string(make([]byte, 200))}).Draw(t, "id"))
			if s.find(ids[len(ids)-1]) != nil {
				t.Fatal("found before it was there")
			}
			s.add(ids[len(ids)-1])
		}
		for n, id := range ids {
			if c := s.find(id); c == nil || c.id() != id || int(c.number) != n || s.at(c.number) != c {
				t.Fatalf("%q: %v", id, c)
			}
		}
		if s.find("none") != nil {
			t.Fatal("found what is not there")
		}
		n := 0
		for c := range s.all {
			if c.id() != ids[n] {
				t.Fatalf("%q at %d, want %q", c.id(), n, ids[n])
			}
			n++
		}
	})
}

// TestCustomersFillLinesOfTheCache: one that began in the middle of a line would
// cost every event another one.
func TestCustomersFillLinesOfTheCache(t *testing.T) {
	const line = 64
	s := newTable()
	for i := range 3 * partSize {
		c := s.add(strconv.Itoa(i))
		if size, at := unsafe.Sizeof(*c), uintptr(unsafe.Pointer(c)); size != 3*line || at%line != 0 {
			t.Fatalf("customer %d has %d bytes at %d", i, size, at)
		}
	}
}

func TestASetOfNumbersIsInOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var s numberSet
		for range 2 {
			want := map[uint32]bool{}
			for _, n := range rapid.SliceOf(rapid.Uint32Range(0, 3000)).Draw(t, "numbers") {
				s.add(n)
				want[n] = true
			}
			if got := slices.Collect(s.all); !slices.Equal(got, slices.Sorted(maps.Keys(want))) || s.nonEmpty != (len(want) > 0) {
				t.Fatal(got)
			}
			s.clear()
		}
	})
}

// TestACalendarGivesEveryEntryOnceItIsDue, and no sooner.
func TestACalendarGivesEveryEntryOnceItIsDue(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var c schedule
		open := map[uint32]uint32{} // by number: hour
		last := uint32(0)
		for number := range uint32(rapid.IntRange(0, 100).Draw(t, "entries")) {
			hour := rapid.Uint32Range(0, 50).Draw(t, "hour")
			if open[number] = c.add(hour, number); open[number] < hour {
				t.Fatalf("entered at %d, wanted at %d", open[number], hour)
			}
			if rapid.IntRange(0, 3).Draw(t, "take") > 0 {
				continue
			}
			last = max(last, rapid.Uint32Range(0, 60).Draw(t, "last"))
			c.takeUntil(last, func(number uint32) {
				if hour, ok := open[number]; !ok || hour > last {
					t.Fatalf("%d at %d: due %v at %d", number, last, ok, hour)
				}
				delete(open, number)
			})
			for number, hour := range open {
				if hour <= last {
					t.Fatalf("%d was due at %d, it is %d", number, hour, last)
				}
			}
		}
	})
}
