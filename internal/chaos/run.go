package chaos

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"net/http"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"text/tabwriter"
	"time"
)

// Report is what came of a run.
type Report struct {
	Options
	Injected   map[Kind]int
	Events     int // different ones
	Accepted   int
	Duplicates int // sent for another time
	Unknown    int // neither acknowledged nor refused
	Landed     int // of those, stored
	Blocked    int // decisions that block
	Decisions  int // puts
	Mails      int
	Snapshots  int
	Took       time.Duration // from the first fault until all was quiet
	Quiet      time.Duration // of that, after the last
	Found      []Difference
}

// patience is how long a run may take to come nearer to being quiet. A mail whose sender was
// killed in the middle is tried again after 90 s.
const patience = 150 * time.Second

// Run injects faults under load and reports what it finds. An error means that
// the run itself did not work.
func Run(ctx context.Context, o Options) (*Report, error) {
	rng := rand.New(rand.NewPCG(o.Seed, 1))
	starting, cancel := context.WithTimeout(ctx, 90*time.Second)
	defer cancel()
	in, err := install(starting, o)
	if err != nil {
		return nil, err
	}
	defer in.close()
	customers := newCustomers(5 + o.Faults/5)
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
	j := newInjector(in)
	customers = s.during(ctx, rng, customers, func() { j.run(ctx, Plan(rng, o.Faults, o.Processes, o.Brokers)) })
	last := time.Now()
	for _, failure := range j.failures {
		r.Found = append(r.Found, Difference{What: "process", Detail: failure})
	}
	if err := in.settle(ctx, s, customers, r); err != nil {
		return nil, err
	}
	r.Took, r.Quiet, r.Injected = time.Since(start), time.Since(last), j.injected
	return r, ctx.Err()
}

// during sends load while f runs, and a moment before and after. It returns what
// has become of the customers.
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

// settle waits until nothing differs, and looks once more after that: what is
// counted or mailed too often may come late. What still differs at the end of
// the patience is reported.
func (in *installation) settle(ctx context.Context, s *senders, customers []Customer, r *Report) error {
	ending, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	if err := in.ready(ending); err != nil {
		r.Found = append(r.Found, Difference{What: "process", Detail: err.Error()})
	}
	in.note("the faults are over, and all APIs ready")
	if err := s.flush(ending); err != nil {
		r.Found = append(r.Found, Difference{What: "client", Detail: err.Error()})
	}
	sent := s.ledger.All()
	in.note("everything is sent")
	o, found, err := in.agreement(ctx, customers, sent)
	if o == nil {
		return err
	}
	r.Found = append(r.Found, found...)
	for _, wrong := range append(s.wrong, o.Wrong...) {
		r.Found = append(r.Found, Difference{What: "answer", Detail: wrong})
	}
	// Its own time: it is to be tried also when the patience is over.
	verify, done := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer done()
	if err := in.verify(verify); err != nil {
		r.Found = append(r.Found, Difference{What: "verify", Detail: err.Error()})
	}
	in.inspectLogs(r)
	r.count(sent, o)
	return nil
}

// agreement waits until nothing differs, and returns what was seen last, and
// what differed then.
func (in *installation) agreement(ctx context.Context, customers []Customer, sent []Sent) (o *Observed, found []Difference, err error) {
	look := func() (left int, err error) {
		now, err := in.observe(ctx, customers)
		if err != nil {
			in.note("cannot look: %v", err)
			found = []Difference{{What: "observation", Detail: err.Error()}}
			return math.MaxInt, err
		}
		o, found = now, Check(gates, customers, sent, now)
		if len(found) == 0 {
			return 0, nil
		}
		err = fmt.Errorf("%d differences, such as %s, and %s", len(found), found[0], found[len(found)-1])
		in.note("not quiet: %.300s", err)
		return len(found), err
	}
	if err = patiently(ctx, look); err == nil {
		pause(ctx, 1500*time.Millisecond)
		_, err = look()
	}
	return o, found, err
}

// patiently looks until nothing is left to wait for, or until what is left has
// not become less for as long as patience lasts: the test's database can be far
// behind after a long run. It does not look all the time, for a look is work
// for everyone.
func patiently(ctx context.Context, look func() (left int, err error)) error {
	fewest, progress := math.MaxInt, time.Now()
	for {
		start := time.Now()
		left, err := look()
		if err == nil {
			return nil
		}
		if left < fewest {
			fewest, progress = left, start
		}
		if time.Since(progress) > patience || !pause(ctx, max(time.Second, 2*time.Since(start))) {
			return err
		}
	}
}

func (in *installation) note(format string, args ...any) {
	in.Log("%s "+format, append([]any{time.Now().UTC().Format("15:04:05.000")}, args...)...)
}

// inspectLogs looks for what must never be in them.
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

func (r *Report) count(sent []Sent, o *Observed) {
	for i := range sent {
		r.Events++
		r.Duplicates += sent[i].Times - 1
		switch {
		case sent[i].Outcome == Accepted:
			r.Accepted++
		case o.Stored[sent[i].ID] > 0:
			r.Unknown++
			r.Landed++
		default:
			r.Unknown++
		}
	}
	blocked := map[string]bool{}
	for _, p := range o.Puts {
		blocked[p.Key] = !p.Decision.Allowed
	}
	for _, b := range blocked {
		if b {
			r.Blocked++
		}
	}
	r.Decisions, r.Mails, r.Snapshots = len(o.Puts), len(o.Mails), o.Snapshots
}

// String is a table.
func (r *Report) String() string {
	var b strings.Builder
	w := tabwriter.NewWriter(&b, 0, 4, 2, ' ', 0)
	row := func(name string, v any) { _, _ = fmt.Fprintf(w, "%s\t%v\n", name, v) }
	row("seed", r.Seed)
	row("brokers", r.Brokers)
	row("processes", r.Processes)
	kinds := make([]Kind, 0, len(r.Injected))
	total := 0
	for k, n := range r.Injected {
		kinds = append(kinds, k)
		total += n
	}
	slices.Sort(kinds)
	row("faults", total)
	for _, k := range kinds {
		row("  "+string(k), r.Injected[k])
	}
	row("events", r.Events)
	row("  acknowledged", r.Accepted)
	row("  of unknown outcome", fmt.Sprintf("%d, of which %d were stored", r.Unknown, r.Landed))
	row("duplicates sent", r.Duplicates)
	row("decisions put", r.Decisions)
	row("customers and features blocked", r.Blocked)
	row("mails", r.Mails)
	row("snapshots in the logs", r.Snapshots)
	row("took", r.Took.Round(time.Millisecond))
	row("quiet after", r.Quiet.Round(time.Millisecond))
	row("differences", len(r.Found))
	_ = w.Flush()
	for _, d := range r.Found {
		b.WriteString("  " + d.String() + "\n")
	}
	return b.String()
}
