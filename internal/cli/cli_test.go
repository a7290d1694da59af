package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/tidegate-io/tidegate/events"
	"github.com/tidegate-io/tidegate/internal/buildinfo"
	"github.com/tidegate-io/tidegate/internal/config"
	"github.com/tidegate-io/tidegate/internal/test/sample"
	"github.com/tidegate-io/tidegate/internal/test/testprocess"
	"github.com/tidegate-io/tidegate/internal/test/wait"
)

func TestMain(m *testing.M) { testprocess.Main(m) }

// build is which Tidegate this is.
var build = buildinfo.Info{Version: "v1.2.3", Commit: "abc", Go: "go1.26.0"}

// command runs the command in this process.
func command(t testing.TB, stdin string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	var out, err bytes.Buffer
	code = Main(t.Context(), args, Streams{strings.NewReader(stdin), &out, &err}, build)
	return code, out.String(), err.String()
}

// everyCommand is all of them, each with arguments that a running dev answers well.
var everyCommand = []string{
	"dev", "dev upgrade", "dev downgrade", "serve", "init", "config check", "send", "check", "usage", "top", "funnel",
	"gate off", "gate on", "import", "import events", "import customers", "replay", "verify", "explain", "dead", "audit", "mail preview", "doctor",
	"ready", "licenses",
}

func TestHelp(t *testing.T) {
	for _, args := range [][]string{nil, {"help"}, {"--help"}, {"-h"}} {
		code, stdout, stderr := command(t, "", args...)
		if code != exitOK || stderr != "" {
			t.Errorf("%v: exit %d: %s", args, code, stderr)
		}
		for _, name := range everyCommand {
			if name, _, _ = strings.Cut(name, " "); !strings.Contains(stdout, "\n  "+name+" ") {
				t.Errorf("%v does not list %s:\n%s", args, name, stdout)
			}
		}
	}
	for _, name := range everyCommand {
		code, stdout, _ := command(t, "", append(strings.Fields(name), "--help")...)
		if code != exitOK || !strings.HasPrefix(stdout, "Usage: tidegate "+name) {
			t.Errorf("%s --help: exit %d:\n%s", name, code, stdout)
		}
		_, same, _ := command(t, "", append([]string{"help"}, strings.Fields(name)...)...)
		if same != stdout {
			t.Errorf("help %s differs from %s --help:\n%s", name, name, same)
		}
	}
	if _, stdout, _ := command(t, "", "import", "--help"); !strings.Contains(stdout, "--mongo URI") || !strings.Contains(stdout, "import events --help") {
		t.Errorf("import --help does not lead to its flags:\n%s", stdout)
	}
	if code, stdout, _ := command(t, "", "--version"); code != exitOK || strings.TrimSpace(stdout) != "v1.2.3 (commit abc, go1.26.0)" {
		t.Errorf("--version: exit %d: %s", code, stdout)
	}
}

