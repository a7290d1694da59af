package fingerprint

import (
	"context"
	"errors"
	"fmt"
	"slices"
)

// ErrGone is the error for a message of a run that the store has lost. A store that
// lost its end gives the numbers of lost messages to new ones: so it is also the error
// for a message that is another one than the run has stored.
var ErrGone = errors.New("the store has lost it")

func gone(number uint64, why error) error {
	return fmt.Errorf("message %d of a run: %w (%w)", number, ErrGone, why)
}

var errOther = errors.New("another message has its number")

// is reports whether p is a run's page. Its first fingerprint has 64 bits, which two
// pages hardly share.
func (p *page) is(page Page) bool {
	return p.len() == int(page.Len) && p.len() > 0 && p.fp(0) == page.First
}

// getPage reads a page of a run.
func getPage(ctx context.Context, s Store, is Page) (page, error) {
	b, err := s.Get(ctx, is.Number)
	if err != nil {
		return page{}, err
	}
	p, err := parsePage(b)
	if err != nil {
		return page{}, gone(is.Number, err)
	}
	if !p.is(is) {
		return page{}, gone(is.Number, errOther)
	}
	return p, nil
}

// sureFilters is how many filters must pass their page's first fingerprint before they
// are believed to be those of the run: another filter passes one in 4096.
const sureFilters = 4

// belong returns ErrGone if filters are not those of the run's pages.
func (r *Run) belong(ctx context.Context, s Store, filters []Filter) error {
	if len(filters) != len(r.Pages) {
		return gone(r.Filters[0], fmt.Errorf("%w: %d for %d pages", errFilter, len(filters), len(r.Pages)))
	}
	for i := range filters {
		if !filters[i].MayHave(r.Pages[i].First) {
			return gone(r.Filters[0], errOther)
		}
	}
	if len(filters) >= sureFilters {
		return nil
	}
	for i := range filters { // a small run is read as a whole
		p, err := getPage(ctx, s, r.Pages[i])
		if err != nil {
			return err
		}
		for k := range p.len() {
			if !filters[i].MayHave(p.fp(k)) {
				return gone(r.Filters[0], errOther)
			}
		}
	}
	return nil
}

// lose leaves the run at index i out.
func (a *Archive) lose(i int) {
	a.lost = append(a.lost, a.runs[i])
	a.runs = slices.Concat(a.runs[:i], a.runs[i+1:]) // a snapshot or a merge may use the old slice
}

// Lose leaves runs out: those for which is returns true.
func (a *Archive) Lose(is func(*Run) bool) { a.lost = append(a.lost, a.remove(is)...) }

// Newest returns the highest number of a message of a run, or 0. Messages that are
// stored later have higher ones, unless the store has lost its end.
func (a *Archive) Newest() (number uint64) {
	for i := range a.runs {
		number = max(number, slices.Max(a.runs[i].Messages()))
	}
	return number
}

// LoseUnreadable leaves out those of some runs that cannot be read, as Merge has found.
// It returns the errors of a store that cannot be asked.
func (a *Archive) LoseUnreadable(ctx context.Context, runs []Run) error {
	for i := range runs {
		for _, is := range runs[i].Pages {
			_, err := getPage(ctx, a.store, is)
			if errors.Is(err, ErrGone) {
				a.Lose(func(r *Run) bool { return r.ID() == runs[i].ID() })
				break
			}
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// TakeLost returns the runs that were left out since it was last called.
func (a *Archive) TakeLost() []Run {
	lost := a.lost
	a.lost = nil
	return lost
}
