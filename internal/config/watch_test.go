package config

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// watched runs Watch on its own file with a fake clock.
type watched struct {
	t       *testing.T
	path    string
	reports chan report
	refuse  atomic.Bool // report returns false
	configs []*Config   // of the reports that expect has read
	errs    []error
}

type report struct {
	config *Config
	err    error
}

// watchFile calls play while Watch runs. With nil content the file does not exist at
// first.
func watchFile(t *testing.T, content *string, current *Config, play func(w *watched)) {
	t.Helper()
	path := filepath.Join(t.TempDir(), "tidegate.yaml")
	if content != nil {
		write(t, path, *content)
	}
	synctest.Test(t, func(t *testing.T) {
		w := &watched{t: t, path: path, reports: make(chan report, 100)}
		ctx, cancel := context.WithCancel(t.Context())
		defer synctest.Wait()
		defer cancel()
		go Watch(ctx, path, environment, current, time.Second, func(c *Config, err error) bool {
			w.reports <- report{c, err}
			return !w.refuse.Load()
		})
		w.pass(0)
		play(w)
	})
}

// pass waits for n reads.
func (w *watched) pass(n int) {
	<-time.After(time.Duration(n)*time.Second + time.Millisecond)
	synctest.Wait()
}

func (w *watched) write(text string) { write(w.t, w.path, text) }

func (w *watched) expect(configs, errs int) {
	w.t.Helper()
	for len(w.reports) > 0 {
		switch r := <-w.reports; {
		case (r.config == nil) == (r.err == nil):
			w.t.Errorf("reported %v with error %v", r.config, r.err)
		case r.err != nil:
			w.errs = append(w.errs, r.err)
		default:
			w.configs = append(w.configs, r.config)
		}
	}
	if len(w.configs) != configs || len(w.errs) != errs {
		w.t.Fatalf("reported %d configurations and %d errors, want %d and %d (%v)", len(w.configs), len(w.errs), configs, errs, w.errs)
	}
}

func TestWatchReportsAChangeOnce(t *testing.T) {
	doc := base
	current, err := Parse([]byte(doc), environment)
	if err != nil {
		t.Fatal(err)
	}
	watchFile(t, &doc, current, func(w *watched) {
		w.pass(5)
		w.expect(0, 0)
		w.write(base + "partitions: 8\n")
		w.pass(1)
		w.expect(0, 0) // read once: it may be half of a change
		w.pass(1)
		w.expect(1, 0)
		if got := w.configs[0].Partitions; got != 8 {
			t.Errorf("partitions %d, want 8", got)
		}
		w.pass(5)
		w.expect(1, 0)

		w.write(base + "partitions: many\n")
		w.pass(5)
		w.expect(1, 1)
		var errs *Errors
		if !errors.As(w.errs[0], &errs) || errs.File != w.path || errs.Problems[0].Line != 11 {
			t.Errorf("got %v", w.errs[0])
		}

		w.write(base + "partitions: 8\n") // back to the configuration in force
		w.pass(5)
		w.expect(2, 1)

		if err := os.Remove(w.path); err != nil {
			t.Fatal(err)
		}
		w.pass(5)
		w.expect(2, 2)
		if !errors.Is(w.errs[1], fs.ErrNotExist) {
			t.Errorf("got %v", w.errs[1])
		}
	})
}

func TestWatchReportsAgainWhatWasRefused(t *testing.T) {
	doc := base
	current, err := Parse([]byte(doc), environment)
	if err != nil {
		t.Fatal(err)
	}
	watchFile(t, &doc, current, func(w *watched) {
		w.refuse.Store(true)
		w.write(base + "partitions: 8\n")
		w.pass(4)
		w.expect(3, 0) // each second from the second on
		w.write(base + "partitions: 16\n")
		w.refuse.Store(false)
		w.pass(5)
		w.expect(4, 0)
		if got := w.configs[3].Partitions; got != 16 {
			t.Errorf("partitions %d, want 16", got)
		}
	})
}

func TestWatchWaitsForTheEndOfAChange(t *testing.T) {
	doc := base
	current, err := Parse([]byte(doc), environment)
	if err != nil {
		t.Fatal(err)
	}
	watchFile(t, &doc, current, func(w *watched) {
		w.write("") // an editor that empties the file first
		w.pass(1)
		w.write(base + "namespace: a\n")
		w.pass(1)
		w.expect(0, 0)
		w.pass(1)
		w.expect(1, 0)

		w.write("")
		w.pass(1)
		w.write(base + "namespace: a\n") // and back
		w.pass(1)
		w.write("")
		w.pass(1)
		w.expect(1, 0)
	})
}

func TestWatchSeesAnEarlierChange(t *testing.T) {
	doc := base + "partitions: 8\n"
	current, err := Parse([]byte(base), environment)
	if err != nil {
		t.Fatal(err)
	}
	watchFile(t, &doc, current, func(w *watched) {
		w.pass(2)
		w.expect(1, 0)
	})
	watchFile(t, &doc, nil, func(w *watched) {
		w.pass(2)
		w.expect(1, 0)
	})
}

func TestWatchAFileThatAppears(t *testing.T) {
	watchFile(t, nil, Example(), func(w *watched) {
		w.pass(5)
		w.expect(0, 0)
		w.write(base)
		w.pass(2)
		w.expect(1, 0)
	})
}
