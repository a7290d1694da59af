package rules

import (
	"encoding/json"
	"errors"
	"io/fs"
	"maps"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// newestGo is the newest version of Go that nested modules may require. It is one behind
// the newest, because Go supports two versions.
const newestGo = "1.25.0"

// clientNeeds lists all modules that the client may add to an app's module graph.
var clientNeeds = []string{nats, module + "/events", module + "/internal/gate"}

// modFile has the checked parts of a go.mod.
type modFile struct {
	Module  struct{ Path string }
	Go      string
	Require []struct {
		Path, Version string
		Indirect      bool
	}
	Replace []any
}

// workFile has the checked parts of go.work.
type workFile struct {
	Use     []struct{ DiskPath string }
	Replace []struct {
		Old, New struct{ Path, Version string }
	}
}

// workspace reads go.work.
func workspace(t *testing.T) (w workFile) {
	t.Helper()
	edited(t, &w, "work", "edit", "-json", filepath.Join(root, "go.work"))
	return w
}

// modules returns the directories of the nested modules, from the root.
func (w workFile) modules() (dirs []string) {
	for _, u := range w.Use {
		if dir := path.Clean(u.DiskPath); dir != "." {
			dirs = append(dirs, dir)
		}
	}
	return dirs
}

func readMod(t *testing.T, dir string) (m modFile) {
	t.Helper()
	edited(t, &m, "mod", "edit", "-json", filepath.Join(root, dir, "go.mod"))
	return m
}

func edited(t *testing.T, into any, args ...string) {
	t.Helper()
	out, err := exec.Command("go", args...).Output()
	if err == nil {
		err = json.Unmarshal(out, into)
	}
	if err != nil {
		t.Fatalf("go %s: %v", strings.Join(args, " "), err)
	}
}

// TestModules checks that a nested module requires exactly the modules that its code
// imports. In the workspace the go command does not notice a missing requirement.
func TestModules(t *testing.T) {
	packages := files(t)
	nested := workspace(t).modules()
	if len(nested) == 0 {
		t.Fatal("go.work names no nested module")
	}
	for _, dir := range nested {
		m := readMod(t, dir)
		if m.Module.Path != module+"/"+dir {
			t.Errorf("%s/go.mod is of %s", dir, m.Module.Path)
		}
		if m.Go != newestGo {
			t.Errorf("%s/go.mod says go %s, not %s: apps import it", dir, m.Go, newestGo)
		}
		if len(m.Replace) > 0 {
			t.Errorf("%s/go.mod has a replace directive, which counts for nobody else", dir)
		}
		var required []string
		for _, r := range m.Require {
			if !r.Indirect {
				required = append(required, r.Path)
			}
		}
		slices.Sort(required)
		if imported := requirements(packages, nested, dir); !slices.Equal(required, imported) {
			t.Errorf("%s/go.mod requires %q, its code imports %q", dir, required, imported)
		}
		for _, r := range required {
			if !slices.Contains(clientNeeds, r) {
				t.Errorf("%s/go.mod requires %s, which each app would get with the client", dir, r)
			}
		}
	}
	if m := readMod(t, "."); len(m.Replace) > 0 {
		t.Error("go.mod has a replace directive: `go install …@version` refuses it")
	}
}

// requirements returns the modules that the code of the module in dir imports,
// sorted. Foreign modules are nats.go or are named by their package.
func requirements(packages map[string][]file, nested []string, dir string) []string {
	found := map[string]bool{}
	for pkg, list := range packages {
		if moduleOf(nested, pkg) != dir {
			continue
		}
		for _, f := range list {
			for _, name := range f.imports {
				own, ours := strings.CutPrefix(name, module+"/")
				switch {
				case f.test || standard(name):
				case !ours && (name == nats || strings.HasPrefix(name, nats+"/")):
					found[nats] = true
				case !ours:
					found[name] = true
				case moduleOf(nested, own) == "":
					found[module] = true // the server's
				case moduleOf(nested, own) != dir:
					found[module+"/"+moduleOf(nested, own)] = true
				}
			}
		}
	}
	return slices.Sorted(maps.Keys(found))
}

// moduleOf returns the nested module that a package belongs to, or "".
func moduleOf(nested []string, pkg string) string {
	for _, dir := range nested {
		if pkg == dir || strings.HasPrefix(pkg, dir+"/") {
			return dir
		}
	}
	return ""
}

// TestVersionsOfModules: all files name the same version of the nested
// modules, and go.work puts the working tree in its place.
func TestVersionsOfModules(t *testing.T) {
	work := workspace(t)
	versions := map[string]bool{}
	for _, dir := range work.modules() {
		replaced := false
		for _, r := range work.Replace {
			if r.Old.Path == module+"/"+dir && r.New.Path == "./"+dir {
				replaced, versions[r.Old.Version] = true, true
			}
		}
		if !replaced {
			t.Errorf("go.work replaces no version of %s/%s by ./%s", module, dir, dir)
		}
	}
	for _, dir := range append(work.modules(), ".") {
		for _, r := range readMod(t, dir).Require {
			if strings.HasPrefix(r.Path, module+"/") {
				versions[r.Version] = true
			}
		}
	}
	if len(versions) != 1 {
		t.Errorf("go.work and the go.mod files name the versions %q: run .ci/module-versions", slices.Sorted(maps.Keys(versions)))
	}
}

// TestDockerfileHasModules: the image downloads modules before it has the
// sources, so each go.mod of the workspace must be copied first.
func TestDockerfileHasModules(t *testing.T) {
	b, err := os.ReadFile(filepath.Join(root, "deploy", "Dockerfile"))
	if err != nil {
		t.Fatal(err)
	}
	before, _, found := strings.Cut(string(b), "go mod download")
	if !found {
		t.Fatal("deploy/Dockerfile downloads no modules")
	}
	for _, dir := range workspace(t).modules() {
		for _, name := range []string{"go.mod", "go.sum"} {
			p := path.Join(dir, name)
			if _, err := os.Stat(filepath.Join(root, p)); errors.Is(err, fs.ErrNotExist) {
				continue
			}
			if !strings.Contains(before, p) {
				t.Errorf("deploy/Dockerfile does not copy %s before it downloads modules", p)
			}
		}
	}
}
