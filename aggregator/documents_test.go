package aggregator

import (
	"context"
	"fmt"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/tidegate-io/tidegate/internal/records"
	"github.com/tidegate-io/tidegate/internal/stream"
	"github.com/tidegate-io/tidegate/internal/writeback"
)

// documentOwner is an owner without a server whose documents are written to store.
// Its clock is now.
type documentOwner struct {
	*Processor
	store *memoryStore
	now   time.Time
	log   [][]byte
	stop  func()
}

// takeOver makes a new Processor from the log, as Start does.
func (d *documentOwner) takeOver(rt failer, epoch uint64) {
	p := offline(catalogOfAllKinds(), func() time.Time { return d.now })
	if err := p.Restore(nil); err != nil {
		rt.Fatal(err)
	}
	for _, b := range d.log {
		if err := p.Apply(b); err != nil {
			rt.Fatal(err)
		}
	}
	p.begin()
	p.o.Epoch = epoch
	p.docs.writer = writeback.New((*records.Window).ID, d.store.WriteUsage, slog.New(slog.DiscardHandler))
	p.docs.writer.Eager = true
	ctx, cancel := context.WithCancel(context.Background())
	go p.docs.writer.Run(ctx)
	p.resumeDocuments()
	d.Processor, d.stop = p, cancel
}

// commit appends a commit to the log.
func (d *documentOwner) commit(rt failer) {
	b, err := d.Commit()
	if err != nil {
		rt.Fatal(err)
	}
	if b != nil {
		d.log = append(d.log, b)
	}
}

// wait calls tickDocuments and lets time pass.
func (d *documentOwner) wait(t time.Duration) {
	d.tickDocuments(d.now)
	<-time.After(t)
	d.now = d.now.Add(t)
}

// mismatch describes a document that differs from the state; "" if there is none.
func (d *documentOwner) mismatch() string {
	docs := d.store.all()
	for c := range d.f.customers.all {
		for u := range c.windows {
			w := d.document(c, u, d.now)
			got := docs[w.ID()]
			switch {
			case u.closed: // written long ago; a takeover has restored it because the log has no snapshot
			case got.Seq != w.Seq, got.Events != w.Events:
				return fmt.Sprintf("%s: of %d, %d events; want %d, %d", w.ID(), got.Seq, got.Events, w.Seq, w.Events)
			case u.feature.gate == nil || u.end == 0: // these documents may be out of date
			case got.Current != w.Current || !got.End.Equal(w.End) || got.Used != w.Used || got.Plan != w.Plan:
				return fmt.Sprintf("%+v, want %+v", got, w)
			}
		}
	}
	for id, got := range docs { // also those of removed windows
		if !got.Start.IsZero() && got.Current && !d.now.Before(got.End) {
			return fmt.Sprintf("%s: current, ended %s, now %s", id, got.End, d.now)
		}
	}
	return ""
}

// step is a message, and events before and after it.
type step struct {
	message
	down, commit, crash bool
	pause               time.Duration
}

// TestDocumentsMatchState checks, after outages of the store and crashes of the
// owner, that each window's document equals the state and shows the end of each
// window that has ended.
func TestDocumentsMatchState(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		var steps []step
		for _, m := range script(rt) {
			steps = append(steps, step{m, rapid.IntRange(0, 3).Draw(rt, "down") == 0, rapid.Bool().Draw(rt, "commit"),
				rapid.IntRange(0, 5).Draw(rt, "crash") == 0, time.Duration(rapid.IntRange(0, 3000).Draw(rt, "pause")) * time.Millisecond})
		}
		wrong := ""
		synctest.Test(t, func(t *testing.T) { wrong = follow(t, steps) })
		if wrong != "" {
			rt.Fatal(wrong)
		}
	})
}

// follow runs the steps and describes the difference between state and documents.
func follow(t *testing.T, steps []step) (wrong string) {
	d := &documentOwner{store: &memoryStore{docs: map[string]records.Window{}}, now: steps[0].at}
	d.takeOver(t, 1)
	for i := 0; i < len(steps); i++ {
		s := steps[i]
		d.now = s.at
		d.store.mu.Lock()
		d.store.down = s.down
		d.store.mu.Unlock()
		if err := d.Handle(&stream.Message{Subject: "usage.p.0." + s.token, Data: s.data, Seq: uint64(i) + 1, Time: s.at}); err != nil {
			t.Fatal(err)
		}
		d.emissions, d.earlyTotals = nil, nil // flushed
		d.wait(s.pause)
		if s.commit {
			d.commit(t)
		}
		d.wait(s.pause)
		if s.crash {
			steps[i].crash = false // the step is repeated
			d.stop()
			synctest.Wait()
			d.takeOver(t, d.o.Epoch+1)
			i = int(d.f.position) - 1
		}
	}
	d.store.mu.Lock()
	d.store.down = false
	d.store.mu.Unlock()
	d.commit(t)
	d.now = d.now.Add(10 * day) // some windows end
	for range 5 {
		d.wait(5 * time.Second)
	}
	if d.docs.written() != (watermark{d.f.position, d.endedTo}) {
		wrong = fmt.Sprintf("written up to %+v of %d", d.docs.written(), d.f.position)
	}
	if w := d.mismatch(); w != "" {
		wrong = w
	}
	d.stop()
	return wrong
}
