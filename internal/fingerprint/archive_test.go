package fingerprint

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"testing"

	"github.com/FastFilter/xorfilter"
	"pgregory.net/rapid"
)

// heap is a store in memory.
type heap struct {
	messages [][]byte
	bytes    int
	gets     int
	away     error
}

func (h *heap) Put(_ context.Context, b []byte) (uint64, error) {
	if h.away != nil {
		return 0, h.away
	}
	h.messages = append(h.messages, slices.Clone(b))
	h.bytes += len(b)
	return uint64(len(h.messages)), nil
}

func (h *heap) Get(_ context.Context, number uint64) ([]byte, error) {
	h.gets++
	if h.away != nil {
		return nil, h.away
	}
	return h.messages[number-1], nil
}

func random(seed uint64, n int) []uint64 {
	r, fps := rand.New(rand.NewPCG(seed, 1)), make([]uint64, n)
	for i := range fps {
		fps[i] = r.Uint64()
	}
	return fps
}

func TestAFilterPassesAllOfItsOwnAndFewOthers(t *testing.T) {
	t.Parallel()
	var b xorfilter.BinaryFuseBuilder
	for _, n := range []int{1, 2, 3, 10, 100, 1000, 1 << 14, 200_000} {
		own := random(uint64(n), n)
		f, err := newFilter(&b, slices.Clone(own))
		if err != nil {
			t.Fatal(n, err)
		}
		stored, rest, err := parseFilter(append(f.append(nil), 7))
		if err != nil || len(rest) != 1 {
			t.Fatal(n, len(rest), err)
		}
		for _, fp := range own {
			if !f.MayHave(fp) || !stored.MayHave(fp) {
				t.Fatalf("%#x of %d is not there", fp, n)
			}
		}
		passed := 0
		const others = 400_000
		for _, fp := range random(1<<40, others) {
			if f.MayHave(fp) {
				passed++
			}
		}
		if want := others / 4096; passed > 2*want {
			t.Errorf("%d: %d of %d others pass, about %d expected", n, passed, others, want)
		}
		if perEntry := float64(len(f.slots)) / float64(n); n >= 1<<14 && perEntry > 1.9 {
			t.Errorf("%d: %.2f bytes an entry", n, perEntry)
		}
	}
}

func TestFiltersOfAllSmallSizes(t *testing.T) {
	t.Parallel()
	var b xorfilter.BinaryFuseBuilder
	for n := 1; n < 700; n++ {
		if _, err := newFilter(&b, random(uint64(n), n)); err != nil { // newFilter checks the filter
			t.Fatal(n, err)
		}
	}
}

// TestFiltersNeverChange: stored filters must stay readable when the library changes.
func TestFiltersNeverChange(t *testing.T) {
	t.Parallel()
	f := Filter{seed: 0x910a2dec89025cc1, segment: 4, first: 4, slots: make([]byte, 18)}
	var got []uint64
	for fp := range uint64(20_000) {
		if f.MayHave(fp) {
			got = append(got, fp)
		}
	}
	if want := []uint64{1625, 1640, 4854, 6477, 8091, 10125, 12578}; !slices.Equal(got, want) {
		t.Errorf("an empty filter passes %v, want %v", got, want)
	}
}

func FuzzParseFilter(f *testing.F) {
	var b xorfilter.BinaryFuseBuilder
	filter, err := newFilter(&b, random(1, 9))
	if err != nil {
		f.Fatal(err)
	}
	f.Add(filter.append(nil))
	f.Add(make([]byte, 16))
	f.Fuzz(func(t *testing.T, b []byte) {
		if filter, _, err := parseFilter(b); err == nil {
			for fp := range uint64(64) {
				filter.MayHave(fp << 58)
			}
		}
	})
}

func FuzzParsePage(f *testing.F) {
	f.Add(packPage([]Entry{{1, 2}, {3, 2}, {4, 5}}))
	f.Fuzz(func(t *testing.T, b []byte) {
		if p, err := parsePage(b); err == nil {
			for i := range p.len() {
				p.entry(i)
			}
			p.find(1 << 63)
		}
	})
}

