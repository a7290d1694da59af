package fingerprint

import (
	"context"
	"errors"
	"slices"
)

// Sizes are the sizes of an Archive's parts. The zero value means the defaults below.
type Sizes struct {
	Chunk  int // entries of a new run; 60,000
	Page   int // entries in a page; 16,384
	Fanout int // how many runs of about the same size are merged; 8
	Cache  int // pages in memory; 16
}

func (s Sizes) orDefault() Sizes {
	if s == (Sizes{}) {
		return Sizes{Chunk: 60_000, Page: 1 << 14, Fanout: 8, Cache: 16}
	}
	return s
}

// Archive holds the older fingerprints of a partition: all of them in a store, and a
// filter of each page in memory. Its answers are exact; with the filters it rarely
// reads the store for a fingerprint that is not there. A run of which the store has
// lost a part is left out from then on; TakeLost tells of it. It is not safe for
// concurrent use, except for Merge.
type Archive struct {
	Sizes
	store Store
	runs  []Run
	cache []cached // the most recently used last
	gets  int
	lost  []Run
}

type cached struct {
	number uint64
	page   page
}

// NewArchive returns an archive without runs.
func NewArchive(s Store, sizes Sizes) *Archive { return &Archive{store: s, Sizes: sizes.orDefault()} }

// Has reports whether fp was added with an hour of oldest or later.
func (a *Archive) Has(ctx context.Context, fp uint64, oldest uint32) (bool, error) {
	var seed, hash uint64
	for i := len(a.runs) - 1; i >= 0; i-- { // the newest first, as most repetitions come soon
		r := &a.runs[i]
		if r.Hour < oldest {
			continue
		}
		n := r.page(fp)
		if n < 0 {
			continue
		}
		f := &r.filters[n]
		if f.seed != seed || hash == 0 { // nearly all filters have the same seed
			seed, hash = f.seed, murmur64(fp+f.seed)
		}
		if !f.passes(hash) {
			continue
		}
		p, err := a.page(ctx, r.Pages[n])
		if errors.Is(err, ErrGone) {
			a.lose(i)
			continue
		}
		if err != nil {
			return false, err
		}
		if hour, found := p.find(fp); found && hour >= oldest {
			return true, nil
		}
	}
	return false, nil
}

// page returns a page from the cache or the store.
func (a *Archive) page(ctx context.Context, is Page) (page, error) {
	for i := len(a.cache) - 1; i >= 0; i-- {
		if c := a.cache[i]; c.number == is.Number && c.page.is(is) {
			copy(a.cache[i:], a.cache[i+1:])
			a.cache[len(a.cache)-1] = c
			return c.page, nil
		}
	}
	a.gets++
	p, err := getPage(ctx, a.store, is)
	if err != nil {
		return page{}, err
	}
	if len(a.cache) >= max(a.Cache, 1) {
		a.cache = slices.Delete(a.cache, 0, 1)
	}
	a.cache = append(a.cache, cached{is.Number, p})
	return p, nil
}

// Write stores entries as a new run and returns it. The caller has to Add it.
func (a *Archive) Write(ctx context.Context, entries []Entry) (Run, error) {
	w := newWriter(a.store, a.Page)
	for _, e := range distinct(slices.Clone(entries)) {
		if err := w.add(ctx, e); err != nil {
			return Run{}, err
		}
	}
	return w.finish(ctx)
}

// Merge calls the function Merge with the archive's store. It is safe for concurrent
// use with all methods.
func (a *Archive) Merge(ctx context.Context, runs []Run, oldest uint32) (Run, error) {
	return Merge(ctx, a.store, a.Page, runs, oldest)
}

// Runs returns the archive's runs, oldest first. The caller must not change them.
func (a *Archive) Runs() []Run { return a.runs }

// Add adds runs to the archive. Runs that this process did not write need Load before
// Has.
func (a *Archive) Add(runs ...Run) {
	for _, r := range runs {
		if len(r.Pages) > 0 {
			a.runs = append(a.runs, r)
		}
	}
	slices.SortStableFunc(a.runs, func(x, y Run) int { return int(int64(x.Hour) - int64(y.Hour)) })
}

// Remove removes and returns the runs with these IDs.
func (a *Archive) Remove(ids []uint64) (removed []Run) {
	return a.remove(func(r *Run) bool { return slices.Contains(ids, r.ID()) })
}

// Expire removes the runs whose entries are all older than oldest.
func (a *Archive) Expire(oldest uint32) { a.remove(func(r *Run) bool { return r.Hour < oldest }) }

func (a *Archive) remove(is func(*Run) bool) (removed []Run) {
	// A new slice, because a snapshot or a merge may use the old one.
	kept := make([]Run, 0, len(a.runs))
	for i := range a.runs {
		if is(&a.runs[i]) {
			removed = append(removed, a.runs[i])
		} else {
			kept = append(kept, a.runs[i])
		}
	}
	a.runs = kept
	return removed
}

// Load reads the filters of runs that have none yet.
func (a *Archive) Load(ctx context.Context) error {
	for i := len(a.runs) - 1; i >= 0; i-- {
		if a.runs[i].filters != nil {
			continue
		}
		err := a.runs[i].load(ctx, a.store)
		if errors.Is(err, ErrGone) {
			a.lose(i)
			continue
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// Mergeable returns runs that should be merged, or nil: runs of about the same size
// that follow each other in time. Together they span at most span hours, because an
// expired entry stays until its whole run has expired.
func (a *Archive) Mergeable(span uint32) []Run {
	levels := map[int][]Run{}
	for _, r := range a.runs {
		level := a.level(r.Len())
		list := levels[level]
		if len(list) >= max(a.fanout()/2, 2) && r.Hour-min(oldestOf(list), r.From) > span {
			return list // no further run can join these
		}
		list = append(list, r)
		for len(list) > 0 && r.Hour-oldestOf(list) > span {
			list = list[1:]
		}
		if len(list) >= a.fanout() {
			return list
		}
		levels[level] = list
	}
	return nil
}

func oldestOf(runs []Run) uint32 {
	oldest := runs[0].From
	for _, r := range runs {
		oldest = min(oldest, r.From)
	}
	return oldest
}

func (a *Archive) fanout() int { return max(a.Fanout, 2) }

// level returns how often a run of n entries has been merged, estimated by its size.
func (a *Archive) level(n int) (level int) {
	for n /= max(a.Chunk*a.fanout()/2, 1); n > 0; n /= a.fanout() {
		level++
	}
	return level
}

// Stats is the size of an archive.
type Stats struct {
	Runs, Pages, Entries int
	Memory               int // bytes of filters and of lists of pages
	Gets                 int // pages that were read from the store
}

// Stats returns the size of the archive.
func (a *Archive) Stats() Stats {
	s := Stats{Runs: len(a.runs), Gets: a.gets}
	for i := range a.runs {
		r := &a.runs[i]
		s.Entries += r.Len()
		s.Pages += len(r.Pages)
		for k := range r.filters {
			s.Memory += cap(r.filters[k].slots)
		}
		s.Memory += (24+40)*len(r.Pages) + 8*len(r.Filters)
	}
	return s
}
