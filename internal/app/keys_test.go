package app

import (
	"context"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/tidegate-io/tidegate/ingest"
	"github.com/tidegate-io/tidegate/internal/test/wait"
)

const (
	strongKey = "0123456789abcdef"
	otherKey  = "fedcba9876543210"
)

// TestExposure: an API that strangers reach needs keys that they cannot guess.
func TestExposure(t *testing.T) {
	for _, c := range []struct{ http, keys, says string }{
		{"127.0.0.1:0", "", ""},
		{"[::1]:0", "short", ""},
		{"localhost:0", "short", ""},
		{"0.0.0.0:0", "", "there are no API keys"},
		{":0", "", "there are no API keys"},
		{"192.0.2.1:8080", "app:" + strongKey + ":events,dash:tooshort:read", "dash: make better ones with `openssl rand -hex 32`"},
		{"192.0.2.1:8080", "app:" + strongKey + ":events", ""},
		{"192.0.2.1:8080", "app:sha256:" + strings.Repeat("0a", 32) + ":events", ""},
		{"nowhere", strongKey, "not HOST:PORT"},
	} {
		t.Setenv("TIDEGATE_API_KEYS", c.keys)
		set := Settings{Roles: AllRoles(), HTTP: c.http}
		err := set.FromEnvironment()
		if (err == nil) != (c.says == "") || err != nil && (!strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), "tooshort")) {
			t.Errorf("%s with %q: %v", c.http, c.keys, err)
		}
	}
}

// TestSecretsOfLinks: the first signs, all verify, and none may be guessed by those who
// reach the links.
func TestSecretsOfLinks(t *testing.T) {
	const strong, older = "0123456789abcdef0123456789abcdef", "fedcba9876543210fedcba9876543210"
	for _, c := range []struct{ http, public, secrets, says string }{
		{"127.0.0.1:0", "", "short", ""},
		{"127.0.0.1:0", "[::1]:0", "short", ""},
		{"192.0.2.1:0", "", "short", "secret 1 of TIDEGATE_SECRET has 5 characters"},
		{"127.0.0.1:0", "0.0.0.0:0", "short", "secret 1 of TIDEGATE_SECRET"},
		{"192.0.2.1:0", "", strong + ",short", "secret 2 of TIDEGATE_SECRET"},
		{"192.0.2.1:0", "", strong + ", " + older, ""},
		{"192.0.2.1:0", "", "", ""}, // links are refused
	} {
		t.Setenv("TIDEGATE_API_KEYS", strongKey)
		t.Setenv("TIDEGATE_SECRET", c.secrets)
		set := Settings{Roles: AllRoles(), HTTP: c.http, Public: c.public}
		err := set.FromEnvironment()
		if (err == nil) != (c.says == "") || err != nil && (!strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), strong)) {
			t.Errorf("%+v: %v", c, err)
		}
		if c.secrets == strong+", "+older && (string(set.Secret) != strong || len(set.OldSecrets) != 1 || string(set.OldSecrets[0]) != older) {
			t.Errorf("%s and %s", set.Secret, set.OldSecrets)
		}
	}
}

func TestKeysFromEnvironment(t *testing.T) {
	path := filepath.Join(t.TempDir(), "keys")
	for _, c := range []struct{ keys, file, says string }{
		{"a:" + strongKey + ":read", "", ""},
		{"", "a:" + strongKey + ":read\n", ""},
		{"", "\n", "TIDEGATE_API_KEYS_FILE " + path + ": there is no API key in it"},
		{"a:" + strongKey, "", "TIDEGATE_API_KEYS: API key 1"},
	} {
		t.Setenv("TIDEGATE_API_KEYS", c.keys)
		t.Setenv("TIDEGATE_API_KEYS_FILE", "")
		if c.file != "" {
			write(t, path, c.file)
			t.Setenv("TIDEGATE_API_KEYS_FILE", path)
		}
		keys, file, err := KeysFromEnvironment()
		if (err == nil) != (c.says == "") || err != nil && (!strings.Contains(err.Error(), c.says) || strings.Contains(err.Error(), strongKey)) {
			t.Errorf("%+v: %v", c, err)
		}
		if err == nil && (keys.Empty() || (file == path) != (c.file != "")) {
			t.Errorf("%+v: %v from %q", c, keys.All(), file)
		}
	}
}

// TestKeysAreReadAgain: an edited file of keys counts without a restart. A broken
// or an empty one changes nothing.
func TestKeysAreReadAgain(t *testing.T) {
	t.Parallel()
	path := filepath.Join(t.TempDir(), "keys")
	write(t, path, "app:"+strongKey+":read\n")
	keys, err := ingest.ParseKeyFile("app:" + strongKey + ":read")
	if err != nil {
		t.Fatal(err)
	}
	a, err := Start(context.Background(), Settings{Keys: keys, KeysFile: path}, nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	defer a.Stop(context.Background())
	if err := a.WaitReady(t.Context()); err != nil {
		t.Fatal(err)
	}
	becomes := func(key string, status int) {
		t.Helper()
		wait.Until(t, "the key's status", func() error {
			if got := statusWith(t, a, key); got != status {
				return fmt.Errorf("%d, want %d", got, status)
			}
			return nil
		})
	}
	becomes(strongKey, 200)
	becomes(otherKey, 401)
	write(t, path, "app:"+otherKey+":read\n")
	becomes(otherKey, 200)
	becomes(strongKey, 401)
	for _, wrong := range []string{"", "app:" + strongKey, "a:" + strongKey + ":read,a:" + otherKey + ":read"} {
		if err := a.setKeys(wrong); err == nil || strings.Contains(err.Error(), strongKey) {
			t.Errorf("%q: %v", wrong, err)
		}
	}
	becomes(otherKey, 200)
}

func statusWith(t *testing.T, a *App, key string) int {
	t.Helper()
	r, err := http.NewRequest(http.MethodGet, a.URL()+"/v1/gates", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+key)
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	return resp.StatusCode
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}
