package cli

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"
)

// TestNoSecretIsPrinted holds that addresses with passwords and what variables stand
// for reach neither output nor log.
func TestNoSecretIsPrinted(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, "wrong.yaml", "public_url: ${HUNTED}\nfrom: ${HUNTED}\nplans: {free: {default: true}}\ngates: ${HUNTED}\n")
	if code, _, stderr := command(t, "", "init"); code != exitOK {
		t.Fatal(stderr)
	}
	write(t, "history.ndjson", "{}\n")
	const secret = "hunter2"
	for name, value := range map[string]string{
		"HUNTED": secret, "TIDEGATE_URL": "http://ada:" + secret + "@127.0.0.1:1", "NATS_URL": "nats://ada:" + secret + "@127.0.0.1:1",
		"MONGODB_URI": "mongodb://ada:" + secret + "@127.0.0.1:1/?connectTimeoutMS=1&serverSelectionTimeoutMS=50", "TIDEGATE_API_KEY": secret,
		"RESEND_API_KEY": secret, "RESEND_BASE_URL": "http://127.0.0.1:1/", "STRIPE_SECRET_KEY": "sk_test_" + secret, "STRIPE_API_BASE": "http://127.0.0.1:1",
	} {
		t.Setenv(name, value)
	}
	for _, line := range []string{
		"doctor", "doctor --output json", "dead", "verify", "replay", "import history.ndjson", "check acme api", "send --type api --customer acme",
		"usage acme", "top", "gate off api", "serve --http 127.0.0.1:0 --config wrong.yaml", "serve --http 127.0.0.1:0 --log debug", "config check wrong.yaml",
		"verify --nats nats://ada:" + secret + "@:x", "import --mongo mongodb://ada:" + secret + "@127.0.0.1:x --collection c",
	} {
		ctx, cancel := context.WithTimeout(t.Context(), 3*time.Second) // serve waits for NATS
		var out, err strings.Builder
		code := Main(ctx, strings.Fields(line), Streams{strings.NewReader(""), &out, &err}, build)
		cancel()
		if printed := out.String() + err.String(); strings.Contains(printed, secret) || printed == "" {
			t.Errorf("%s: exit %d: %s", line, code, printed)
		}
	}
	for _, user := range []string{"ada:%s@", "%s@", "nats:ada:%s@", "nats://ada:%s x@", "nats://ada:%s/x@", "nats://ada:%s%%zz@", "nats://ada:x,%s@", "http:ada:%s@", "http://ada:%s  x@"} {
		address := fmt.Sprintf(user, secret) + "127.0.0.1:1"
		t.Setenv("TIDEGATE_URL", address)
		t.Setenv("NATS_URL", address+",nats://127.0.0.1:1")
		t.Setenv("MONGODB_URI", strings.Replace(address, "nats:", "mongodb:", 1)+"/?connectTimeoutMS=1&serverSelectionTimeoutMS=50")
		for _, line := range []string{"doctor", "verify", "check acme api", "ready", "serve --http 127.0.0.1:0 --log debug"} {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			var out, err strings.Builder
			code := Main(ctx, strings.Fields(line), Streams{strings.NewReader(""), &out, &err}, build)
			cancel()
			if printed := out.String() + err.String(); strings.Contains(printed, secret) || printed == "" {
				t.Errorf("%s: %s: exit %d: %s", address, line, code, printed)
			}
		}
	}
	for _, keys := range []string{secret + ":nothing", ":" + secret, secret + ":read:" + secret + "x", secret + ",," + secret + ":read+"} {
		t.Setenv("TIDEGATE_API_KEYS", keys)
		code, stdout, stderr := command(t, "", "serve", "--http", "127.0.0.1:0")
		if code == exitOK || strings.Contains(stdout+stderr, secret) {
			t.Errorf("%s: exit %d: %s", keys, code, stdout+stderr)
		}
	}
}
