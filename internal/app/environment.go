package app

import (
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/tidegate-io/tidegate/internal/environ"
	"github.com/tidegate-io/tidegate/internal/misuse"
	"github.com/tidegate-io/tidegate/internal/stripe/fold"
)

// FromEnvironment fills in what only the environment says, and refuses roles that
// do not exist and an API that strangers could use.
func (s *Settings) FromEnvironment() error {
	var stripe, resend, secret string
	for name, to := range map[string]*string{
		"MONGODB_URI": &s.MongoURI, "MONGODB_DATABASE": &s.MongoDatabase, "APP_MONGODB_URI": &s.AppMongoURI,
		"STRIPE_WEBHOOK_SECRET": &stripe, "STRIPE_SECRET_KEY": &s.StripeKey, "STRIPE_API_BASE": &s.StripeBase,
		"RESEND_API_KEY": &s.ResendKey, "RESEND_BASE_URL": &s.ResendBase, "RESEND_WEBHOOK_SECRET": &resend,
		"TIDEGATE_SECRET": &secret,
	} {
		v, err := environ.Lookup(name)
		if err != nil {
			return err
		}
		if v != "" {
			*to = v
		}
	}
	s.StripeSecrets, s.ResendSecrets = environ.List(stripe), environ.List(resend)
	s.setSecrets(secret)
	var err error
	if s.StripeMode, err = stripeMode(); err != nil {
		return err
	}
	if s.Keys, s.KeysFile, err = KeysFromEnvironment(); err != nil {
		return err
	}
	for _, r := range s.Roles {
		if !slices.Contains(AllRoles(), r) {
			return misuse.Errorf("--roles: %q is none of %s", r, strings.Join(AllRoles(), ", "))
		}
	}
	return s.checkExposure()
}

// setSecrets takes the secrets for links: the newest, which signs, and those before it.
func (s *Settings) setSecrets(value string) {
	for i, secret := range environ.List(value) {
		if i == 0 {
			s.Secret = []byte(secret)
		} else {
			s.OldSecrets = append(s.OldSecrets, []byte(secret))
		}
	}
}

// minSecret is the fewest bytes of a secret for links that strangers may try to guess.
const minSecret = 32

// checkSecrets returns an error for a secret that is too short. It counts whether it
// signs new links or not: whoever guesses it can make some.
func (s *Settings) checkSecrets() error {
	for i, secret := range append([][]byte{s.Secret}, s.OldSecrets...) {
		if len(secret) > 0 && len(secret) < minSecret {
			return fmt.Errorf("secret %d of TIDEGATE_SECRET has %d characters and can be guessed: make one of at least %d with `openssl rand -hex 32`; "+
				"links that a short one signed stop working", i+1, len(secret), minSecret)
		}
	}
	return nil
}

// stripeMode is the mode that STRIPE_MODE or the key says.
func stripeMode() (fold.Mode, error) {
	key, err := environ.Lookup("STRIPE_SECRET_KEY")
	if err != nil {
		return "", err
	}
	said, err := environ.Lookup("STRIPE_MODE")
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

// checkExposure refuses an API that strangers could use.
func (s *Settings) checkExposure() error {
	if !s.has(RoleIngest) {
		return nil
	}
	if _, _, err := net.SplitHostPort(s.HTTP); err != nil {
		return misuse.Errorf("--http %q is not HOST:PORT: %w", s.HTTP, err)
	}
	if s.exposed() || s.Public != "" && !isLoopback(s.Public) {
		if err := s.checkSecrets(); err != nil {
			return err
		}
	}
	if !s.exposed() {
		return nil
	}
	if s.Keys.Empty() {
		return fmt.Errorf("--http %s can be reached from outside, but there are no API keys: set TIDEGATE_API_KEYS, or listen on 127.0.0.1", s.HTTP)
	}
	if err := CheckKeys(s.Keys); err != nil {
		return fmt.Errorf("--http %s can be reached from outside: %w", s.HTTP, err)
	}
	return nil
}

// exposed reports whether the API can be reached from other machines.
func (s *Settings) exposed() bool { return s.HTTP != "" && !isLoopback(s.HTTP) }

// isLoopback reports whether HOST:PORT can be reached from this machine only.
func isLoopback(addr string) bool {
	host, _, err := net.SplitHostPort(addr)
	ip := net.ParseIP(host)
	return err == nil && (host == "localhost" || ip != nil && ip.IsLoopback())
}