// TestErrors holds that every one is a line that says what to do.
func TestErrors(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, "there.yaml", "x: 1\n")
	write(t, "history.ndjson", sample.Event("acme", "1")+"\n")
	t.Setenv("TIDEGATE_URL", "http://127.0.0.1:1")
	t.Setenv("NATS_URL", "nats://127.0.0.1:1")
	for _, c := range []struct {
		line string
		code int
		says string
	}{
		{"nonsense", exitUsage, "nonsense"},
		{"check acme api --nonsense", exitUsage, "--nonsense"},
		{"check acme", exitUsage, "<feature>"},
		{"gate", exitUsage, "off"},
		{"--output xml top", exitUsage, "table"},
		{"send", exitUsage, "--customer"},
		{"send --type api --customer acme --data {", exitUsage, "--data"},
		{"replay --from yesterday", exitUsage, "--from"},
		{"audit --from yesterday", exitUsage, "--from"},
		{"audit --limit 0", exitUsage, "--limit"},
		{"--output csv gate off api", exitUsage, "gate off <feature> prints no csv"},
		{"audit --output csv", exitFailed, "TIDEGATE_URL"},
		{"funnel --by day", exitUsage, "--by"},
		{"serve --roles cook", exitUsage, "cook"},
		{"dev --nats nowhere --http 127.0.0.1:0", exitUsage, "--nats"},
		{"serve", exitUsage, "MONGODB_URI"},
		{"check acme api", exitFailed, "tidegate dev"},
		{"usage acme", exitFailed, "TIDEGATE_URL"},
		{"send --type api --customer acme", exitFailed, "tidegate dev"},
		{"verify", exitFailed, "NATS_URL"},
		{"import history.ndjson", exitFailed, "NATS_URL"},
		{"import", exitUsage, "FILE"},
		{"import customers", exitUsage, "FILE"},
		{"import history.ndjson --mongo mongodb://127.0.0.1:1 --collection c", exitUsage, "not both"},
		{"import customers history.ndjson --collection c", exitUsage, "not both"},
		{"import --mongo mongodb://127.0.0.1:1", exitUsage, "--collection"},
		{"import --collection c --format csv", exitUsage, "--format"},
		{"import customers --collection c", exitUsage, "APP_MONGODB_URI"},
		{"import customers --collection c --mongo mongodb://", exitFailed, "--mongo"},
		{"import history.ndjson --map custmer=user_id", exitUsage, "customer, id"},
		{"import customers history.ndjson --map mail=x", exitUsage, "email"},
		{"send none.ndjson", exitFailed, "none.ndjson: no such file or directory: name"},
		{"config check none.yaml", exitFailed, "no configuration none.yaml: write one with `tidegate init`"},
		{"config check", exitFailed, "no configuration tidegate.yaml: write one with `tidegate init`"},
		{"config check .", exitFailed, "name a file that can be read"},
		{"dev --config none.yaml --http 127.0.0.1:0 --nats 127.0.0.1:-1", exitFailed, "no configuration none.yaml: write one with `tidegate init`"},
		{"verify --config none.yaml", exitFailed, "no configuration none.yaml"},
		{"mail preview --config none.yaml", exitFailed, "no configuration none.yaml"},
		{"--config there.yaml init", exitFailed, "--force"},
		{"dev upgrade acme", exitFailed, "tidegate dev"},
		{"dev upgrade acme --plan gold", exitUsage, "paid"},
	} {
		code, stdout, stderr := command(t, "", strings.Fields(c.line)...)
		if code != c.code || !strings.Contains(stderr, c.says) {
			t.Errorf("%s: exit %d, and not %q: %s", c.line, code, c.says, stderr)
		}
		if strings.Count(stderr, "\n") != 1 || !strings.HasPrefix(stderr, "tidegate: ") || stdout != "" {
			t.Errorf("%s: not one line on standard error: %q %q", c.line, stderr, stdout)
		}
	}
}

func write(t testing.TB, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestConfigCheck(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, "good.yaml", sample.Config)
	write(t, "bad.yaml", strings.NewReplacer("free: 10", "free: many", "period: 30d", "perid: 30d").Replace(sample.Config))
	code, stdout, stderr := command(t, "", "config", "check", "good.yaml")
	if code != exitOK || stderr != "" || !strings.Contains(stdout, "good.yaml is valid") {
		t.Errorf("good: exit %d: %s%s", code, stdout, stderr)
	}
	if code, _, _ := command(t, "", "--config", "good.yaml", "config", "check"); code != exitOK {
		t.Errorf("good as --config: exit %d", code)
	}
	code, stdout, stderr = command(t, "", "config", "check", "bad.yaml")
	if code != exitFailed || stdout != "" {
		t.Errorf("bad: exit %d: %s", code, stdout)
	}
	for _, mistake := range []string{"bad.yaml:10: gates[0].condition.limit.free", "bad.yaml:11: gates[0].condition.perid"} {
		if !strings.Contains(stderr, mistake) {
			t.Errorf("bad: %q is not named:\n%s", mistake, stderr)
		}
	}
}

func TestConfigCheckNamesOverlappingGates(t *testing.T) {
	t.Chdir(t.TempDir())
	write(t, "tidegate.yaml", `plans: {free: {default: true}}
gates:
  - {feature: all, trigger: {endpoint: /api/*, method: POST}, condition: {limit: {free: 2}, period: 30d}}
  - {feature: export, trigger: {endpoint: /api/export, method: POST}, condition: {limit: {free: 100}, period: 30d}}
`)
	for _, output := range []string{"table", "json"} {
		code, stdout, stderr := command(t, "", "config", "check", "--output", output)
		if code != exitOK || stderr != "" || !strings.Contains(strings.ReplaceAll(stdout, `\"`, `"`), `"export" alone decides`) {
			t.Errorf("%s: exit %d: %s%s", output, code, stdout, stderr)
		}
	}
}

func TestInit(t *testing.T) {
	t.Chdir(t.TempDir())
	for _, args := range [][]string{{"init"}, {"config", "check"}, {"init", "--force"}} {
		if code, _, stderr := command(t, "", args...); code != exitOK {
			t.Fatalf("%v: exit %d: %s", args, code, stderr)
		}
	}
	write(t, "tidegate.yaml", sample.Config)
	if code, _, _ := command(t, "", "init"); code != exitFailed {
		t.Errorf("init over a file: exit %d", code)
	}
	if b, err := os.ReadFile("tidegate.yaml"); err != nil || string(b) != sample.Config {
		t.Errorf("the file was changed: %v", err)
	}
}

