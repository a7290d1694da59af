package chaos

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidegate-io/tidegate/client"
	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/questions"
	"github.com/tidegate-io/tidegate/internal/records"
	"github.com/tidegate-io/tidegate/internal/test/freeport"
	"github.com/tidegate-io/tidegate/internal/test/testbuild"
)

// Database is a server that speaks MongoDB's protocol and can be killed.
type Database interface {
	URI() string
	Stop()
	Restart() error
}

// Options configures a run.
type Options struct {
	Dir       string // for data and logs
	Seed      uint64
	Faults    int
	Brokers   int // 1 or 3
	Processes int // of Tidegate, at least 2
	Race      bool
	Database  Database // nil: documents are kept in NATS
	Log       func(format string, args ...any)
}

// roles returns the roles of a process: two processes accept usage, and at least two
// can own each partition.
func roles(i int) string {
	switch i {
	case 0:
		return "ingest"
	case 1:
		return "ingest,aggregator,enforcer,notifier"
	}
	return "aggregator,enforcer,notifier"
}

// gateway is a tidegate process.
type gateway struct {
	*process
	link link
	http string // URL; "" without the role ingest
}

// link holds the proxies of one process, one for each broker.
type link []*Proxy

func newLink(brokers []*broker) (link, error) {
	var l link
	for _, b := range brokers {
		p, err := NewProxy(b.addr)
		if err != nil {
			return nil, err
		}
		l = append(l, p)
	}
	return l, nil
}

func (l link) each(f func(*Proxy)) {
	for _, p := range l {
		f(p)
	}
}

func (l link) url() string {
	var urls []string
	for _, p := range l {
		urls = append(urls, "nats://"+p.Addr())
	}
	return strings.Join(urls, ",")
}

// installation is everything that a run starts.
type installation struct {
	Options
	since    time.Time
	tidegate string // program
	config   string // file
	names    events.Names
	brokers  []*broker
	gateways []*gateway
	mails    *provider
	appLink  link
	appConn  *nats.Conn
	app      *client.Client // records
	reader   *client.Client // only checks: it has no usage of its own
	direct   *nats.Conn     // without proxies, for observing
	js       jetstream.JetStream
	closers  []func()
}

// partitions is the number in the configuration.
const partitions = 4

// install starts everything and waits until it is ready.
func install(ctx context.Context, o Options) (*installation, error) {
	in := &installation{Options: o, since: time.Now(), names: events.Names{Namespace: "chaos"}, config: filepath.Join(o.Dir, "tidegate.yaml")}
	for _, step := range []func(context.Context) error{in.startBrokers, in.connect, in.startGateways, in.startApp} {
		if err := step(ctx); err != nil {
			in.close()
			return nil, err
		}
	}
	return in, nil
}

func (in *installation) close() {
	for i := len(in.closers) - 1; i >= 0; i-- {
		in.closers[i]()
	}
}

func (in *installation) onClose(f func()) { in.closers = append(in.closers, f) }

