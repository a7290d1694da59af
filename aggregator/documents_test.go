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

// documented is an owner whose documents are written while messages are folded.
type documentOwner struct {
	*Processor
	store *memoryStore
	now   time.Time
	log   [][]byte
	stop  func()
}

// takeOver is what Start does, without a server.
func (d *documentOwner) takeOver(rt failer, epoch uint64) {
	p := offline(everyGate(), func() time.Time { return d.now })
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

func (d *documentOwner) commit(rt failer) {
	b, err := d.Commit()
	if err != nil {
		rt.Fatal(err)
	}
	if b != nil {
		d.log = append(d.log, b)
	}
}

func (d *documentOwner) wait(t time.Duration) {
	d.tickDocuments(d.now)
	<-time.After(t)
	d.now = d.now.Add(t)
}

// wrong says which document is not what the state says.
func (d *documentOwner) mismatch() string {
	docs := d.store.all()
	for c := range d.f.customers.all {
		for u := range c.windows {
			w := d.document(c, u, d.now)
			got := docs[w.ID()]
			switch {
			case u.closed: // written long ago, and only here again because the log is read from its beginning
			case got.Seq != w.Seq, got.Events != w.Events:
				return fmt.Sprintf("%s: of %d, %d events; want %d, %d", w.ID(), got.Seq, got.Events, w.Seq, w.Events)
			case u.feature.gate == nil || u.end == 0: // nothing tells when such documents are out of date
			case got.Current != w.Current || !got.End.Equal(w.End) || got.Used != w.Used || got.Plan != w.Plan:
				return fmt.Sprintf("%+v, want %+v", got, w)
			}
		}
	}
	for id, got := range docs { // also those of windows that were forgotten
		if !got.Start.IsZero() && got.Current && !d.now.Before(got.End) {
			return fmt.Sprintf("%s: current, ended %s, now %s", id, got.End, d.now)
		}
	}
	return ""
}

// step is a message and what happens around it.
type step struct {
	message
	away, commit, crash bool
	lull                time.Duration
}

// TestDocumentsFollowTheState, through outages of the store and through crashes:
// once it is quiet, each window's document is what the state says, and says of
// every window that has ended that it did.
func TestDocumentsFollowTheState(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		var steps []step
		for _, m := range script(rt) {
			steps = append(steps, step{m, rapid.IntRange(0, 3).Draw(rt, "away") == 0, rapid.Bool().Draw(rt, "commit"),
				rapid.IntRange(0, 5).Draw(rt, "crash") == 0, time.Duration(rapid.IntRange(0, 3000).Draw(rt, "lull")) * time.Millisecond})
		}
		wrong := ""
		synctest.Test(t, func(t *testing.T) { wrong = follow(t, steps) })
		if wrong != "" {
			rt.Fatal(wrong)
		}
	})
}

func follow(t *testing.T, steps []step) (wrong string) {
	d := &documentOwner{store: &memoryStore{docs: map[string]records.Window{}}, now: steps[0].at}
	d.takeOver(t, 1)
	for i := 0; i < len(steps); i++ {
		s := steps[i]
		d.now = s.at
		d.store.mu.Lock()
		d.store.away = s.away
		d.store.mu.Unlock()
		if err := d.Handle(&stream.Message{Subject: "usage.p.0." + s.last, Data: s.data, Seq: uint64(i) + 1, Time: s.at}); err != nil {
			t.Fatal(err)
		}
		d.emissions, d.earlyTotals = nil, nil // flushed
		d.wait(s.lull)
		if s.commit {
			d.commit(t)
		}
		d.wait(s.lull)
		if s.crash {
			steps[i].crash = false // once
			d.stop()
			synctest.Wait()
			d.takeOver(t, d.o.Epoch+1)
			i = int(d.f.position) - 1
		}
	}
	d.store.mu.Lock()
	d.store.away = false
	d.store.mu.Unlock()
	d.commit(t)
	d.now = d.now.Add(10 * day) // some windows have ended
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
