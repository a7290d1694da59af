package licenses

import (
	"bytes"
	"flag"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write modules.txt and texts")

// TestLinkedModules: the committed licences are those of the modules that are linked
// into the program on the platforms of a release, and each is one that may be shipped.
func TestLinkedModules(t *testing.T) {
	t.Parallel()
	c := collect(t)
	if t.Failed() {
		return
	}
	if *update {
		write(t, c)
	}
	committed, err := files.ReadFile("modules.txt")
	if *update {
		committed, err = os.ReadFile("modules.txt")
	}
	if err != nil {
		t.Fatal(err)
	}
	if got := string(committed); got != c.list {
		t.Errorf("modules.txt differs from what is linked: run `go test ./internal/licenses -update`\n--- committed\n%s--- linked\n%s", got, c.list)
	}
	names, err := filepath.Glob("texts/*")
	if err != nil {
		t.Fatal(err)
	}
	for i, name := range names {
		names[i] = filepath.Base(name)
		b, err := os.ReadFile(name)
		if err != nil || string(b) != c.texts[names[i]] {
			t.Errorf("%s is no text of a linked module, or was edited: %v", name, err)
		}
	}
	if want := slices.Sorted(maps.Keys(c.texts)); !slices.Equal(names, want) {
		t.Errorf("the texts are %q, want %q", names, want)
	}
}

func write(t *testing.T, c collected) {
	t.Helper()
	if err := os.RemoveAll("texts"); err != nil {
		t.Fatal(err)
	}
	if err := os.Mkdir("texts", 0o755); err != nil {
		t.Fatal(err)
	}
	for name, text := range c.texts {
		if err := os.WriteFile(filepath.Join("texts", name), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile("modules.txt", []byte(c.list), 0o644); err != nil {
		t.Fatal(err)
	}
}

func TestPrint(t *testing.T) {
	t.Parallel()
	list, err := Modules()
	if err != nil || len(list) < 20 {
		t.Fatalf("%d modules, %v", len(list), err)
	}
	var b bytes.Buffer
	if err := Print(&b, list); err != nil {
		t.Fatal(err)
	}
	printed, all := b.String(), map[string]int{}
	for _, m := range list {
		for _, name := range m.Texts {
			text, err := Text(name)
			if err != nil || !strings.Contains(printed, text) {
				t.Errorf("%s of %s is not printed: %v", name, m.Name, err)
			}
			all[name] = len(text)
		}
		if strings.Count(printed, m.Name+"\n") < len(m.Texts) {
			t.Errorf("%s is not named above its texts", m.Name)
		}
	}
	once := 0
	for _, n := range all {
		once += n
	}
	if rest := len(printed) - once; rest > 250*(len(list)+len(all)) {
		t.Errorf("%d bytes besides the texts: is one printed twice?", rest)
	}
}

// thirdParty are words that scripts and styles of others bring along.
var thirdParty = []string{"copyright", "license", "@preserve", "sourcemappingurl"}

// TestPageIsOurs: what the program serves to browsers is all written here, so it needs
// no licence of others.
func TestPageIsOurs(t *testing.T) {
	t.Parallel()
	seen := 0
	err := filepath.WalkDir(filepath.Join(root, "ingest", "page"), func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		seen++
		b, err := os.ReadFile(p)
		for _, word := range thirdParty {
			if strings.Contains(strings.ToLower(string(b)), word) {
				t.Errorf("%s has the word %q: name its licence in this package if it is not ours", p, word)
			}
		}
		if strings.HasSuffix(p, ".min.js") || strings.Contains(string(b), "src=\"http") {
			t.Errorf("%s looks like code of others", p)
		}
		return err
	})
	if err != nil || seen == 0 {
		t.Errorf("%d files, %v", seen, err)
	}
}
