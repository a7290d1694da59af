package cli

import (
	"errors"
	"fmt"
	"os"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidegate-io/tidegate/client"
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

// natsConnection is what the environment says about NATS; a url that a flag says comes
// first.
func natsConnection(url string) (client.Connection, error) {
	return client.FromEnvironment(func(name string) string {
		if name == "NATS_URL" && url != "" {
			return url
		}
		return os.Getenv(name)
	})
}

// connection is what is set, else the embedded server of the dev that was started in
// this folder.
func (f *natsFlags) connection() (client.Connection, error) {
	how, err := natsConnection(f.NATS)
	if err != nil || how.URL != "" {
		return how, err
	}
	how.URL = nats.DefaultURL
	data := os.Getenv("TIDEGATE_DATA")
	if data == "" {
		data = "./.tidegate"
	}
	if s, err := readState(data); err == nil && s.NATS != "" {
		how = client.Connection{URL: s.NATS}
		if s.NATSToken != "" {
			how.Options = []nats.Option{nats.Token(s.NATSToken)}
		}
	}
	return how, nil
}

// adviceOn says what to do about a connection that fails.
func adviceOn(err error) string {
	if errors.Is(err, nats.ErrAuthorization) {
		return "log in by NATS_USER and NATS_PASSWORD, NATS_CREDS, NATS_NKEY or NATS_TOKEN"
	}
	return "start it (`tidegate dev` brings one), or set NATS_URL"
}

// connect connects to the streams of a Tidegate.
func (f *natsFlags) connect(e *env) (*streams, error) {
	l, err := f.dial(e)
	if err != nil {
		return nil, err
	}
	if l.partitions, err = stream.Partitions(e.ctx, l.js, l.names); err != nil {
		l.close()
		return nil, err
	}
	return l, nil
}

// dial connects to a NATS that may have no streams yet.
func (f *natsFlags) dial(e *env) (*streams, error) {
	cfg, err := config.OpenOrExample(e.Config)
	if err != nil {
		return nil, err
	}
	how, err := f.connection()
	if err != nil {
		return nil, err
	}
	nc, err := how.Connect(nats.Name("tidegate"), nats.Timeout(3*time.Second), nats.RetryOnFailedConnect(false))
	if err != nil {
		return nil, fmt.Errorf("NATS at %s: %w: %s", environ.Address(how.URL), err, adviceOn(err))
	}
	js, err := stream.JetStream(nc)
	if err != nil {
		nc.Close()
		return nil, err
	}
	return &streams{nc: nc, js: js, names: events.Names{Namespace: cfg.Namespace}, config: cfg, close: nc.Close}, nil
}

// asker asks the owners of partitions.
func (l *streams) asker() stream.Asker { return stream.Asker{NC: l.nc, Names: l.names} }
