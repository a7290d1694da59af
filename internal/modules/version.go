package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"strings"
)

// workspace is what go.work says.
type workspace struct {
	nested  []string // directories of the nested modules, from the root
	version string   // that the go.mod files name of them
}

// workspace reads go.work.
func (r repository) workspace(ctx context.Context) (w workspace, err error) {
	out, err := r.command(ctx, "go", "work", "edit", "-json", "go.work")
	if err != nil {
		return w, err
	}
	var file struct {
		Use     []struct{ DiskPath string }
		Replace []struct{ Old struct{ Version string } }
	}
	if err := json.Unmarshal([]byte(out), &file); err != nil {
		return w, err
	}
	for _, u := range file.Use {
		if dir := path.Clean(u.DiskPath); dir != "." {
			w.nested = append(w.nested, dir)
		}
	}
	if len(w.nested) == 0 || len(file.Replace) == 0 {
		return w, errors.New("go.work: no nested module or no version of it")
	}
	w.version = file.Replace[0].Old.Version
	return w, nil
}

// named returns the text of a go.mod or of go.work with another version of the
// nested modules.
func (w workspace) named(text, version string) string {
	for _, dir := range w.nested {
		old := module + "/" + dir + " " + w.version
		for _, end := range []string{"\n", " "} {
			text = strings.ReplaceAll(text, old+end, module+"/"+dir+" "+version+end)
		}
	}
	return text
}

// versions are those that the paths of the modules allow.
var versions = regexp.MustCompile(`^v[01]\.\d+\.\d+(-[0-9A-Za-z.-]+)?$`)

// setVersion names another version of the nested modules in all files.
func (r repository) setVersion(ctx context.Context, version string) error {
	if !versions.MatchString(version) {
		return fmt.Errorf("%q is not a version such as v0.2.0; v2 would need other module paths", version)
	}
	w, err := r.workspace(ctx)
	if err != nil {
		return err
	}
	files := []string{"go.work", "go.mod"}
	for _, dir := range w.nested {
		files = append(files, dir+"/go.mod")
	}
	for _, name := range files {
		name = filepath.Join(r.dir, filepath.FromSlash(name))
		old, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		if err := os.WriteFile(name, []byte(w.named(string(old), version)), 0o644); err != nil { //nolint:gosec // as git makes them
			return err
		}
	}
	return nil
}

// tidy does `go mod tidy` for the root module. The go command itself would ask
// for the nested modules where modules are published; here they are the
// working tree.
func (r repository) tidy(ctx context.Context) (err error) {
	w, err := r.workspace(ctx)
	if err != nil {
		return err
	}
	const mod, sum = "tidy.mod", "tidy.sum"
	defer func() {
		for _, name := range []string{mod, sum} {
			if e := os.Remove(filepath.Join(r.dir, name)); e != nil && !errors.Is(e, os.ErrNotExist) {
				err = errors.Join(err, e)
			}
		}
	}()
	replace, drop := []string{"mod", "edit"}, []string{"mod", "edit"}
	for _, dir := range w.nested {
		at := module + "/" + dir + "@" + w.version
		replace, drop = append(replace, "-replace", at+"=./"+dir), append(drop, "-dropreplace", at)
	}
	for to, from := range map[string]string{mod: "go.mod", sum: "go.sum"} {
		if err := r.copy(from, to); err != nil {
			return err
		}
	}
	r.env = append(r.env, "GOWORK=off")
	for _, args := range [][]string{append(replace, mod), {"mod", "tidy", "-modfile", mod}, append(drop, mod)} {
		if _, err := r.command(ctx, "go", args...); err != nil {
			return err
		}
	}
	return errors.Join(r.copy(mod, "go.mod"), r.copy(sum, "go.sum"))
}

func (r repository) copy(from, to string) error {
	b, err := os.ReadFile(filepath.Join(r.dir, from))
	if err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(r.dir, to), b, 0o644) //nolint:gosec // as git makes them
}
