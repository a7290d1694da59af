package chaos

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/questions"
)

// BenchmarkNodeLoss measures the effect of the loss of each of three servers: how long
// until usage is stored again, until it is in its window, and until another process
// has the block that it causes. One node is killed; the other is frozen, as when a
// machine loses its power.
func BenchmarkNodeLoss(b *testing.B) {
	for name, lose := range map[string]func(*process){"killed": (*process).kill, "silent": (*process).freeze} {
		b.Run(name, func(b *testing.B) {
			for range b.N {
				ctx, cancel := context.WithTimeout(b.Context(), 3*time.Minute)
				defer cancel()
				in, err := install(ctx, Options{Dir: lossDir(b), Brokers: 3, Processes: 3, Log: b.Logf})
				if err != nil {
					b.Fatal(err)
				}
				defer in.close()
				var stored, counted, blocked []time.Duration
				for n := range in.brokers {
					p := &probe{installation: in, round: n}
					if err := p.begin(ctx); err != nil {
						b.Fatal(err)
					}
					lose(in.brokers[n].process)
					err := p.measure(ctx)
					in.brokers[n].wake()
					if name == "killed" {
						err = errors.Join(err, in.brokers[n].start())
					}
					if err = errors.Join(err, in.brokers[n].healthy(ctx)); err != nil {
						b.Fatal(err)
					}
					stored, counted, blocked = append(stored, p.stored), append(counted, p.counted), append(blocked, p.blocked)
				}
				for unit, list := range map[string][]time.Duration{"stored": stored, "counted": counted, "blocked": blocked} {
					slices.Sort(list)
					b.ReportMetric(list[1].Seconds(), unit+"-median-s")
					b.ReportMetric(list[2].Seconds(), unit+"-worst-s")
				}
			}
		})
	}
}

// probe uses a feature as a customer of each partition, and waits for the effects.
type probe struct {
	*installation
	round                    int
	start                    time.Time
	stored, counted, blocked time.Duration
}

// customer returns a new customer of the partition.
func (p *probe) customer(partition int) string {
	for i := 0; ; i++ {
		if id := fmt.Sprintf("lost-%d-%d", p.round, i); events.PartitionOf(id, partitions) == partition {
			return id
		}
	}
}

// begin waits until usage has its effects.
func (p *probe) begin(ctx context.Context) error {
	warm := &probe{installation: p.installation, round: 1000 + p.round}
	return warm.measure(ctx)
}

func (p *probe) measure(ctx context.Context) error {
	p.start = time.Now()
	for partition := range partitions {
		who := p.customer(partition)
		if err := eventually(ctx, "usage is stored", func() error { return p.use(who) }); err != nil {
			return err
		}
	}
	p.stored = time.Since(p.start)
	for partition := range partitions {
		if err := eventually(ctx, "usage is counted", func() error { return p.isCounted(ctx, p.customer(partition)) }); err != nil {
			return err
		}
	}
	p.counted = time.Since(p.start)
	for partition := range partitions {
		if err := eventually(ctx, "the block is there", func() error { return p.isBlocked(p.customer(partition)) }); err != nil {
			return err
		}
	}
	p.blocked = time.Since(p.start)
	p.note("round %d: stored %v, counted %v, blocked %v", p.round, p.stored, p.counted, p.blocked)
	return nil
}

// use sends usage that reaches a limit.
func (p *probe) use(customer string) error {
	var list []map[string]any
	for i := range gates[1].Limit {
		e := Event{ID: fmt.Sprint(i), Customer: customer, Type: gates[1].Feature}
		list = append(list, e.usage())
	}
	body, err := json.Marshal(list)
	if err != nil {
		return err
	}
	bases := p.bases()
	status, answer, err := post(&http.Client{Timeout: 3 * time.Second}, bases[rand.IntN(len(bases))]+"/v1/events", body)
	if err == nil && status != http.StatusAccepted {
		err = fmt.Errorf("%d %s", status, answer)
	}
	return err
}

func (p *probe) isCounted(ctx context.Context, customer string) error {
	ctx, cancel := context.WithTimeout(ctx, time.Second)
	defer cancel()
	answer, err := ask(ctx, p.installation, questions.UsageOf, customer)
	if err == nil && (len(answer.Windows) != 1 || answer.Windows[0].Used != events.Count(gates[1].Limit)) {
		err = fmt.Errorf("not %d: %v", gates[1].Limit, answer.Windows)
	}
	return err
}

func (p *probe) isBlocked(customer string) error {
	if p.reader.Check(customer, gates[1].Feature).Allowed {
		return errors.New(customer + " is not blocked")
	}
	return nil
}

// lossDir returns -chaos.dir, or a temporary folder.
func lossDir(b *testing.B) string {
	if *keep == "" {
		return b.TempDir()
	}
	dir := filepath.Join(*keep, b.Name())
	if err := os.MkdirAll(dir, 0o700); err != nil {
		b.Fatal(err)
	}
	return dir
}
