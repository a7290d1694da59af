package main

import (
	"encoding/json"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
)

// root is the repository as seen from this package.
const root = "../.."

// version is what the working tree is released as.
const version = "v1.999.0"

// release is the working tree at a proxy of files, and a cache of modules that
// nothing but the test uses: a user's would keep the made-up version.
type release struct {
	env []string // of go commands
}

// newRelease writes the proxy. Modules of others come from the cache of
// modules, and from the user's proxies if they are not there: without network
// the test runs where the client's requirements were downloaded once.
func newRelease(t *testing.T) release {
	t.Helper()
	r := repository{dir: root}
	w, err := r.workspace(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	p := proxy{repository: r, workspace: w, dir: t.TempDir(), as: version}
	if err := p.write(t.Context()); err != nil {
		t.Fatal(err)
	}
	var mod struct {
		Require []struct{ Path, Version string }
	}
	decode(t, goCommand(t, root, nil, "mod", "edit", "-json", "client/go.mod"), &mod)
	download := []string{"mod", "download"}
	for _, m := range mod.Require {
		if !strings.HasPrefix(m.Path, module+"/") {
			download = append(download, m.Path+"@"+m.Version)
		}
	}
	goCommand(t, t.TempDir(), []string{"GOWORK=off"}, download...)

	ours := url(p.dir)
	cached := url(filepath.Join(strings.TrimSpace(goCommand(t, root, nil, "env", "GOMODCACHE")), "cache", "download"))
	users := strings.TrimSpace(goCommand(t, root, nil, "env", "GOPROXY"))
	return release{env: []string{
		"GOWORK=off",
		"GOFLAGS=-modcacherw -trimpath",
		"GOTOOLCHAIN=local",
		"GOMODCACHE=" + t.TempDir(),
		"GOPROXY=" + strings.Join([]string{ours, cached, users}, ","),
		"GOPRIVATE=", "GONOPROXY=none",
		"GOSUMDB=off", // it cannot know the release; others' sums are in client/go.sum
		"CGO_ENABLED=0",
	}}
}

// url is the file URL of a directory.
func url(dir string) string {
	dir = filepath.ToSlash(dir)
	if !strings.HasPrefix(dir, "/") { // a drive of Windows
		dir = "/" + dir
	}
	return "file://" + dir
}

// run runs a go command in dir.
func (r release) run(t *testing.T, dir string, args ...string) string {
	t.Helper()
	return goCommand(t, dir, r.env, args...)
}

func goCommand(t *testing.T, dir string, env []string, args ...string) string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "go", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), env...)
	out, err := cmd.Output()
	if err != nil {
		detail := ""
		if exit, ok := err.(*exec.ExitError); ok { //nolint:errorlint // Output returns it as it is
			detail = string(exit.Stderr)
		}
		t.Fatalf("go %s: %v\n%s%s", strings.Join(args, " "), err, out, detail)
	}
	return string(out)
}

func decode(t *testing.T, text string, into any) {
	t.Helper()
	if err := json.Unmarshal([]byte(text), into); err != nil {
		t.Fatal(err)
	}
}

// TestClientInAnApp: an app that imports the client is asked for Go 1.25 and
// for the modules of nats.go, and for no others.
func TestClientInAnApp(t *testing.T) {
	t.Parallel()
	r := newRelease(t)
	app := newApp(t)
	r.run(t, app, "get", module+"/client@"+version)
	r.run(t, app, "mod", "tidy")
	r.run(t, app, "vet", "./...")
	r.run(t, app, "test", "./...")

	var mod struct{ Go string }
	decode(t, r.run(t, app, "mod", "edit", "-json"), &mod)
	if mod.Go != "1.25.0" {
		t.Errorf("the app's go.mod says go %s", mod.Go)
	}
	graph := graphOf(t, r, app)
	var nats string
	for m := range graph {
		if strings.HasPrefix(m, "github.com/nats-io/nats.go@") {
			nats = m
		}
	}
	expected := graphOf(t, r, natsApp(t, r, nats))
	for _, name := range []string{"client", "events", "internal/gate"} {
		expected[module+"/"+name+"@"+version] = true
	}
	for m := range graph {
		if !expected[m] {
			t.Errorf("the client brings %s", m)
		}
	}
	if !graph[module+"/client@"+version] {
		t.Errorf("the app's modules are %q", slices.Sorted(maps.Keys(graph)))
	}
}