func TestInitFromWhatAnAppHas(t *testing.T) {
	t.Chdir(t.TempDir())
	const document = `{"openapi":"3.1.0","paths":{"/api/features/{name}":{"post":{"summary":"Feature"}}}}`
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/openapi.json" {
			http.NotFound(w, r)
			return
		}
		_, _ = io.WriteString(w, document)
	}))
	defer app.Close()
	write(t, "app.json", document)
	write(t, "skene.config.ts", "export default defineLoop({\n  trigger: {type: 'api', endpoint: '/api/features/*', method: 'POST'},\n"+
		"  condition: {type: 'usage', limit: {free: 100, paid: Infinity}, period: '30d'},\n  action: {type: 'block', message: 'You've had enough'},\n})\n")
	for _, args := range [][]string{{"--openapi", app.URL}, {"--openapi", app.URL + "/openapi.json"}, {"--openapi", "app.json"}, {"--from", "skene.config.ts"}} {
		code, stdout, stderr := command(t, "", append([]string{"init", "--force"}, args...)...)
		if code != exitOK || args[0] == "--from" && !strings.Contains(stdout, "line 4: ") {
			t.Fatalf("%v: exit %d: %s%s", args, code, stdout, stderr)
		}
		c, err := config.Load("tidegate.yaml", os.LookupEnv)
		if err != nil || len(c.Gates) != 1 || !slices.Equal(c.Gates[0].Triggers, []events.Trigger{{Endpoint: "/api/features/*", Method: "POST"}}) {
			t.Errorf("%v: gates %+v: %v", args, c, err)
		}
	}
	write(t, "12h.ts", "export default defineLoop({\n  condition: {limit: 100, period: '12h'},\n})\n")
	if code, _, stderr := command(t, "", "init", "--force", "--from", "12h.ts"); code != exitFailed ||
		!strings.HasPrefix(stderr, "tidegate: 12h.ts: line 2: condition.period: ") || strings.Contains(stderr, "tidegate.yaml") {
		t.Errorf("exit %d: %s", code, stderr)
	}
	for _, args := range [][]string{{"--openapi", app.URL + "/docs"}, {"--openapi", "none.json"}, {"--from", "none.ts"}, {"--from", "app.json"}} {
		if code, _, stderr := command(t, "", append([]string{"init", "--force"}, args...)...); code != exitFailed || !strings.Contains(stderr, args[1]) {
			t.Errorf("%v: exit %d: %s", args, code, stderr)
		}
	}
}

// TestCommands asks a dev in this process with every command, in both forms.
func TestCommands(t *testing.T) {
	dir := t.TempDir()
	t.Chdir(dir)
	state, _ := runDev(t, "--nats", "127.0.0.1:-1")
	t.Setenv("TIDEGATE_URL", state.HTTP)
	t.Setenv("NATS_URL", state.NATS)
	a := api{base: state.HTTP, http: http.DefaultClient}
	wait.Until(t, "readiness", func() error { return a.get(t.Context(), "/v1/gates", nil, new(any)) })

	write(t, "usage.csv", "customer,type,id,tokens\nacme,api,1,5\nacme,api,2,7\n")
	write(t, "customers.ndjson", `{"id":"acme","email":"ada@acme.example"}`+"\n")
	write(t, "history.ndjson", `{"type":"api","subject":"globex","time":"2025-01-31T00:00:00Z"}`+"\n")
	answers(t, "init", "config check", "send usage.csv", "import customers customers.ndjson", "import history.ndjson")
	wait.Until(t, "acme's uses are counted", func() error {
		var v customerView
		if err := a.get(t.Context(), "/v1/customers/acme", nil, &v); err != nil {
			return err
		}
		if len(v.Usage) != 1 || v.Usage[0].Used != events.Count(2) {
			return fmt.Errorf("%+v", v.Usage)
		}
		return nil
	})
	answers(t, "check acme api", "usage acme", "top", "funnel", "funnel --by plan", "funnel --by feature", "funnel --by week",
		"explain acme api", "replay", "replay --customer acme --dry-run", "verify", "dead", "mail preview", "doctor", "ready", "licenses",
		"gate off api", "gate on api", "dev upgrade acme", "dev downgrade acme", "send --type api --customer acme --id 7 --data {\"tokens\":3}")
	answers(t, "gate off api --reason fire", "audit", "audit --actor local --limit 1", "audit --from 2020-01-01 --to 2100-01-01")
	audits(t, a)
	answers(t, "gate on api")
	checks(t)
	watches(t)
	withoutAudit(t, state.NATS)
}

