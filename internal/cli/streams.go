package cli

import (
	"fmt"
	"os"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/config"
	"github.com/tidegate-io/tidegate/internal/environ"
	"github.com/tidegate-io/tidegate/internal/stream"
)

// natsFlags are those of commands that read or write streams themselves.
type natsFlags struct {
	NATS string `name:"nats" help:"URL of NATS (default: the running dev's, else nats://127.0.0.1:4222)." env:"NATS_URL" placeholder:"URL"`
}

// streams is a connection to the streams of a Tidegate.
type streams struct {
	nc         *nats.Conn
	js         jetstream.JetStream
	names      events.Names
	partitions int
	config     *config.Config
	close      func()
}

// url is what is set, else the embedded server of the dev that was started in
// this folder.
func (f *natsFlags) url() string {
	if f.NATS != "" {
		return f.NATS
	}
	data := os.Getenv("TIDEGATE_DATA")
	if data == "" {
		data = "./.tidegate"
	}
	if s, err := readState(data); err == nil && s.NATS != "" {
		return s.NATS
	}
	return "nats://127.0.0.1:4222"
}

func (f *natsFlags) connect(e *env) (*streams, error) {
	cfg, err := config.OpenOrExample(e.Config)
	if err != nil {
		return nil, err
	}
	opts := []nats.Option{nats.Name("tidegate"), nats.Timeout(3 * time.Second)}
	creds, err := environ.Lookup("NATS_CREDS")
	if err != nil {
		return nil, err
	}
	if creds != "" {
		opts = append(opts, nats.UserCredentials(creds))
	}
	url := f.url()
	nc, err := nats.Connect(url, opts...)
	if err != nil {
		return nil, fmt.Errorf("NATS at %s: %w: start it (`tidegate dev` brings one), or set NATS_URL", url, err)
	}
	js, err := stream.JetStream(nc)
	if err != nil {
		nc.Close()
		return nil, err
	}
	l := &streams{nc: nc, js: js, names: events.Names{Namespace: cfg.Namespace}, config: cfg, close: nc.Close}
	if l.partitions, err = stream.Partitions(e.ctx, js, l.names); err != nil {
		nc.Close()
		return nil, err
	}
	return l, nil
}

// asker asks the owners of partitions.
func (l *streams) asker() stream.Asker { return stream.Asker{NC: l.nc, Names: l.names} }
