package notifier

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/funnel"
	"github.com/tidegate-io/tidegate/internal/records"
	"github.com/tidegate-io/tidegate/internal/stream"
)

// told is a record of one of the inputs. One that speaks of a mail comes after
// the crossing that the mail is about, which is limits[after-1].
type told struct {
	at    time.Time
	after int
	v     any
}

// story is what both inputs say of a few customers, each in its order.
type story struct{ limits, accounts []told }

func drawStory(t *rapid.T) *story {
	s := &story{}
	customers := rapid.SampledFrom([]string{"a", "b", "c"})
	features := rapid.SampledFrom([]string{"api", "exports", "quiet"})
	const most = int(rememberPayments / time.Hour) // further apart, the inputs need not be joined
	moment := func(name string) time.Time {
		return noon.Add(time.Duration(rapid.IntRange(0, most).Draw(t, name)) * time.Hour)
	}
	for i := range rapid.IntRange(1, 6).Draw(t, "limits") {
		at := moment("reached")
		s.limits = append(s.limits, told{at: at, v: records.Limit{Kind: records.LimitKindReached, Customer: customers.Draw(t, "customer"),
			Feature: features.Draw(t, "feature"), Plan: "free", Limit: events.Count(100), WindowStart: noon.Add(time.Duration(i) * time.Minute), WindowEnd: noon.AddDate(1, 0, 0), At: at}})
	}
	kinds := []records.MoveKind{records.MoveConversion, records.MoveReactivation, records.MoveTrial, records.MoveUpgrade, records.MoveChurn}
	for i := range rapid.IntRange(1, 12).Draw(t, "accounts") {
		at := moment("told")
		a := records.Account{Customer: customers.Draw(t, "who")}
		after := 0
		switch rapid.IntRange(0, 4).Draw(t, "what") {
		case 0, 1:
			a.Payment = &records.Payment{Key: a.Customer + "/" + fmt.Sprint(rapid.IntRange(0, 2).Draw(t, "key")), Event: fmt.Sprint("evt_", i), FromPlan: "free", ToPlan: "pro",
				Amount: 2000, Currency: "usd", At: at.Truncate(time.Second), Void: rapid.IntRange(0, 4).Draw(t, "void") == 0}
		case 2:
			a.Move = &records.Move{Key: a.Customer + "/move", Kind: rapid.SampledFrom(kinds).Draw(t, "kind"), At: at}
		case 3:
			after = rapid.IntRange(1, len(s.limits)).Draw(t, "about")
			l := s.limits[after-1].v.(records.Limit)
			a.Customer, a.Click = l.Customer, &records.Click{Feature: l.Feature, WindowStart: l.WindowStart}
		case 4:
			after = rapid.IntRange(1, len(s.limits)).Draw(t, "about")
			l := s.limits[after-1].v.(records.Limit)
			event := rapid.SampledFrom([]records.MailEvent{records.MailEventSent, records.MailEventDelivered, records.MailEventBounced}).Draw(t, "event")
			a.Customer, a.Mail = l.Customer, &records.MailReport{Key: Key(l.Kind, 100, l.Customer, l.Feature, l.WindowStart), Event: event, At: at}
		}
		s.accounts = append(s.accounts, told{at: at, after: after, v: a})
	}
	return s
}

// figures are the records and the funnel that come of a story. next chooses the
// input that is read next; stop says whether the process dies there, and what
// came since the last commit is read again.
func (s *story) figures(t *testing.T, next func() int, stop func() bool) string {
	p := newSteps(t)
	defer func() { p.end(); p.sender.Close() }()
	read, committed := [2]int{}, [2]int{}
	for read != [2]int{len(s.limits), len(s.accounts)} {
		input := next()
		if read[inputAccount] == len(s.accounts) || read[inputLimits] < len(s.limits) && s.accounts[read[inputAccount]].after > read[inputLimits] {
			input = inputLimits
		} else if read[inputLimits] == len(s.limits) {
			input = inputAccount
		}
		x := [][]told{inputLimits: s.limits, inputAccount: s.accounts}[input][read[input]]
		data, err := json.Marshal(x.v)
		p.must(err)
		p.must(p.p.Handle(&stream.Message{Input: input, Data: data, Seq: uint64(read[input] + 1), Time: x.at}))
		read[input]++
		if stop() {
			p.die()
			read = committed
		} else if stop() {
			p.commit()
			committed = read
		}
	}
	var n []records.Notification
	var c []records.Conversion
	for _, x := range p.store.notifications {
		n = append(n, x)
	}
	for _, x := range p.store.conversions {
		c = append(c, x)
	}
	conversions, err := json.Marshal(p.store.conversions) // by key
	p.must(err)
	out := string(conversions)
	for _, by := range []string{"", funnel.ByPlan, funnel.ByFeature, funnel.ByWeek} {
		rows, err := json.Marshal(funnel.Funnel(time.Time{}, time.Time{}, by, n, c))
		p.must(err)
		out += "\n" + string(rows)
	}
	return out
}

// However the two inputs are mixed, and wherever the process dies and reads
// again: the same records and the same figures.
func TestFiguresComeOutTheSame(t *testing.T) {
	t.Parallel()
	rapid.Check(t, func(rt *rapid.T) {
		s := drawStory(rt)
		want := s.figures(t, func() int { return inputLimits }, func() bool { return false })
		deaths := 0
		got := s.figures(t, func() int { return rapid.IntRange(0, 1).Draw(rt, "next") }, func() bool {
			yes := deaths < 6 && rapid.IntRange(0, 4).Draw(rt, "stop") == 0
			if yes {
				deaths++
			}
			return yes
		})
		if got != want {
			rt.Fatalf("got  %s\nwant %s", got, want)
		}
	})
}
