package main

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// newRepository makes a repository with a root module and two nested ones.
func newRepository(t *testing.T) repository {
	t.Helper()
	r := repository{dir: t.TempDir(), env: []string{"GIT_CONFIG_GLOBAL=" + os.DevNull, "GIT_CONFIG_NOSYSTEM=1", "GOFLAGS=", "GOWORK="}}
	for name, content := range map[string]string{
		"go.work": "go 1.26.0\n\nuse (\n\t.\n\t./client\n\t./events\n)\n\nreplace (\n\t" +
			module + "/client v0.1.0 => ./client\n\t" + module + "/events v0.1.0 => ./events\n)\n",
		"go.mod":                    "module " + module + "\n\ngo 1.26.0\n\nrequire " + module + "/client v0.1.0\n\nrequire " + module + "/events v0.1.0 // indirect\n",
		"go.sum":                    "",
		"main.go":                   "package main\n\nimport _ \"" + module + "/client\"\n\nfunc main() {}\n",
		"main_test.go":              "package main\n",
		"client/go.mod":             "module " + module + "/client\n\ngo 1.25.0\n\nrequire " + module + "/events v0.1.0\n",
		"client/client.go":          "package client\n\nimport _ \"" + module + "/events\"\n",
		"client/client_test.go":     "package client\n",
		"client/example_test.go":    "package client_test\n\nimport (\n\t_ \"fmt\"\n\t_ \"" + module + "/events\"\n)\n",
		"client/example_b_test.go":  "package client_test\n\nimport _ \"" + module + "/internal/app\"\n",
		"client/deep/deep.go":       "package deep\n",
		"client/deep/deep_test.go":  "package deep\n",
		"events/go.mod":             "module " + module + "/events\n\ngo 1.25.0\n",
		"events/events.go":          "package events\n",
		"events/property_test.go":   "package events\n",
		"events/testdata/some.json": "{}\n",
	} {
		name = filepath.Join(r.dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(name, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	r.must(t, "git", "init", "--quiet", "--initial-branch", "main")
	r.must(t, "git", "config", "user.name", "A")
	r.must(t, "git", "config", "user.email", "a@example.com")
	r.commit(t)
	return r
}

func (r repository) must(t *testing.T, name string, args ...string) string {
	t.Helper()
	out, err := r.command(t.Context(), name, args...)
	if err != nil {
		t.Fatal(err)
	}
	return out
}

func (r repository) commit(t *testing.T) {
	t.Helper()
	r.must(t, "git", "add", "--all")
	r.must(t, "git", "commit", "--quiet", "--message", "Change something")
}

func TestTagsOfARelease(t *testing.T) {
	t.Parallel()
	r := newRepository(t)
	if err := r.setVersion(t.Context(), "v0.2.0"); err != nil {
		t.Fatal(err)
	}
	if _, err := r.tag(t.Context()); err == nil || !strings.Contains(err.Error(), "go.work") {
		t.Errorf("a tag of what is not committed: %v", err)
	}
	r.commit(t)
	tags, err := r.tag(t.Context())
	if err != nil || !slices.Equal(tags, []string{"client/v0.2.0", "events/v0.2.0", "v0.2.0"}) {
		t.Fatalf("tags %q, %v", tags, err)
	}
	if head := r.must(t, "git", "rev-parse", "HEAD"); r.must(t, "git", "rev-parse", "v0.2.0^{}") != head || r.must(t, "git", "rev-parse", "client/v0.2.0~1") != head {
		t.Error("the root is not tagged where it is, or the modules not on top of it")
	}
	removed := strings.Fields(r.must(t, "git", "diff", "--name-status", "v0.2.0", "client/v0.2.0"))
	if want := []string{"D", "client/client_test.go", "D", "client/deep/deep_test.go", "D", "client/example_b_test.go", "D", "events/property_test.go"}; !slices.Equal(removed, want) {
		t.Errorf("left out are %q", removed)
	}
	if changed := r.must(t, "git", "status", "--porcelain"); changed != "" {
		t.Errorf("the working tree was changed: %s", changed)
	}
	if _, err := r.tag(t.Context()); err == nil || !strings.Contains(err.Error(), "v0.2.0 is there") {
		t.Errorf("the same tag twice: %v", err)
	}
}

func TestVersions(t *testing.T) {
	t.Parallel()
	r := newRepository(t)
	for _, version := range []string{"", "1.2.3", "v1.2", "v2.0.0", "v1.2.3 ", "v1.2.3+x"} {
		if err := r.setVersion(t.Context(), version); err == nil {
			t.Errorf("%q was taken", version)
		}
	}
	if err := r.setVersion(t.Context(), "v1.0.0-rc.1"); err != nil {
		t.Fatal(err)
	}
	w, err := r.workspace(t.Context())
	if err != nil || w.version != "v1.0.0-rc.1" || !slices.Equal(w.nested, []string{"client", "events"}) {
		t.Errorf("go.work says %+v, %v", w, err)
	}
	if left := r.must(t, "git", "grep", "--count", "v1.0.0-rc.1"); left != "client/go.mod:1\ngo.mod:2\ngo.work:2\n" {
		t.Errorf("the version is named in\n%s", left)
	}
	r.must(t, "go", "build", "-o", os.DevNull, "./...")
}

// TestTidy: the version of the nested modules is published nowhere.
func TestTidy(t *testing.T) {
	t.Parallel()
	r := newRepository(t)
	if err := os.WriteFile(filepath.Join(r.dir, "main.go"), []byte("package main\n\nimport _ \""+module+"/events\"\n\nfunc main() {}\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := r.tidy(t.Context()); err != nil {
		t.Fatal(err)
	}
	if changed := r.must(t, "git", "status", "--porcelain"); changed != " M go.mod\n M main.go\n" {
		t.Errorf("changed is %s", changed)
	}
	mod, err := os.ReadFile(filepath.Join(r.dir, "go.mod"))
	if err != nil {
		t.Fatal(err)
	}
	if want := "module " + module + "\n\ngo 1.26.0\n\nrequire " + module + "/events v0.1.0\n"; string(mod) != want {
		t.Errorf("go.mod is\n%s", mod)
	}
}
