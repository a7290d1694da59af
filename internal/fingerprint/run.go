package fingerprint

import (
	"context"
	"math"
	"math/bits"

	"github.com/FastFilter/xorfilter"
)

// Store stores pages and filters. After an error, Put may have stored the message;
// such a message is unused, because no commit names it.
type Store interface {
	// Put stores a message and returns its number, which is above 0.
	Put(ctx context.Context, data []byte) (uint64, error)
	// Get returns a stored message. It waits for a store that is absent. Its
	// error is ErrGone, or that the caller may not wait any longer.
	Get(ctx context.Context, number uint64) ([]byte, error)
}

// Run is a set of fingerprints in the store: pages ordered by fingerprint. It is part
// of its owner's commits, and never changes.
type Run struct {
	_       struct{} `cbor:",toarray"`
	From    uint32   // hour of its oldest entry
	Hour    uint32   // of its newest
	Pages   []Page
	Filters []uint64 // messages with the filters of the pages, in order

	filters []Filter // loaded or built
}

// Page is a message of a run.
type Page struct {
	_      struct{} `cbor:",toarray"`
	Number uint64
	First  uint64 // its first fingerprint
	Len    uint32
}

// ID returns a number that is unique among the runs of a store.
func (r *Run) ID() uint64 { return r.Pages[0].Number }

// Len returns how many entries the run has.
func (r *Run) Len() (n int) {
	for i := range r.Pages {
		n += int(r.Pages[i].Len)
	}
	return n
}

// Bare returns the run without its filters, as a reader of a commit gets it.
func (r Run) Bare() Run {
	r.filters = nil
	return r
}

// Messages returns the numbers of all messages of the run.
func (r *Run) Messages() []uint64 {
	list := make([]uint64, 0, len(r.Pages)+len(r.Filters))
	for i := range r.Pages {
		list = append(list, r.Pages[i].Number)
	}
	return append(list, r.Filters...)
}

// page returns the index of the only page that may have fp, or -1 when none can. It
// begins at the page where fp is expected, because fingerprints are evenly
// distributed. That is faster than a binary search, whose branches the processor can't
// predict.
func (r *Run) page(fp uint64) int {
	hi, _ := bits.Mul64(fp, uint64(len(r.Pages)))
	i := int(hi)
	for i+1 < len(r.Pages) && r.Pages[i+1].First <= fp {
		i++
	}
	for i >= 0 && r.Pages[i].First > fp {
		i--
	}
	return i
}

// load reads the filters of a run that another owner has committed.
func (r *Run) load(ctx context.Context, s Store) error {
	filters := make([]Filter, 0, len(r.Pages))
	for _, number := range r.Filters {
		b, err := s.Get(ctx, number)
		if err != nil {
			return err
		}
		for len(b) > 0 {
			var f Filter
			if f, b, err = parseFilter(b); err != nil {
				return gone(number, err)
			}
			filters = append(filters, f)
		}
	}
	if err := r.belong(ctx, s, filters); err != nil {
		return err
	}
	r.filters = filters
	return nil
}

// filterBytes is the approximate size of a message of filters.
const filterBytes = 400 << 10

// writer writes a run entry by entry.
type writer struct {
	store   Store
	page    int // entries in a page
	run     Run
	entries []Entry
	fps     []uint64
	filters []byte // not yet stored
	builder xorfilter.BinaryFuseBuilder
}

func newWriter(s Store, page int) *writer {
	return &writer{store: s, page: page, run: Run{From: math.MaxUint32}}
}

func (w *writer) add(ctx context.Context, e Entry) error {
	w.entries = append(w.entries, e)
	if len(w.entries) < w.page {
		return nil
	}
	return w.flush(ctx)
}

// flush stores a page and adds its filter to those to be stored.
func (w *writer) flush(ctx context.Context) error {
	if len(w.entries) == 0 {
		return nil
	}
	number, err := w.store.Put(ctx, packPage(w.entries))
	if err != nil {
		return err
	}
	w.fps = w.fps[:0]
	for _, e := range w.entries {
		w.fps = append(w.fps, e.FP)
		w.run.From, w.run.Hour = min(w.run.From, e.Hour), max(w.run.Hour, e.Hour)
	}
	f, err := newFilter(&w.builder, w.fps)
	if err != nil {
		return err
	}
	w.run.Pages = append(w.run.Pages, Page{Number: number, First: w.entries[0].FP, Len: uint32(len(w.entries))})
	w.run.filters = append(w.run.filters, f)
	w.entries = w.entries[:0]
	if w.filters = f.append(w.filters); len(w.filters) >= filterBytes {
		return w.flushFilters(ctx)
	}
	return nil
}

func (w *writer) flushFilters(ctx context.Context) error {
	if len(w.filters) == 0 {
		return nil
	}
	number, err := w.store.Put(ctx, w.filters)
	w.run.Filters = append(w.run.Filters, number)
	w.filters = nil
	return err
}

// finish stores the rest and returns the run. An empty run has no pages.
func (w *writer) finish(ctx context.Context) (Run, error) {
	err := w.flush(ctx)
	if err == nil {
		err = w.flushFilters(ctx)
	}
	return w.run, err
}

// cursor iterates over a run.
type cursor struct {
	run  *Run
	next int // page
	page page
	at   int
	on   Entry // the current entry
}

// step moves to the next entry. It returns false at the end.
func (c *cursor) step(ctx context.Context, s Store) (bool, error) {
	for c.at++; c.at >= c.page.len(); c.next++ {
		if c.next == len(c.run.Pages) {
			return false, nil
		}
		p, err := getPage(ctx, s, c.run.Pages[c.next])
		if err != nil {
			return false, err
		}
		c.page = p
		c.at = 0
	}
	c.on = c.page.entry(c.at)
	return true, nil
}

// Merge merges runs into a new one. It keeps entries that are not older than oldest,
// and of each fingerprint the newest entry. It holds one page of each run in memory.
func Merge(ctx context.Context, s Store, page int, runs []Run, oldest uint32) (Run, error) {
	w := newWriter(s, page)
	var left []*cursor
	for i := range runs {
		c := &cursor{run: &runs[i], at: -1}
		more, err := c.step(ctx, s)
		if err != nil {
			return Run{}, err
		}
		if more {
			left = append(left, c)
		}
	}
	for len(left) > 0 {
		least := left[0].on
		for _, c := range left[1:] {
			if c.on.FP < least.FP || c.on.FP == least.FP && c.on.Hour > least.Hour {
				least = c.on
			}
		}
		if least.Hour >= oldest {
			if err := w.add(ctx, least); err != nil {
				return Run{}, err
			}
		}
		for i := 0; i < len(left); i++ {
			if left[i].on.FP != least.FP {
				continue
			}
			more, err := left[i].step(ctx, s)
			if err != nil {
				return Run{}, err
			}
			if !more {
				left = append(left[:i], left[i+1:]...)
				i--
			}
		}
	}
	return w.finish(ctx)
}
