package app

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/gofrs/flock"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/tidegate-io/tidegate/internal/misuse"
)

// embed makes what settings without NATS servers lack: a folder of data,
// secrets and a NATS server in this process.
func (a *App) embed() error {
	if err := a.ownData(); err != nil {
		return err
	}
	if err := a.set.makeSecrets(); err != nil {
		return err
	}
	srv, err := embeddedNATS(a.set.EmbeddedNATS, a.set.NATSToken, a.set.Data)
	if err != nil {
		return err
	}
	a.onStop("embedded NATS", func(context.Context) error { srv.Shutdown(); srv.WaitForShutdown(); return nil })
	a.set.NATS = srv.ClientURL()
	if a.set.NATSToken != "" {
		a.set.NATSOptions = []nats.Option{nats.Token(a.set.NATSToken)}
	}
	if a.set.UsageBytes == 0 {
		// Usage gets half of the space, so that a disk full of it still takes the
		// commits that say how far it was read.
		a.set.UsageBytes = srv.JetStreamConfig().MaxStore / 2
	}
	return nil
}

// ownData makes the folder of data this process's own: two servers on one store
// destroy it. The kernel frees the lock when the process dies. Without a folder
// it makes a temporary one, which Stop removes.
func (a *App) ownData() error {
	if a.set.Data == "" {
		dir, err := os.MkdirTemp("", "tidegate-")
		if err != nil {
			return err
		}
		a.set.Data = dir
		a.onStop("temporary data", func(context.Context) error { return os.RemoveAll(dir) })
	}
	if err := os.MkdirAll(a.set.Data, 0o700); err != nil {
		return fmt.Errorf("--data: %w", err)
	}
	lock := flock.New(filepath.Join(a.set.Data, "lock"))
	locked, err := lock.TryLock()
	if err != nil {
		return fmt.Errorf("--data: %w", err)
	}
	if !locked {
		return fmt.Errorf("--data %s: another `tidegate dev` uses it: stop that one, or choose another folder with --data", a.set.Data)
	}
	a.onStop("lock of the data", func(context.Context) error { return lock.Unlock() })
	return nil
}

// makeSecrets makes the secrets that the settings lack. They are kept with the
// data.
func (s *Settings) makeSecrets() error {
	if len(s.StripeSecrets) == 0 {
		v, err := keptSecret(s.Data, "stripe_webhook_secret", "whsec_dev_")
		if err != nil {
			return err
		}
		s.StripeSecrets = []string{v}
	} else if err := os.WriteFile(filepath.Join(s.Data, "stripe_webhook_secret"), []byte(s.StripeSecrets[0]+"\n"), 0o600); err != nil {
		return err
	}
	if len(s.Secret) == 0 {
		v, err := keptSecret(s.Data, "secret", "")
		if err != nil {
			return err
		}
		s.Secret = []byte(v)
	}
	return nil
}

// keptSecret returns the secret in the named file under dir. It makes one first
// if there is none.
func keptSecret(dir, name, prefix string) (string, error) {
	path := filepath.Join(dir, name)
	b, err := os.ReadFile(path)
	if err == nil {
		return strings.TrimSpace(string(b)), nil
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	raw := make([]byte, 24)
	_, _ = rand.Read(raw) // never fails
	secret := prefix + hex.EncodeToString(raw)
	return secret, os.WriteFile(path, []byte(secret+"\n"), 0o600)
}

// shortestToken is how long a token must be that others can try, as an API key.
const shortestToken = 16

// embeddedNATS starts a JetStream server that apps can connect to. Who reaches it may
// do everything, so beyond this machine it asks for a token.
func embeddedNATS(addr, token, data string) (*server.Server, error) {
	host, portText, err := net.SplitHostPort(addr)
	port, perr := strconv.Atoi(portText)
	if err != nil || perr != nil {
		return nil, misuse.Errorf("--nats %q is not HOST:PORT", addr)
	}
	if !isLoopback(addr) {
		switch n := len(strings.TrimSpace(token)); {
		case n == 0:
			return nil, misuse.Errorf("--nats %s can be reached from outside, but there is no token: set NATS_TOKEN, or listen on 127.0.0.1", addr)
		case n < shortestToken:
			return nil, misuse.Errorf("--nats %s can be reached from outside, but the token has %d characters, and fewer than %d can be guessed: "+
				"take openssl rand -hex 32 for NATS_TOKEN, or listen on 127.0.0.1", addr, n, shortestToken)
		}
	}
	if port > 0 { // the server itself would only log it
		l, err := net.Listen("tcp", addr)
		if err != nil {
			return nil, fmt.Errorf("--nats %s: %w: choose another address with --nats HOST:PORT (port -1 picks a free one)", addr, errors.Unwrap(err))
		}
		_ = l.Close()
	}
	srv, err := server.NewServer(&server.Options{
		ServerName: "tidegate-dev", Host: host, Port: port, Authorization: token, NoSigs: true, NoLog: true,
		JetStream: true, StoreDir: filepath.Join(data, "nats"),
	})
	if err != nil {
		return nil, fmt.Errorf("embedded NATS: %w", err)
	}
	srv.Start()
	if !srv.ReadyForConnections(20 * time.Second) {
		srv.Shutdown()
		return nil, fmt.Errorf("embedded NATS did not start: is another `tidegate dev` using %s?", data)
	}
	return srv, nil
}