func (in *installation) startBrokers(ctx context.Context) error {
	program, err := testbuild.Command(in.Dir, "nats-server", "github.com/nats-io/nats-server/v2")
	if err != nil {
		return err
	}
	if in.brokers, err = newBrokers(in.Dir, program, in.Brokers); err != nil {
		return err
	}
	for _, b := range in.brokers {
		if err := b.start(); err != nil {
			return err
		}
		in.onClose(b.close)
	}
	for _, b := range in.brokers {
		if err := b.healthy(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (in *installation) connect(context.Context) error {
	var urls []string
	for _, b := range in.brokers {
		urls = append(urls, "nats://"+b.addr)
	}
	nc, err := nats.Connect(strings.Join(urls, ","), nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond),
		nats.PingInterval(2*time.Second), nats.MaxPingsOutstanding(2))
	if err != nil {
		return err
	}
	in.direct = nc
	in.onClose(nc.Close)
	in.js, err = jetstream.New(nc)
	return err
}

func (in *installation) startGateways(ctx context.Context) error {
	var flags []string
	if in.Race {
		flags = []string{"-race"}
	}
	var err error
	if in.tidegate, err = testbuild.Command(in.Dir, "tidegate", "github.com/tidegate-io/tidegate/cmd/tidegate", flags...); err != nil {
		return err
	}
	if err := os.WriteFile(in.config, []byte(configuration), 0o600); err != nil {
		return err
	}
	if in.mails, err = newProvider(); err != nil {
		return err
	}
	in.onClose(in.mails.close)
	for i := range in.Processes {
		g, err := in.newGateway(i)
		if err != nil {
			return err
		}
		in.gateways = append(in.gateways, g)
		in.onClose(func() { g.link.each((*Proxy).Close) })
		if err := g.start(); err != nil {
			return err
		}
		in.onClose(g.close)
	}
	return in.ready(ctx)
}

func (in *installation) newGateway(i int) (*gateway, error) {
	l, err := newLink(in.brokers)
	if err != nil {
		return nil, err
	}
	port, err := freeport.Take()
	if err != nil {
		return nil, err
	}
	addr := fmt.Sprintf("127.0.0.1:%d", port)
	args := []string{"serve", "--config", in.config, "--roles", roles(i)}
	g := &gateway{link: l}
	if strings.Contains(roles(i), "ingest") {
		g.http = "http://" + addr
		args = append(args, "--http", addr)
	} else {
		args = append(args, "--probes", addr)
	}
	store := []string{"TIDEGATE_STORE=nats"}
	if in.Database != nil {
		store = []string{"MONGODB_URI=" + in.Database.URI(), "MONGODB_DATABASE=chaos", "TIDEGATE_MONGODB_BULK=5"}
	}
	g.process, err = newProcess(in.Dir, fmt.Sprintf("tidegate-%d", i), in.tidegate, append(store,
		"NATS_URL="+l.url(), "STRIPE_WEBHOOK_SECRET="+webhookSecret,
		"TIDEGATE_SNAPSHOT_BYTES=16384", fmt.Sprintf("TIDEGATE_REPLICAS=%d", in.Brokers),
		"TIDEGATE_API_KEYS="+apiKey, "TIDEGATE_SECRET=links are signed with this", "RESEND_API_KEY=re_chaos", "RESEND_BASE_URL="+in.mails.url,
	), args...)
	return g, err
}

func (in *installation) bases() (urls []string) {
	for _, g := range in.gateways {
		if g.http != "" {
			urls = append(urls, g.http)
		}
	}
	return urls
}

// ready waits until all APIs are ready.
func (in *installation) ready(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	for _, base := range in.bases() {
		if err := eventually(ctx, base+" is ready", func() error { return getOK(ctx, base+"/readyz") }); err != nil {
			return err
		}
	}
	return nil
}

// startApp connects an app through its own link, and makes the bucket keep all
// decisions from now on.
func (in *installation) startApp(ctx context.Context) (err error) {
	if in.appLink, err = newLink(in.brokers); err != nil {
		return err
	}
	in.onClose(func() { in.appLink.each((*Proxy).Close) })
	in.appConn, err = nats.Connect(in.appLink.url(), nats.MaxReconnects(-1), nats.ReconnectWait(50*time.Millisecond), nats.RetryOnFailedConnect(true),
		nats.PingInterval(2*time.Second), nats.MaxPingsOutstanding(2))
	if err != nil {
		return err
	}
	in.onClose(in.appConn.Close)
	for _, c := range []**client.Client{&in.app, &in.reader} {
		if *c, err = client.New(in.appConn, client.Source("other"), client.Namespace(in.names.Namespace)); err != nil {
			return err
		}
		in.onClose(func() {
			ctx, cancel := context.WithCancel(context.Background())
			cancel() // Close reports what was not delivered
			_ = (*c).Close(ctx)
		})
	}
	s, err := in.js.Stream(ctx, "KV_"+in.names.Bucket(events.BucketDecisions))
	if err != nil {
		return err
	}
	cfg := s.CachedInfo().Config
	cfg.MaxMsgsPerSubject = 1 << 20
	_, err = in.js.UpdateStream(ctx, cfg)
	return err
}

// introduce sends the customers to the installation, and waits until they are known.
func (in *installation) introduce(ctx context.Context, customers []Customer) error {
	var list []map[string]any
	for _, c := range customers {
		m := map[string]any{"id": c.ID}
		if c.Email != "" {
			m["email"] = c.Email
		}
		if c.Paid {
			m["plan"] = "pro"
		}
		if !c.Anchor.IsZero() {
			m["anchor"] = c.Anchor
		}
		list = append(list, m)
	}
	body, err := json.Marshal(list)
	if err != nil {
		return err
	}
	status, answer, err := post(http.DefaultClient, in.bases()[0]+"/v1/customers", body)
	if err != nil || status != http.StatusAccepted {
		return fmt.Errorf("POST /v1/customers: %d %s: %w", status, answer, err)
	}
	if err := eventually(ctx, "the customers are known", func() error { return in.known(ctx, customers) }); err != nil {
		return err
	}
	return eventually(ctx, "the anchors are in USAGE", func() error { return in.anchored(ctx, customers) })
}

func (in *installation) known(ctx context.Context, customers []Customer) error {
	for _, c := range customers {
		standing, err := ask(ctx, in, questions.StandingOf, c.ID)
		if err != nil {
			return err
		}
		if !standing.Known && (c.Email != "" || c.Paid) {
			return errors.New(c.ID + " is not")
		}
	}
	return nil
}

// anchored returns nil when USAGE has the given anchors. From then on no use sets an
// anchor.
func (in *installation) anchored(ctx context.Context, customers []Customer) error {
	missing := 0
	for _, c := range customers {
		if !c.Anchor.IsZero() {
			missing++
		}
	}
	err := in.read(ctx, in.names.Stream(events.StreamUsage), func(m jetstream.Msg, _ uint64) error {
		if e, err := events.DecodeControl(m.Data()); err == nil && e.Type == records.ControlAnchor {
			missing--
		}
		return nil
	})
	if err == nil && missing > 0 {
		err = fmt.Errorf("%d are not", missing)
	}
	return err
}

// verify runs the command verify.
func (in *installation) verify(ctx context.Context) error {
	cmd := exec.CommandContext(ctx, in.tidegate, "--config", in.config, "verify")
	cmd.Env = append(os.Environ(), "NATS_URL="+in.direct.ConnectedUrl())
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("%w: %s", err, out)
	}
	return nil
}
