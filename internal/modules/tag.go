package main

import (
	"context"
	"encoding/json"
	"fmt"
	"go/parser"
	"go/token"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
)

// tag tags the last commit as the release of the version that its files name,
// and as that of the nested modules a commit on top of it, on no branch, that
// lacks their tests. It returns the tags.
func (r repository) tag(ctx context.Context) (tags []string, err error) {
	if changed, err := r.command(ctx, "git", "status", "--porcelain"); err != nil {
		return nil, err
	} else if changed != "" {
		return nil, fmt.Errorf("the working tree has what the release would not have:\n%s", changed)
	}
	w, err := r.workspace(ctx)
	if err != nil {
		return nil, err
	}
	without, err := r.withoutTests(ctx, w)
	if err != nil {
		return nil, err
	}
	commits := map[string]string{w.version: "HEAD"}
	for _, dir := range w.nested {
		commits[dir+"/"+w.version] = without
	}
	for name := range commits {
		tags = append(tags, name)
	}
	slices.Sort(tags)
	for _, name := range tags {
		if found, err := r.command(ctx, "git", "tag", "--list", name); err != nil {
			return nil, err
		} else if found != "" {
			return nil, fmt.Errorf("the tag %s is there: set another version", name)
		}
	}
	for _, name := range tags {
		if _, err := r.command(ctx, "git", "tag", "--annotate", "--message", "Tidegate "+name, name, commits[name]); err != nil {
			return nil, err
		}
	}
	return tags, nil
}

// withoutTests makes a commit on top of the last one and returns its name.
func (r repository) withoutTests(ctx context.Context, w workspace) (commit string, err error) {
	index, err := os.MkdirTemp("", "tidegate-index")
	if err != nil {
		return "", err
	}
	defer func() { _ = os.RemoveAll(index) }()
	r.env = append(slices.Clone(r.env), "GIT_INDEX_FILE="+filepath.Join(index, "index"))
	if _, err := r.command(ctx, "git", "read-tree", "HEAD"); err != nil {
		return "", err
	}
	for _, dir := range w.nested {
		m, err := r.nested(ctx, dir)
		if err != nil {
			return "", err
		}
		list, err := r.command(ctx, "git", "ls-files", "-z", "--", dir)
		if err != nil {
			return "", err
		}
		remove := []string{"rm", "--cached", "--quiet", "--"}
		for name := range strings.SplitSeq(strings.TrimSuffix(list, "\x00"), "\x00") {
			if ships, err := m.ships(filepath.Join(r.dir, filepath.FromSlash(name))); err != nil {
				return "", err
			} else if !ships {
				remove = append(remove, name)
			}
		}
		if len(remove) > 4 {
			if _, err := r.command(ctx, "git", remove...); err != nil {
				return "", err
			}
		}
	}
	tree, err := r.command(ctx, "git", "write-tree")
	if err != nil {
		return "", err
	}
	commit, err = r.command(ctx, "git", "commit-tree", strings.TrimSpace(tree), "-p", "HEAD", "-m", "Leave out the tests of the modules that apps import",
		"-m", "`go mod tidy` in an app looks at the tests of what the app imports; these need the server.")
	return strings.TrimSpace(commit), err
}

// nestedModule is a module that apps import.
type nestedModule struct {
	path     string
	requires []string // paths of modules
}

// nested reads the go.mod in dir.
func (r repository) nested(ctx context.Context, dir string) (m nestedModule, err error) {
	out, err := r.command(ctx, "go", "mod", "edit", "-json", dir+"/go.mod")
	if err != nil {
		return m, err
	}
	var file struct {
		Module  struct{ Path string }
		Require []struct{ Path string }
	}
	if err := json.Unmarshal([]byte(out), &file); err != nil {
		return m, err
	}
	m.path = file.Module.Path
	for _, req := range file.Require {
		m.requires = append(m.requires, req.Path)
	}
	return m, nil
}

// ships reports whether a file of the module is part of its release: all but
// tests. An example is a test that readers look for, and ships if it imports
// nothing but what the module requires.
func (m nestedModule) ships(name string) (bool, error) {
	base := path.Base(filepath.ToSlash(name))
	if !strings.HasSuffix(base, "_test.go") {
		return true, nil
	}
	if !strings.HasPrefix(base, "example") {
		return false, nil
	}
	f, err := parser.ParseFile(token.NewFileSet(), name, nil, parser.ImportsOnly)
	if err != nil {
		return false, err
	}
	for _, i := range f.Imports {
		imported, err := strconv.Unquote(i.Path.Value)
		if err != nil {
			return false, err
		}
		if !m.knows(imported) {
			return false, nil
		}
	}
	return true, nil
}

// knows reports whether an import is of the standard library, of the module or
// of one that it requires.
func (m nestedModule) knows(imported string) bool {
	if first, _, _ := strings.Cut(imported, "/"); !strings.Contains(first, ".") {
		return true
	}
	return slices.ContainsFunc(append([]string{m.path}, m.requires...), func(p string) bool {
		return imported == p || strings.HasPrefix(imported, p+"/")
	})
}
