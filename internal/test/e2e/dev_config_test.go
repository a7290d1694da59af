package e2e

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/test/sample"
	"github.com/tidegate-io/tidegate/internal/test/testprocess"
	"github.com/tidegate-io/tidegate/internal/test/wait"
)

// TestEditedConfiguration raises a limit, makes a mistake and removes the gate while dev
// runs.
func TestEditedConfiguration(t *testing.T) {
	t.Parallel()
	d := newDevelopment(t, sample.Config)
	app := d.app(d.connect())
	d.post("application/x-ndjson", sample.Lines(sample.Events("acme", "use", 10)), 10)
	sees(t, app, "acme", false)

	d.configure(strings.Replace(sample.Config, "free: 10", "free: 20", 1))
	sees(t, app, "acme", true)
	d.decides("acme", events.WithinLimit, 10)

	d.configure(strings.Replace(sample.Config, "free: 10", "fee: 20", 1))
	d.Says("configuration_ignored")
	if !strings.Contains(d.Stderr.String(), "fee") {
		t.Errorf("the mistake is not named: %s", d.Stderr.String())
	}
	d.post("application/x-ndjson", sample.Lines(sample.Events("acme", "more", 10)), 10)
	sees(t, app, "acme", false)
	d.decides("acme", events.LimitReached, 20)

	d.configure(sample.Config[:strings.Index(sample.Config, "gates:")] + "gates: []\n")
	sees(t, app, "acme", true)
}

// TestEmergencySwitch turns a gate off, restarts, and turns it on again.
func TestEmergencySwitch(t *testing.T) {
	t.Parallel()
	d := newDevelopment(t, sample.Config)
	app := d.app(d.connect())
	d.post("application/x-ndjson", sample.Lines(sample.Events("acme", "use", 10)), 10)
	sees(t, app, "acme", false)
	d.must("gate", "off", "api")
	sees(t, app, "acme", true)
	if code := d.Interrupt(); code != exitOK {
		t.Fatalf("exit %d", code)
	}
	d.start()
	d.decides("acme", events.GateOff, 10)
	sees(t, app, "acme", true)
	d.must("gate", "on", "api")
	sees(t, app, "acme", false)
}

// TestBusyPorts: the error names the flag that changes the address.
func TestBusyPorts(t *testing.T) {
	t.Parallel()
	busy, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = busy.Close() })
	for _, flag := range []string{"--http", "--nats", "--public"} {
		t.Run(flag, func(t *testing.T) {
			t.Parallel()
			addresses := map[string]string{"--http": "127.0.0.1:0", "--nats": "127.0.0.1:-1"}
			addresses[flag] = busy.Addr().String()
			args := []string{"dev", "--data", t.TempDir()}
			for f, addr := range addresses {
				args = append(args, f, addr)
			}
			p := testprocess.Start(t, "dev", testprocess.Tidegate(t), nil, args...)
			code, stderr := p.Exit(wait.Patience), p.Stderr.String()
			if code != exitFailed || strings.Count(stderr, "\n") != 1 {
				t.Errorf("exit %d, not in one line: %s", code, stderr)
			}
			if !strings.Contains(stderr, flag+" HOST:PORT") || !strings.Contains(stderr, busy.Addr().String()) {
				t.Errorf("the flag or the address is not named: %s", stderr)
			}
		})
	}
}

// TestDataInUse: a second process on the same data is refused.
func TestDataInUse(t *testing.T) {
	t.Parallel()
	d := newDevelopment(t, "")
	p := testprocess.Start(t, "second dev", testprocess.Tidegate(t), nil, "dev", "--data", d.data(), "--http", "127.0.0.1:0", "--nats", "127.0.0.1:-1")
	if code := p.Exit(wait.Patience); code != exitFailed || !strings.Contains(p.Stderr.String(), "another folder with --data") {
		t.Errorf("exit %d: %s", code, p.Stderr.String())
	}
	d.post("application/json", sample.Event("acme", "1"), 1)
}

// TestExposedAPI: an API on a public address without keys is refused.
func TestExposedAPI(t *testing.T) {
	t.Parallel()
	for name, env := range map[string][]string{
		"dev":   {},
		"serve": {"NATS_URL=nats://127.0.0.1:1", "MONGODB_URI=mongodb://127.0.0.1:1"},
	} {
		p := testprocess.Start(t, name, testprocess.Tidegate(t), append(env, "TIDEGATE_DATA="+t.TempDir()), name, "--http", "0.0.0.0:0")
		if code := p.Exit(wait.Patience); code != exitFailed {
			t.Errorf("%s: exit %d", name, code)
		}
		if said := p.Stderr.String(); !strings.Contains(said, "TIDEGATE_API_KEYS") {
			t.Errorf("%s says %s", name, said)
		}
	}
	if _, err := os.Stat(".tidegate"); err == nil {
		t.Error("data was left in the working directory")
	}
}

