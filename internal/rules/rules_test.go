// Package rules has the rules of the repository as tests: which package may import which,
// that packages have documentation, how long files may be, and what tests must not do.
package rules

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
)

const module = "github.com/tidegate-io/tidegate"

// root is the path of the repository from this package.
const root = "../.."

// maxLines is the maximum length of a file.
const maxLines = 450

// file is one parsed Go file.
type file struct {
	path    string // from the root, with slashes
	test    bool
	lines   int
	ast     *ast.File
	imports []string // paths
}

// files parses all Go files of the workspace, with any build tags.
func files(t *testing.T) map[string][]file {
	t.Helper()
	packages := map[string][]file{}
	modules := workspace(t).modules()
	err := filepath.WalkDir(root, func(p string, d fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		if d.IsDir() {
			return skip(modules, p, d.Name())
		}
		if filepath.Ext(p) != ".go" {
			return nil
		}
		f, err := parse(p)
		if err == nil {
			dir := path.Dir(f.path)
			packages[dir] = append(packages[dir], f)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if len(packages) < 10 {
		t.Fatalf("only %d packages were found: is %s the repository?", len(packages), root)
	}
	return packages
}

// skip returns filepath.SkipDir for a folder that is not part of a module of the
// workspace.
func skip(modules []string, dir, name string) error {
	if dir == root {
		return nil
	}
	if name == "testdata" || strings.HasPrefix(name, ".") || strings.HasPrefix(name, "_") {
		return filepath.SkipDir
	}
	rel, err := filepath.Rel(root, dir)
	if err != nil {
		return err
	}
	if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil && !slices.Contains(modules, filepath.ToSlash(rel)) {
		return filepath.SkipDir
	}
	return nil
}

func parse(p string) (file, error) {
	src, err := os.ReadFile(p)
	if err != nil {
		return file{}, err
	}
	tree, err := parser.ParseFile(token.NewFileSet(), p, src, parser.ParseComments|parser.SkipObjectResolution)
	if err != nil {
		return file{}, err
	}
	rel, err := filepath.Rel(root, p)
	if err != nil {
		return file{}, err
	}
	f := file{path: filepath.ToSlash(rel), test: strings.HasSuffix(p, "_test.go"), lines: strings.Count(string(src), "\n"), ast: tree}
	for _, i := range tree.Imports {
		name, err := strconv.Unquote(i.Path.Value)
		if err != nil {
			return file{}, err
		}
		f.imports = append(f.imports, name)
	}
	return f, nil
}

// allowed lists, for each package, the imports of its code (not of its tests) besides the
// standard library. A package of ours is meant exactly; another path includes the
// packages below it.
var allowed = map[string][]string{
	// The vocabulary and the arithmetic.
	"events":               {},
	"internal/gate":        {"events"},
	"internal/records":     {"events", "internal/gate", "internal/strict"},
	"internal/link":        {},
	"internal/strict":      {"events"},
	"internal/funnel":      {"internal/records"},
	"internal/fingerprint": {"github.com/cespare/xxhash/v2", "github.com/FastFilter/xorfilter"},
	"internal/wire":        {"events", "internal/records", "github.com/fxamacker/cbor/v2"},
	"internal/guard":       {},
	"internal/writeback":   {"internal/guard", "internal/store"},
	"internal/propose":     {"events", "internal/config", "internal/gate", "go.yaml.in/yaml/v3"},
	"internal/config":      {"internal/guard", "events", "internal/gate", "internal/watch", "go.yaml.in/yaml/v3"},
	"internal/watch":       {},
	"internal/environ":     {},
	"internal/misuse":      {},
	"internal/permissions": {"events"},
	"internal/buildinfo":   {},
	"internal/licenses":    {},
	"internal/httpserver":  {"internal/watch"},
	"internal/limit":       {},
	"internal/history":     {"events", "internal/strict", "internal/environ", "internal/misuse", "internal/store/mongo"},

	// The stream processor and its parts.
	"internal/stream":    {"events", "internal/guard", "internal/records", nats, "github.com/nats-io/nuid"},
	"internal/backup":    {"events", "internal/stream", nats},
	"internal/audit":     {"internal/guard", "events", "internal/config", "internal/records", nats, "github.com/nats-io/nuid"},
	"internal/questions": {"events", "internal/gate", "internal/records", "internal/stream"},
	"internal/stripe/fold": {"events", "internal/guard", "internal/records", "internal/stream", "internal/writeback", nats,
		"github.com/fxamacker/cbor/v2", "github.com/stripe/stripe-go/v76/webhook"},
	"internal/stripe/api": {"github.com/stripe/stripe-go/v76", "golang.org/x/time/rate"},
	"internal/stripe/refetch": {"events", "internal/guard", "internal/stripe/fold", "internal/stream", "internal/stripe/api", "internal/wire", nats,
		"github.com/VictoriaMetrics/metrics"},

	// The roles: never each other, never a store.
	"ingest": {"internal/guard", "events", "internal/audit", "internal/gate", "internal/limit", "internal/questions", "internal/strict", "internal/records", "internal/link", "internal/stream", "internal/stripe/fold", nats,
		"github.com/VictoriaMetrics/metrics"},
	"aggregator": {"events", "internal/gate", "internal/guard", "internal/questions", "internal/records", "internal/stream", "internal/fingerprint", "internal/wire", "internal/writeback", nats,
		"github.com/cespare/xxhash/v2"},
	"enforcer": {"events", "internal/gate", "internal/guard", "internal/questions", "internal/records", "internal/stream", "internal/wire", "internal/writeback", nats},
	"notifier": {"events", "internal/gate", "internal/guard", "internal/records", "internal/store", "internal/stream", "internal/link", "internal/wire",
		"github.com/resend/resend-go/v2", "github.com/wneessen/go-mail", "golang.org/x/time/rate"},

	// The stores: the vocabulary and their driver.
	"internal/store":       {"internal/records"},
	"internal/store/mongo": {"events", "internal/gate", "internal/guard", "internal/records", "internal/store", "go.mongodb.org/mongo-driver"},
	"internal/store/kv":    {"events", "internal/guard", "internal/records", "internal/store", nats},

	// What apps import.
	"client":                 {"events", "internal/gate", "client/internal/memory", nats},
	"client/internal/memory": {"events"},
	"client/clienttest":      {"events", "client", "client/internal/memory"},

	// Helpers of tests.
	"internal/test/wait":            {},
	"internal/test/freeport":        {},
	"internal/test/testcert":        {},
	"internal/test/sample":          {},
	"internal/test/kept":            {},
	"internal/test/testnats":        {"internal/test/freeport", nats, "github.com/nats-io/nats-server/v2", "go.uber.org/goleak"},
	"internal/test/testbuild":       {"github.com/gofrs/flock"},
	"internal/test/testprocess":     {"internal/test/testbuild", "internal/test/wait", nats, "go.uber.org/goleak"},
	"internal/test/e2e":             {},
	"internal/test/routers":         {},
	"internal/test/bench":           {},
	"internal/test/vectors":         {"events", "internal/gate"},
	"internal/test/testmongo":       {"internal/test/testbuild"},
	"internal/test/testmongo/serve": {"internal/test/testmongo"},
	"internal/test/teststripe":      {"internal/test/testbuild"},
	"internal/test/storetest":       {"events", "internal/gate", "internal/records", "internal/store", "pgregory.net/rapid"},
	"internal/test/chaos":           {"events", "client", "internal/test/freeport", "internal/test/testbuild", "internal/questions", "internal/records", "internal/stream", "internal/store/kv", nats, "go.mongodb.org/mongo-driver"},
	"internal/test/benchtable":      {},
	"internal/modules":              {},
	"internal/rules":                {},
	"deploy":                        {},
}

const nats = "github.com/nats-io/nats.go"

// free reports whether a package may import everything.
func free(dir string) bool {
	return dir == "internal/app" || dir == "internal/cli" || strings.HasPrefix(dir, "cmd/") || strings.HasPrefix(dir, "examples/")
}

func TestImports(t *testing.T) {
	packages := files(t)
	for dir, list := range packages {
		if free(dir) {
			continue
		}
		may, known := allowed[dir]
		if !known {
			t.Errorf("%s has no rule: say in allowed what it may import", dir)
			continue
		}
		used := map[string]bool{}
		for _, f := range list {
			if f.test {
				continue
			}
			for _, name := range f.imports {
				if standard(name) {
					continue
				}
				p := permission(may, name)
				used[p] = true
				if p == "" {
					t.Errorf("%s imports %s, which %s may not", f.path, strings.TrimPrefix(name, module+"/"), dir)
				}
			}
		}
		for _, p := range may {
			if !used[p] {
				t.Errorf("%s may import %s and does not: remove the permission", dir, p)
			}
		}
	}
	for dir := range allowed {
		if packages[dir] == nil {
			t.Errorf("%s has a rule and is not there", dir)
		}
	}
}

// standard reports whether a path belongs to the standard library.
func standard(name string) bool {
	first, _, _ := strings.Cut(name, "/")
	return !strings.Contains(first, ".")
}

// permission returns the entry of may that covers an import, or "".
func permission(may []string, name string) string {
	own, ours := strings.CutPrefix(name, module+"/")
	for _, m := range may {
		if ours && m == own || !ours && (name == m || strings.HasPrefix(name, m+"/")) {
			return m
		}
	}
	return ""
}

// TestImportsOfTests: a role's tests may not reach into another role either.
func TestImportsOfTests(t *testing.T) {
	roles := []string{"ingest", "aggregator", "enforcer", "notifier"}
	for dir, list := range files(t) {
		if !slices.Contains(roles, dir) {
			continue
		}
		for _, f := range list {
			for _, name := range f.imports {
				if own := strings.TrimPrefix(name, module+"/"); own != dir && slices.Contains(roles, own) {
					t.Errorf("%s imports the role %s", f.path, own)
				}
			}
		}
	}
}

func TestEveryPackageIsDocumented(t *testing.T) {
	for dir, list := range files(t) {
		if !slices.ContainsFunc(list, func(f file) bool {
			return f.ast.Doc != nil && len(strings.TrimSpace(f.ast.Doc.Text())) > 20
		}) {
			t.Errorf("%s has no package comment that says what it is for", dir)
		}
	}
}

func TestFileLength(t *testing.T) {
	for _, list := range files(t) {
		for _, f := range list {
			switch {
			case f.test:
			case f.lines > maxLines:
				t.Errorf("%s has %d lines, more than %d: split it", f.path, f.lines, maxLines)
			case f.lines > 300:
				t.Logf("%s has %d lines", f.path, f.lines)
			}
		}
	}
}

// TestTestsWaitForSignals: a test that sleeps is slow or flaky, and one that skips tests
// nothing.
func TestTestsWaitForSignals(t *testing.T) {
	forbidden := map[string]string{
		"time.Sleep": "wait for a signal instead",
		"t.Skip":     "a test that cannot run must fail", "t.Skipf": "a test that cannot run must fail", "t.SkipNow": "a test that cannot run must fail",
		"b.Skip": "a benchmark that cannot run must fail",
	}
	for _, list := range files(t) {
		for _, f := range list {
			if !f.test {
				continue
			}
			ast.Inspect(f.ast, func(n ast.Node) bool {
				call, ok := n.(*ast.CallExpr)
				if !ok {
					return true
				}
				if sel, ok := call.Fun.(*ast.SelectorExpr); ok {
					if x, ok := sel.X.(*ast.Ident); ok {
						name := x.Name + "." + sel.Sel.Name
						if name == "time.Sleep" && inBubble(f.ast, call) {
							return true // takes no time
						}
						if why := forbidden[name]; why != "" {
							t.Errorf("%s calls %s.%s: %s", f.path, x.Name, sel.Sel.Name, why)
						}
					}
				}
				return true
			})
		}
	}
}

// TestNothingLargeIsKept: a program that was built in the wrong place would stay in the
// history forever.
func TestNothingLargeIsKept(t *testing.T) {
	if _, err := os.Stat(filepath.Join(root, ".git")); err != nil {
		return // an unpacked archive has no history
	}
	list, err := exec.Command("git", "-C", root, "ls-files", "-z").Output()
	if err != nil {
		t.Fatal(err)
	}
	const most = 512 << 10
	for name := range strings.SplitSeq(strings.TrimSuffix(string(list), "\x00"), "\x00") {
		if st, err := os.Stat(filepath.Join(root, name)); err == nil && st.Size() > most {
			t.Errorf("%s has %d bytes, more than %d", name, st.Size(), most)
		}
	}
}

// inBubble reports whether a call stands inside a call of synctest.Test, whose clock moves
// on by itself.
func inBubble(f *ast.File, call *ast.CallExpr) (found bool) {
	ast.Inspect(f, func(n ast.Node) bool {
		bubble, ok := n.(*ast.CallExpr)
		if !ok {
			return true
		}
		sel, ok := bubble.Fun.(*ast.SelectorExpr)
		if !ok {
			return true
		}
		x, ok := sel.X.(*ast.Ident)
		found = found || ok && x.Name == "synctest" && sel.Sel.Name == "Test" && bubble.Pos() <= call.Pos() && call.End() <= bubble.End()
		return true
	})
	return found
}
