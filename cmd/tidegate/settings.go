package main

import (
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/tidegate-io/tidegate/ingest"
	"github.com/tidegate-io/tidegate/internal/config"
	"github.com/tidegate-io/tidegate/internal/stream"
	"github.com/tidegate-io/tidegate/internal/stripe/fold"
)

// settings are what flags and the environment say of a running Tidegate.
type settings struct {
	HTTP          string
	Public        string
	Probes        string
	Roles         []string
	Config        string // path; may not exist in dev
	NATS          string // serve: URL; dev: the embedded server's address
	NATSCreds     string
	Replicas      int
	UsageBytes    int64 // space of the stream USAGE; 0: unlimited
	SnapshotBytes int   // growth of a log before it is summed up; 0: 1 MiB

	MongoURI      string
	MongoDatabase string
	MongoBulk     int // documents a command; 0: the store's default

	StripeSecrets []string  // of its webhooks
	StripeMode    fold.Mode // of which webhooks are taken; "": of either
	StripeKey     string    // "": nothing is asked of Stripe
	StripeBase    string
	ResendKey     string
	ResendBase    string
	ResendSecrets []string // of its webhooks
	Keys          ingest.Keys
	Secret        []byte

	Dev  bool
	Data string
}

// The roles.
const (
	roleIngest     = "ingest"
	roleAggregator = stream.RoleAggregator
	roleEnforcer   = stream.RoleEnforcer
	roleNotifier   = stream.RoleNotifier
)

var allRoles = []string{roleIngest, roleAggregator, roleEnforcer, roleNotifier}

func (s *settings) has(role string) bool { return slices.Contains(s.Roles, role) }

// lookup reads a variable, or the file that its name with _FILE points to.
func lookup(name string) (string, error) {
	if v := os.Getenv(name); v != "" {
		return v, nil
	}
	path := os.Getenv(name + "_FILE")
	if path == "" {
		return "", nil
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return "", fmt.Errorf("%s_FILE: %w", name, err)
	}
	return strings.TrimSpace(string(b)), nil
}

// fromEnvironment fills in what only the environment says.
func (s *settings) fromEnvironment() error {
	var stripe, resend, keys, secret string
	for name, to := range map[string]*string{
		"NATS_CREDS": &s.NATSCreds, "MONGODB_URI": &s.MongoURI, "MONGODB_DATABASE": &s.MongoDatabase,
		"STRIPE_WEBHOOK_SECRET": &stripe, "STRIPE_SECRET_KEY": &s.StripeKey, "STRIPE_API_BASE": &s.StripeBase,
		"RESEND_API_KEY": &s.ResendKey, "RESEND_BASE_URL": &s.ResendBase, "RESEND_WEBHOOK_SECRET": &resend,
		"TIDEGATE_API_KEYS": &keys, "TIDEGATE_SECRET": &secret,
	} {
		v, err := lookup(name)
		if err != nil {
			return err
		}
		if v != "" {
			*to = v
		}
	}
	s.StripeSecrets, s.ResendSecrets = list(stripe), list(resend)
	s.Secret = []byte(secret)
	var err error
	if s.StripeMode, err = stripeMode(); err != nil {
		return err
	}
	if s.Keys, err = ingest.ParseKeys(keys); err != nil {
		return fmt.Errorf("TIDEGATE_API_KEYS: %w", err)
	}
	for _, r := range s.Roles {
		if !slices.Contains(allRoles, r) {
			return usageError{fmt.Errorf("--roles: %q is none of %s", r, strings.Join(allRoles, ", "))}
		}
	}
	return s.checkExposure()
}

// stripeMode is the mode that STRIPE_MODE or the key says.
func stripeMode() (fold.Mode, error) {
	key, err := lookup("STRIPE_SECRET_KEY")
	if err != nil {
		return "", err
	}
	said, err := lookup("STRIPE_MODE")
	if err != nil {
		return "", err
	}
	mode, ofKey := fold.Mode(said), fold.ModeOfKey(key)
	switch {
	case mode == "":
		return ofKey, nil
	case mode != fold.ModeLive && mode != fold.ModeTest:
		return "", fmt.Errorf("STRIPE_MODE: %q is neither live nor test", said)
	case ofKey != "" && ofKey != mode:
		return "", fmt.Errorf("STRIPE_MODE is %s, but STRIPE_SECRET_KEY is a key of %s mode: set the key of the same mode", mode, ofKey)
	}
	return mode, nil
}

// list splits at commas: a secret is being rotated while there are two.
func list(s string) (vs []string) {
	for v := range strings.SplitSeq(s, ",") {
		if v = strings.TrimSpace(v); v != "" {
			vs = append(vs, v)
		}
	}
	return vs
}

// checkExposure refuses an API that strangers could use.
func (s *settings) checkExposure() error {
	if !s.has(roleIngest) || !s.Keys.Empty() {
		return nil
	}
	host, _, err := net.SplitHostPort(s.HTTP)
	if err != nil {
		return usageError{fmt.Errorf("--http %q is not HOST:PORT: %w", s.HTTP, err)}
	}
	if ip := net.ParseIP(host); host == "localhost" || ip != nil && ip.IsLoopback() {
		return nil
	}
	return fmt.Errorf("--http %s can be reached from outside, but there are no API keys: set TIDEGATE_API_KEYS, or listen on 127.0.0.1", s.HTTP)
}

// loadConfig reads the configuration; dev does without a file, unless one was
// named.
func (s *settings) loadConfig() (*config.Config, error) {
	c, err := readConfig(s.Config)
	if s.Dev && s.Config == config.DefaultFile && errors.Is(err, fs.ErrNotExist) {
		return config.Example(), nil
	}
	return c, err
}

// readConfig reads a configuration that has to be there.
func readConfig(path string) (*config.Config, error) {
	c, err := config.Load(path, os.LookupEnv)
	var of *fs.PathError
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, missingConfig(path)
	case errors.As(err, &of):
		return nil, fmt.Errorf("the configuration cannot be read: %w: name a file that can be read", err)
	}
	return c, err
}

// missingConfig is the error for a configuration that is not there.
type missingConfig string

func (path missingConfig) Error() string {
	return fmt.Sprintf("there is no configuration %s: write one with `tidegate init`, or name the file with --config", string(path))
}

func (missingConfig) Is(err error) bool { return err == fs.ErrNotExist }

// keep returns the secret in the named file under dir, and makes one first if
// there is none.
func keep(dir, name, prefix string) (string, error) {
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