// TestOverrides sets an override of a customer and removes it.
func TestOverrides(t *testing.T) {
	t.Parallel()
	d := newDevelopment(t, sample.Config)
	app := d.app(d.connect())
	d.post("application/x-ndjson", sample.Lines(sample.Events("acme", "use", 10)), 10)
	sees(t, app, "acme", false)
	d.put("acme", `{"overrides":{"api":{"grant":5,"reason":"asked kindly"}}}`)
	sees(t, app, "acme", true)
	d.decides("acme", events.Overridden, 10)
	if said := d.must("explain", "acme", "api"); !strings.Contains(said, "5 more: asked kindly") {
		t.Errorf("explain says\n%s", said)
	}
	d.put("acme", `{"overrides":{"api":null}}`)
	sees(t, app, "acme", false)
	d.put("acme", `{"plan":"paid"}`)
	sees(t, app, "acme", true)
	d.decides("acme", events.Unlimited, 0) // a paid plan begins a window, and its end begins another
	d.put("acme", `{"plan":null}`)
	d.decides("acme", events.WithinLimit, 0)
}

// TestAgainstLive: the command names exactly the customers that would be blocked.
func TestAgainstLive(t *testing.T) {
	t.Parallel()
	const exports = "  - feature: exports\n    condition: {limit: {free: 100}, period: 30d}\n"
	d := newDevelopment(t, strings.Replace(sample.Config, "type: block", "type: shadow", 1)+exports)
	for _, customer := range []string{"acme", "vip"} {
		d.post("application/x-ndjson", sample.Lines(sample.Events(customer, "use", 12)), 12)
	}
	d.post("application/x-ndjson", sample.Lines(sample.Events("hooli", "use", 3)), 3)
	for _, customer := range []string{"idle", "vip"} {
		d.put(customer, `{"overrides":{"exports":{"limit":5}}}`)
	}
	d.put("vip", `{"overrides":{"api":{"limit":100}}}`)
	path := filepath.Join(d.dir, "new.yaml")
	write(t, path, sample.Config+strings.Replace(exports, "100", "none", 1)+"  - feature: reports\n    condition: {limit: {free: none}, period: 30d}\n")
	want := "acme/api acme/exports acme/reports hooli/exports hooli/reports idle/reports vip/reports"
	wait.Until(t, "all are named", func() error {
		var pairs []string
		var found []struct{ Customer, Feature string }
		d.decoded(&found, "config", "check", path, "--against-live")
		for _, b := range found {
			pairs = append(pairs, b.Customer+"/"+b.Feature)
		}
		slices.Sort(pairs)
		if got := strings.Join(pairs, " "); got != want {
			return errors.New("named are " + got)
		}
		return nil
	})
}

// TestTemplates: `config check` and the start have the same conditions.
func TestTemplates(t *testing.T) {
	t.Parallel()
	const prompt = "action: {type: block, upgrade_prompt: {template: upgrade_prompt}}"
	text := "mail: {templates: ./templates}\n" + strings.Replace(sample.Config, "action: {type: block}", prompt, 1)
	d := newDevelopment(t, text) // no such folder
	d.Says("mail_templates_missing")
	code, stdout, stderr := d.command("", "config", "check", d.config)
	if code != exitOK || !strings.Contains(stdout, "is valid") || !strings.HasPrefix(stderr, d.config+":1: mail.templates: there is no folder "+d.dir) {
		t.Errorf("a missing folder: exit %d: %s%s", code, stdout, stderr)
	}

	path := filepath.Join(d.dir, "nudge.yaml")
	write(t, path, strings.Replace(text, "template: upgrade_prompt", "template: nudge", 1))
	code, stdout, stderr = d.command("", "config", "check", path)
	if code != exitFailed || stdout != "" || !strings.HasPrefix(stderr, path+":13: gates[0].action.upgrade_prompt.template: ") || !strings.Contains(stderr, "add nudge.html") {
		t.Errorf("a missing template: exit %d: %s%s", code, stdout, stderr)
	}
	p := testprocess.Start(t, "dev", testprocess.Tidegate(t), nil, "dev", "--config", path, "--data", t.TempDir(), "--http", "127.0.0.1:0", "--nats", "127.0.0.1:-1")
	if code := p.Exit(wait.Patience); code != exitFailed || p.Stderr.String() != stderr {
		t.Errorf("the start says otherwise than %q: exit %d: %s", stderr, code, p.Stderr.String())
	}
}
