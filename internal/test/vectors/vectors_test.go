package main

import (
	"bytes"
	"encoding/json"
	"flag"
	"os"
	"path/filepath"
	"testing"
)

const folder = "../../../docs/vectors"

var update = flag.Bool("update", false, "write docs/vectors anew")

// TestVectors checks that the committed tables have the functions' current results. A
// change of a table changes what all clients do.
func TestVectors(t *testing.T) {
	for name, kind := range kinds {
		want := encode(t, table{kind.about, append(kind.byHand(), draw(name, kind.random, 1)...)})
		file := filepath.Join(folder, name+".json")
		if *update {
			if err := os.WriteFile(file, want, 0o644); err != nil {
				t.Fatal(err)
			}
		}
		got, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(got, want) {
			t.Errorf("%s differs from what the functions say now: if that is meant, run go test ./internal/test/vectors -update", file)
		}
	}
}

// encode writes one case per line, so that changes are readable.
func encode(t *testing.T, all table) []byte {
	t.Helper()
	var b bytes.Buffer
	line := func(v any, end string) {
		e := json.NewEncoder(&b)
		e.SetEscapeHTML(false)
		if err := e.Encode(v); err != nil {
			t.Fatal(err)
		}
		b.Truncate(b.Len() - 1)
		b.WriteString(end)
	}
	b.WriteString(`{"about": `)
	line(all.About, ",\n \"cases\": [\n")
	for i, c := range all.Cases {
		end := ",\n"
		if i == len(all.Cases)-1 {
			end = "\n]}\n"
		}
		line(c, end)
	}
	return b.Bytes()
}

// TestDrawingRepeats: equal seeds give equal cases.
func TestDrawingRepeats(t *testing.T) {
	for name := range kinds {
		a, b := encode(t, table{"", draw(name, 20, 7)}), encode(t, table{"", draw(name, 20, 7)})
		if c := encode(t, table{"", draw(name, 20, 8)}); !bytes.Equal(a, b) || bytes.Equal(a, c) {
			t.Errorf("%s: cases do not follow from the seed", name)
		}
	}
}
