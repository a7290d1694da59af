package chaos

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"time"
)

// Report is the result of a run.
type Report struct {
	Options
	Injected   map[Kind]int
	Events     int // distinct events
	Accepted   int
	Duplicates int // sent again
	Across     int // events sent over several interfaces
	Mistimed   int // events sent with several times
	Unknown    int // neither acknowledged nor refused
	Landed     int // of the unknown ones, stored
	Blocked    int // decisions that block
	Decisions  int // puts
	Mails      int
	Dead       int
	Converted  int
	Snapshots  int
	Took       time.Duration // from the first fault until nothing differed
	Quiet      time.Duration // the part of Took after the last fault
	Behind     []Behind
	Found      []Difference
}

// Behind says how long after the faults something still differed.
type Behind struct {
	What  string
	Until time.Duration
}

// patience is how long differences may stay unchanged before the run ends. A mail whose
// sender was killed is sent again after 90 s.
const patience = 150 * time.Second

// Run injects faults under load and returns what it finds. It returns an error when the
// run itself failed.
func Run(ctx context.Context, o Options) (*Report, error) {
	rng := rand.New(rand.NewPCG(o.Seed, 1))
	starting, cancel := context.WithTimeout(ctx, 90*time.Second)
	defer cancel()
	in, err := install(starting, o)
	if err != nil {
		return nil, err
	}
	defer in.close()
	customers := newCustomers(5+o.Faults/5, time.Now())
	if err := in.introduce(starting, customers); err != nil {
		return nil, err
	}
	s := &senders{
		load:   &load{rng: rand.New(rand.NewPCG(o.Seed, 2)), customers: customers, generation: 300 + 4*o.Faults, now: time.Now},
		ledger: NewLedger(), names: in.names, app: in.app, bases: in.bases(), http: &http.Client{Timeout: 12 * time.Second},
	}
	if s.js, err = jetStream(in.appConn); err != nil {
		return nil, err
	}
	r := &Report{Options: o}
	start := time.Now()
	j := newInjector(in, s)
	customers = s.during(ctx, rng, customers, func() { j.run(ctx, Plan(rng, o.Faults, o)) })
	last := time.Now()
	if err := in.waitQuiet(ctx, s, customers, r); err != nil {
		return nil, err
	}
	r.Took, r.Quiet, r.Injected = time.Since(start), time.Since(last), j.injected
	return r, ctx.Err()
}

// during sends load while f runs, and shortly before and after. It returns the changed
// customers.
func (s *senders) during(ctx context.Context, rng *rand.Rand, customers []Customer, f func()) []Customer {
	sending, stop := context.WithCancel(ctx)
	var wg sync.WaitGroup
	own := rand.New(rand.NewPCG(rng.Uint64(), rng.Uint64()))
	changes := rand.New(rand.NewPCG(rng.Uint64(), rng.Uint64()))
	wg.Go(func() { s.run(sending, own) })
	wg.Go(func() { customers = s.change(sending, changes, customers) })
	pause(ctx, 500*time.Millisecond)
	f()
	pause(ctx, 500*time.Millisecond)
	stop()
	wg.Wait()
	return customers
}

// waitQuiet waits until nothing differs, and compares once more after a pause: a usage
// counted twice or a second mail may come late. It adds what still differs after the
// time patience to the report.
func (in *installation) waitQuiet(ctx context.Context, s *senders, customers []Customer, r *Report) error {
	quiet := &watcher{installation: in, customers: customers, start: time.Now(), behind: map[string]time.Duration{}}
	if err := patiently(ctx, func(ctx context.Context) (string, error) {
		err := in.ready(ctx)
		return fmt.Sprint(err), err
	}); err != nil {
		r.Found = append(r.Found, Difference{What: "process", Detail: err.Error()})
	}
	quiet.behind["processes ready"] = time.Since(quiet.start)
	if err := s.flush(ctx, patience); err != nil {
		r.Found = append(r.Found, Difference{What: "client", Detail: err.Error()})
	}
	quiet.behind["all delivered"] = time.Since(quiet.start)
	quiet.sent = s.ledger.All()
	in.note("everything is sent")
	err := patiently(ctx, quiet.compare)
	if err == nil {
		pause(ctx, 1500*time.Millisecond)
		_, err = quiet.compare(ctx)
	}
	if quiet.o == nil {
		return err
	}
	r.Found = append(r.Found, quiet.found...)
	for _, wrong := range append(s.wrong, quiet.o.Wrong...) {
		r.Found = append(r.Found, Difference{What: "answer", Detail: wrong})
	}
	// With its own time-out, because verify also runs after the time patience.
	verify, done := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer done()
	if err := in.verify(verify); err != nil {
		r.Found = append(r.Found, Difference{What: "verify", Detail: err.Error()})
	}
	in.inspectLogs(r)
	r.Behind = quiet.sorted()
	r.count(quiet.sent, quiet.o)
	return nil
}

func (in *installation) note(format string, args ...any) {
	in.Log("%s "+format, append([]any{time.Now().UTC().Format("15:04:05.000")}, args...)...)
}

// inspectLogs searches the logs for texts that must never be there.
func (in *installation) inspectLogs(r *Report) {
	for _, g := range in.gateways {
		text := lastLines(filepath.Join(in.Dir, g.name+".log"), 64<<20)
		for _, bad := range []string{"DATA RACE", "panic:", "fatal error:"} {
			if at := strings.Index(text, bad); at >= 0 {
				r.Found = append(r.Found, Difference{What: "log of " + g.name, Detail: text[at:min(len(text), at+2000)]})
			}
		}
	}
}