func TestAPageFindsItsEntries(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(t *rapid.T) {
		es := distinct(entries().Draw(t, "entries"))
		p, err := parsePage(packPage(es))
		if err != nil || p.len() != len(es) {
			t.Fatal(p.len(), err)
		}
		newest := uint32(0)
		for _, e := range es {
			newest = max(newest, e.Hour)
		}
		for i, e := range es {
			want := max(e.Hour, newest-min(newest, maxAge))
			if h, found := p.find(e.FP); !found || h != want || p.entry(i).FP != e.FP {
				t.Fatalf("%v: %d %t, want %d", e, h, found, want)
			}
		}
		other := rapid.Uint64().Draw(t, "other")
		if _, found := p.find(other); found != slices.ContainsFunc(es, func(e Entry) bool { return e.FP == other }) {
			t.Fatalf("%d: %t", other, found)
		}
	})
}

// TestAnArchiveAnswersLikeASet: entries move into the archive, runs are merged or
// expire, and a new owner loads the old one's runs, all at any time.
func TestAnArchiveAnswersLikeASet(t *testing.T) {
	t.Parallel()
	ctx := t.Context()
	rapid.Check(t, func(rt *rapid.T) {
		const horizon = 48
		store := &heap{}
		sizes := Sizes{Chunk: 4, Page: rapid.IntRange(1, 5).Draw(rt, "page"), Fanout: rapid.IntRange(2, 4).Draw(rt, "fanout"), Cache: 2}
		a := NewArchive(store, sizes)
		added := map[uint64]uint32{}
		var fresh []Entry
		hour := uint32(490_000)
		for range rapid.IntRange(1, 80).Draw(rt, "steps") {
			hour += rapid.Uint32Range(0, 3).Draw(rt, "later")
			oldest := hour - horizon
			switch rapid.IntRange(0, 6).Draw(rt, "step") {
			case 0:
				run, err := a.Write(ctx, fresh)
				if err != nil {
					rt.Fatal(err)
				}
				a.Add(run)
				fresh = nil
			case 1:
				if runs := a.Mergeable(rapid.Uint32Range(0, 30).Draw(rt, "span")); runs != nil {
					merge(rt, a, runs, oldest)
				}
			case 2:
				a.Expire(oldest)
			case 3:
				b := NewArchive(store, sizes)
				for _, r := range a.Runs() {
					b.Add(r.Bare())
				}
				if err := b.Load(ctx); err != nil {
					rt.Fatal(err)
				}
				a = b
			default:
				fp := rapid.Uint64Range(0, 30).Draw(rt, "fp") << 59
				if added[fp] < oldest {
					added[fp] = hour
					fresh = append(fresh, Entry{fp, hour})
				}
			}
			for fp := range uint64(31) {
				fp <<= 59
				got, err := a.Has(ctx, fp, oldest)
				got = got || slices.ContainsFunc(fresh, func(e Entry) bool { return e.FP == fp && e.Hour >= oldest })
				if want := added[fp] >= oldest; got != want || err != nil {
					rt.Fatalf("%d of %d at %d: %t, %v", fp, added[fp], hour, got, err)
				}
			}
		}
	})
}

func merge(t interface{ Fatal(...any) }, a *Archive, runs []Run, oldest uint32) {
	run, err := a.Merge(context.Background(), runs, oldest)
	if err != nil {
		t.Fatal(err)
	}
	var ids []uint64
	for _, r := range runs {
		ids = append(ids, r.ID())
	}
	if gone := a.Remove(ids); len(gone) != len(runs) {
		t.Fatal("removed", len(gone), "of", len(runs))
	}
	a.Add(run)
}