// answers runs commands for tables and for JSON.
func answers(t *testing.T, lines ...string) {
	t.Helper()
	for _, line := range lines {
		args := strings.Fields(line)
		if code, stdout, stderr := command(t, "", args...); code != exitOK || stdout == "" || json.Valid([]byte(stdout)) {
			t.Errorf("%s: exit %d: %s%s", line, code, stdout, stderr)
		}
		if line == "init" {
			args = append(args, "--force")
		}
		code, stdout, stderr := command(t, "", slices.Concat([]string{"--output", "json"}, args)...)
		if code != exitOK || !json.Valid([]byte(stdout)) {
			t.Errorf("%s in JSON: exit %d: %s%s", line, code, stdout, stderr)
		}
	}
}

// checks tries the exit codes of a decision.
func checks(t *testing.T) {
	t.Helper()
	if code, _, stderr := command(t, "", "check", "acme", "none"); code != exitFailed || !strings.Contains(stderr, "none") {
		t.Errorf("check of an unknown feature: exit %d: %s", code, stderr)
	}
	lines := sample.Lines(sample.Events("hooli", "use", 100))
	if code, stdout, stderr := command(t, lines, "send", "-"); code != exitOK || stdout != "accepted 100 events\n" {
		t.Errorf("send from standard input: exit %d: %s%s", code, stdout, stderr)
	}
	wait.Until(t, "the block", func() error {
		code, stdout, stderr := command(t, "", "--output", "json", "check", "hooli", "api")
		if code == exitOK {
			return os.ErrNotExist
		}
		if code != exitBlocked || stderr != "" || !json.Valid([]byte(stdout)) {
			t.Fatalf("check of a blocked customer: exit %d: %s%s", code, stdout, stderr)
		}
		return nil
	})
	code, stdout, stderr := command(t, lines+"not JSON\n"+`{"type":"api"}`+"\n", "send", "-")
	if code != exitFailed || stdout != "accepted 100 events\n" || !strings.Contains(stderr, "line 101: ") || !strings.Contains(stderr, "line 102: ") {
		t.Errorf("send of bad lines: exit %d: %s%s", code, stdout, stderr)
	}
}

// watches follows a customer until it is interrupted.
func watches(t *testing.T) {
	t.Helper()
	ctx, interrupt := context.WithCancel(t.Context())
	defer interrupt()
	var stdout, stderr testprocess.Output
	ended := make(chan int, 1)
	go func() {
		ended <- Main(ctx, []string{"--output", "json", "usage", "hooli", "--watch"}, Streams{nil, &stdout, &stderr}, build)
	}()
	for used := int64(100); used <= 101; used++ {
		wait.Until(t, "the use is shown", func() error {
			for line := range strings.Lines(stdout.String()) {
				var v customerView
				if err := json.Unmarshal([]byte(line), &v); err == nil && len(v.Usage) == 1 && v.Usage[0].Used == events.Count(used) {
					return nil
				}
			}
			return errors.New(stdout.String() + stderr.String())
		})
		if code, _, said := command(t, "", "send", "--type", "api", "--customer", "hooli"); code != exitOK {
			t.Fatalf("send: exit %d: %s", code, said)
		}
	}
	interrupt()
	if code := <-ended; code != exitOK {
		t.Errorf("usage --watch: exit %d: %s", code, stderr.String())
	}
}

// A rolling window begins later all the time, which is no change.
func TestUsageIsPrintedAgainWhenItChanged(t *testing.T) {
	t.Parallel()
	shown := func(start, end, used string) string {
		var v customerView
		body := fmt.Sprintf(`{"plan":"free","usage":[{"feature":"api","window_start":%q,"window_end":%s,"used":%s,"limit":10}]}`, start, end, used)
		if err := json.Unmarshal([]byte(body), &v); err != nil {
			t.Fatal(err)
		}
		return v.digest()
	}
	const first, second = "2026-03-01T00:00:00Z", "2026-03-01T00:00:01Z"
	if shown(first, "null", "1") != shown(second, "null", "1") {
		t.Error("a rolling window is printed every second")
	}
	if shown(first, "null", "1") == shown(first, "null", "2") || shown(first, `"2026-03-31T00:00:00Z"`, "1") == shown(first, `"2026-04-30T00:00:00Z"`, "1") {
		t.Error("a change is not printed")
	}
}