// TestInstall: `go install` of a released version works, which it does for a
// module without replace directives only.
func TestInstall(t *testing.T) {
	t.Parallel()
	r := newRelease(t)
	bin := t.TempDir()
	r.env = append(r.env, "GOBIN="+bin)
	r.run(t, t.TempDir(), "install", module+"/cmd/tidegate@"+version)
	program := filepath.Join(bin, "tidegate")
	if runtime.GOOS == "windows" {
		program += ".exe"
	}
	out, err := exec.CommandContext(t.Context(), program, "--version").Output()
	if err != nil || !strings.Contains(string(out), version) {
		t.Errorf("the program says it is %s, %v", out, err)
	}
}

// newApp writes an app outside the repository: the example, and a test of the
// app that uses the client and its test helper.
func newApp(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	example, err := os.ReadFile(filepath.Join(root, "examples", "go-service", "main.go"))
	if err != nil {
		t.Fatal(err)
	}
	write(t, dir, map[string]string{
		"go.mod":      "module example.com/app\n\ngo 1.21\n",
		"go.sum":      sums(t),
		"main.go":     string(example),
		"app_test.go": appTest,
	})
	return dir
}

// natsApp writes an app that uses nats.go alone, in this version.
func natsApp(t *testing.T, r release, nats string) string {
	t.Helper()
	dir := t.TempDir()
	write(t, dir, map[string]string{
		"go.mod":  "module example.com/app\n\ngo 1.21\n",
		"go.sum":  sums(t),
		"main.go": "package main\n\nimport _ \"github.com/nats-io/nats.go/jetstream\"\n\nfunc main() {}\n",
	})
	r.run(t, dir, "get", nats)
	return dir
}

// graphOf returns the modules, each with its version, that the graph of the
// app in dir has besides the app.
func graphOf(t *testing.T, r release, dir string) map[string]bool {
	t.Helper()
	nodes := map[string]bool{}
	for edge := range strings.Lines(r.run(t, dir, "mod", "graph")) {
		_, required, _ := strings.Cut(strings.TrimSpace(edge), " ")
		if !strings.HasPrefix(required, "go@") && !strings.HasPrefix(required, "toolchain@") {
			nodes[required] = true
		}
	}
	return nodes
}

// sums returns the client's go.sum, so that an app does not trust a download
// that the client does not know.
func sums(t *testing.T) string {
	t.Helper()
	b, err := os.ReadFile(filepath.Join(root, "client", "go.sum"))
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

func write(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

const appTest = `package main

import (
	"testing"

	"github.com/tidegate-io/tidegate/client"
	"github.com/tidegate-io/tidegate/client/clienttest"
	"github.com/tidegate-io/tidegate/events"
)

func TestApp(t *testing.T) {
	s := clienttest.New(t, []events.Gate{clienttest.Gate("api", 1)})
	if d := s.Client.Check("acme", "api"); !d.Allowed {
		t.Errorf("decision %+v", d)
	}
	if err := s.Client.Record(t.Context(), client.Usage{Customer: "acme", Event: "api"}); err != nil {
		t.Error(err)
	}
	if d := s.Client.Check("acme", "api"); d.Allowed || d.Reason != events.LimitReached {
		t.Errorf("after the last use: decision %+v", d)
	}
	if err := s.Client.Close(t.Context()); err != nil {
		t.Error(err)
	}
}
`