// fill writes n random entries in chunks, spread over a number of hours, and merges
// runs meanwhile. It returns the size of the runs in the store in bytes.
func fill(t testing.TB, a *Archive, n int, hours uint32) {
	r := rand.New(rand.NewPCG(1, 2))
	for i := 0; i < n; i += a.Chunk {
		es := make([]Entry, min(a.Chunk, n-i))
		for k := range es {
			es[k] = Entry{r.Uint64(), uint32(uint64(i) * uint64(hours) / uint64(n))}
		}
		run, err := a.Write(t.Context(), es)
		if err != nil {
			t.Fatal(err)
		}
		a.Add(run)
		for runs := a.Mergeable(96); runs != nil; runs = a.Mergeable(96) {
			merge(t, a, runs, 0)
		}
	}
}

func TestAnArchiveIsSmallAndReadsRarely(t *testing.T) {
	t.Parallel()
	store := &heap{}
	a := NewArchive(store, Sizes{})
	const n = 1_500_000
	fill(t, a, n, 72)
	s, bytes := a.Stats(), 0
	for _, r := range a.Runs() {
		for _, number := range r.Messages() {
			bytes += len(store.messages[number-1])
		}
	}
	if s.Entries != n || s.Runs > 2*8 {
		t.Errorf("%+v", s)
	}
	if memory, stored := float64(s.Memory)/n, float64(bytes)/n; memory > 2 || stored > 12 {
		t.Errorf("%.2f bytes an entry in memory, %.2f in the store", memory, stored)
	}
	const asked = 100_000
	for _, fp := range random(77, asked) {
		if known, err := a.Has(t.Context(), fp, 0); known || err != nil {
			t.Fatal(known, err)
		}
	}
	if gets := a.Stats().Gets; gets > 2*asked*s.Runs/4096 {
		t.Errorf("%d of %d new fingerprints were looked up in %d runs", gets, asked, s.Runs)
	}
}

func TestRunsThatSpanTooMuchAreNotMerged(t *testing.T) {
	t.Parallel()
	a := NewArchive(&heap{}, Sizes{Chunk: 4, Page: 4, Fanout: 2, Cache: 1})
	for hour := uint32(0); hour < 100; hour += 10 {
		run, err := a.Write(t.Context(), []Entry{{uint64(hour), hour}})
		if err != nil {
			t.Fatal(err)
		}
		a.Add(run)
	}
	if runs := a.Mergeable(9); runs != nil {
		t.Errorf("%d runs span more than 9 hours", len(runs))
	}
	if runs := a.Mergeable(10); len(runs) != 2 || runs[0].Hour != 0 || runs[1].Hour != 10 {
		t.Errorf("%+v", runs)
	}
	a.Fanout = 8
	for span, want := range map[uint32]int{29: 0, 30: 4, 69: 7, 70: 8, 1000: 8} { // four are enough when no more can come
		if runs := a.Mergeable(span); len(runs) != want {
			t.Errorf("%d runs of at most %d hours are merged, want %d", len(runs), span, want)
		}
	}
}

// TestAnArchiveDoesNotGuess: when the store fails, Has returns the error.
func TestAnArchiveDoesNotGuess(t *testing.T) {
	t.Parallel()
	store, gone := &heap{}, errors.New("gone")
	a := NewArchive(store, Sizes{})
	run, err := a.Write(t.Context(), []Entry{{1, 1}, {2, 1}})
	if err != nil {
		t.Fatal(err)
	}
	a.Add(run)
	store.away = gone
	if known, err := a.Has(t.Context(), 1, 0); known || !errors.Is(err, gone) {
		t.Errorf("%t, %v", known, err)
	}
	b := NewArchive(store, Sizes{})
	b.Add(run.Bare())
	if err := b.Load(t.Context()); !errors.Is(err, gone) {
		t.Error(err)
	}
	if _, err := a.Write(t.Context(), []Entry{{3, 1}}); !errors.Is(err, gone) {
		t.Error(err)
	}
	if _, err := a.Merge(t.Context(), a.Runs(), 0); !errors.Is(err, gone) {
		t.Error(err)
	}
}
