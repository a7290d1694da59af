package main

import (
	"archive/zip"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
)

// proxy writes what a module proxy would serve if the working tree were
// released: the root module and the nested ones, as files that a file:// URL
// in GOPROXY can name.
type proxy struct {
	repository
	workspace
	dir string // where it is written
	as  string // the version
}

// write writes the files of every module.
func (p proxy) write(ctx context.Context) error {
	for _, dir := range append([]string{""}, p.workspace.nested...) {
		mod, err := os.ReadFile(filepath.Join(p.repository.dir, dir, "go.mod"))
		if err != nil {
			return err
		}
		ships := func(string) (bool, error) { return true, nil }
		if dir != "" {
			m, err := p.repository.nested(ctx, dir)
			if err != nil {
				return err
			}
			ships = m.ships
		}
		if err := p.module(dir, p.named(string(mod), p.as), ships); err != nil {
			return fmt.Errorf("module in %q: %w", dir, err)
		}
	}
	return nil
}

// module writes the files of the module in dir.
func (p proxy) module(dir, mod string, ships func(string) (bool, error)) error {
	at := filepath.Join(p.dir, filepath.FromSlash(path.Join(module, dir)), "@v")
	if err := os.MkdirAll(at, 0o755); err != nil {
		return err
	}
	for name, content := range map[string]string{
		"list":         p.as + "\n",
		p.as + ".info": fmt.Sprintf(`{"Version": %q, "Time": "2026-01-02T03:04:05Z"}`, p.as),
		p.as + ".mod":  mod,
	} {
		if err := os.WriteFile(filepath.Join(at, name), []byte(content), 0o600); err != nil {
			return err
		}
	}
	f, err := os.Create(filepath.Join(at, p.as+".zip"))
	if err != nil {
		return err
	}
	z := zip.NewWriter(f)
	err = pack(z, path.Join(module, dir)+"@"+p.as, filepath.Join(p.repository.dir, dir), mod, ships)
	return errors.Join(err, z.Close(), f.Close())
}

// pack puts the files of the module in dir that ship into z. Another module
// below dir is not part of it, nor is what git ignores.
func pack(z *zip.Writer, prefix, dir, mod string, ships func(string) (bool, error)) error {
	return filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, name)
		if err != nil {
			return err
		}
		if d.IsDir() {
			_, err := os.Stat(filepath.Join(name, "go.mod"))
			if rel != "." && (err == nil || strings.HasPrefix(d.Name(), ".") || rel == "bin" || d.Name() == "node_modules") {
				return filepath.SkipDir
			}
			return nil
		}
		if yes, err := ships(name); err != nil || !yes || !d.Type().IsRegular() {
			return err
		}
		content, err := os.ReadFile(name)
		if err != nil {
			return err
		}
		if rel == "go.mod" {
			content = []byte(mod)
		}
		w, err := z.Create(prefix + "/" + filepath.ToSlash(rel))
		if err == nil {
			_, err = w.Write(content)
		}
		return err
	})
}
