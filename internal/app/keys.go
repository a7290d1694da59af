package app

import (
	"context"
	"crypto/sha256"
	"fmt"
	"reflect"
	"strings"
	"time"

	"github.com/tidegate-io/tidegate/ingest"
	"github.com/tidegate-io/tidegate/internal/environ"
	"github.com/tidegate-io/tidegate/internal/guard"
	"github.com/tidegate-io/tidegate/internal/watch"
)

// keysVariable is the variable of the API keys.
const keysVariable = "TIDEGATE_API_KEYS"

// minKey is the fewest bytes of an API key that strangers may try to guess.
const minKey = 16

// KeysFromEnvironment returns the API keys, and the file that they were read from:
// "" where the variable itself lists them. No error quotes a key.
func KeysFromEnvironment() (keys ingest.Keys, file string, err error) {
	text, err := environ.Lookup(keysVariable)
	if err != nil {
		return ingest.Keys{}, "", err
	}
	if file = environ.File(keysVariable); file == "" {
		if keys, err = ingest.ParseKeys(text); err != nil {
			err = fmt.Errorf("%s: %w", keysVariable, err)
		}
		return keys, "", err
	}
	if keys, err = ingest.ParseKeyFile(text); err != nil {
		err = fmt.Errorf("%s_FILE %s: %w", keysVariable, file, err)
	}
	return keys, file, err
}

// CheckKeys returns an error that names the keys that are too short to be guessed.
func CheckKeys(keys ingest.Keys) error {
	var short []string
	for _, k := range keys.All() {
		if k.ShorterThan(minKey) {
			short = append(short, k.Name)
		}
	}
	if len(short) == 0 {
		return nil
	}
	return fmt.Errorf("API keys with fewer than %d characters can be guessed: %s: make better ones with `openssl rand -hex 32`", minKey, strings.Join(short, ", "))
}

// followKeys applies the edits of the file of API keys. It reports a wrong one and
// keeps the keys before it.
func (a *App) followKeys(ctx context.Context) {
	ctx, cancel := context.WithCancel(context.WithoutCancel(ctx))
	done := make(chan struct{})
	go func() {
		defer close(done)
		watch.File(ctx, a.set.KeysFile, [sha256.Size]byte{}, time.Second, func(data []byte, err error) (done bool) {
			if err == nil {
				err = guard.Do(func() error { return a.setKeys(string(data)) })
			}
			if err != nil {
				a.log.Warn("api_keys_ignored", "file", a.set.KeysFile, "error", err)
			}
			return true
		})
	}()
	a.onStop("API keys", func(context.Context) error { cancel(); <-done; return nil })
}

func (a *App) setKeys(text string) error {
	keys, err := ingest.ParseKeyFile(text)
	if err != nil {
		return err
	}
	if err := CheckKeys(keys); err != nil && a.set.exposed() {
		return err
	}
	if reflect.DeepEqual(keys, *a.keys.Load()) {
		return nil
	}
	a.keys.Store(&keys)
	a.log.Info("api_keys_taken_over", "file", a.set.KeysFile, "keys", len(keys.All()))
	a.warnOfKeys()
	return nil
}

// KeyWarning is how long before its end a key is warned of.
const KeyWarning = 14 * 24 * time.Hour

// warnOfKeys logs the keys that are weak, have ended or are about to end.
func (a *App) warnOfKeys() {
	keys := *a.keys.Load()
	if err := CheckKeys(keys); err != nil {
		a.log.Warn("api_keys_weak", "error", err)
	}
	now := a.now()
	for _, k := range keys.All() {
		switch {
		case k.Ended(now):
			a.log.Warn("api_key_has_ended", "key", k.Name, "last_day", k.LastDay())
		case k.Ended(now.Add(KeyWarning)):
			a.log.Warn("api_key_will_end", "key", k.Name, "last_day", k.LastDay())
		}
	}
}
