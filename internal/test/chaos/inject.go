package chaos

import (
	"context"
	"sync"
	"time"
)

// injector injects faults. Faults of different targets overlap; those of one target
// follow each other, and only one broker is stopped at a time.
type injector struct {
	*installation
	s     *senders
	wg    sync.WaitGroup
	locks map[string]chan struct{} // by kind of target, and number

	mu       sync.Mutex
	injected map[Kind]int
	padded   int // events
}

func newInjector(in *installation, s *senders) *injector {
	return &injector{installation: in, s: s, locks: map[string]chan struct{}{}, injected: map[Kind]int{}}
}

// run injects the faults and returns when the last one is over.
func (j *injector) run(ctx context.Context, faults []Fault) {
	for i, f := range faults {
		if !pause(ctx, f.After) {
			break
		}
		lock := j.lock(f)
		select {
		case lock <- struct{}{}:
		case <-ctx.Done():
			continue
		}
		j.mu.Lock()
		j.injected[f.Kind]++
		j.mu.Unlock()
		j.note("fault %d: %s", i+1, f)
		j.wg.Go(func() {
			defer func() { <-lock }()
			if err := j.inject(ctx, f); err != nil {
				j.s.fail("%s: %v", f, err)
			}
		})
	}
	j.wg.Wait()
}

func (j *injector) lock(f Fault) chan struct{} {
	name := "broker"
	switch f.Kind {
	case KillProcess, FreezeProcess, StopProcess:
		name = "process" + string(rune('0'+f.Target))
	case CutLink, StallLink, DelayLink:
		name = "link" + string(rune('0'+f.Target))
	case RestartStore:
		name = "database"
	case FillUsage:
		name = "usage"
	case MoveClock:
		name = "clock"
	}
	if j.locks[name] == nil {
		j.locks[name] = make(chan struct{}, 1)
	}
	return j.locks[name]
}

func (j *injector) inject(ctx context.Context, f Fault) error {
	switch f.Kind {
	case KillProcess, FreezeProcess, StopProcess:
		return j.process(ctx, j.gateways[f.Target].process, f)
	case KillBroker, StopBroker, FreezeBroker:
		b := j.brokers[f.Target]
		if err := j.process(ctx, b.process, f); err != nil {
			return err
		}
		healthy, cancel := context.WithTimeout(ctx, 30*time.Second)
		defer cancel()
		return b.healthy(healthy)
	case CutLink, StallLink, DelayLink:
		j.link(ctx, f)
		return nil
	case FillUsage:
		return j.fillUsage(ctx, f)
	case MoveClock:
		j.s.load.move(f.Shift)
		pause(ctx, f.Length)
		j.s.load.move(0)
		return nil
	}
	j.Database.Stop()
	pause(ctx, f.Length)
	return j.Database.Restart()
}

// stopTime is how long a process may take to stop.
const stopTime = 8 * time.Second

func (j *injector) process(ctx context.Context, p *process, f Fault) error {
	if err := p.ended(); err != nil {
		j.s.fail("%v", err)
		return p.start()
	}
	switch f.Kind {
	case FreezeProcess, FreezeBroker:
		p.freeze()
		pause(ctx, f.Length)
		p.wake()
		return nil
	case StopProcess, StopBroker:
		if !p.stop(stopTime) && f.Kind == StopProcess {
			j.s.fail("%s had not ended 8 s after SIGTERM", p.name)
		}
	default:
		p.kill()
	}
	pause(ctx, f.Length)
	return p.start()
}

func (j *injector) link(ctx context.Context, f Fault) {
	l := j.appLink
	if f.Target < len(j.gateways) {
		l = j.gateways[f.Target].link
	}
	switch f.Kind {
	case CutLink:
		l.each((*Proxy).Cut)
	case StallLink:
		l.each((*Proxy).Stall)
	default:
		l.each(func(p *Proxy) { p.Delay(time.Duration(20+f.Length.Milliseconds()%80) * time.Millisecond) })
	}
	pause(ctx, f.Length)
	l.each((*Proxy).Mend)
}
