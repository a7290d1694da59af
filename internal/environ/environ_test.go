package environ

import (
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

func TestLookup(t *testing.T) {
	file := filepath.Join(t.TempDir(), "secret")
	if err := os.WriteFile(file, []byte(" from a file\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	if v, err := Lookup("TIDEGATE_X"); v != "" || err != nil {
		t.Errorf("not set: %q, %v", v, err)
	}
	t.Setenv("TIDEGATE_X_FILE", file)
	if v, err := Lookup("TIDEGATE_X"); v != "from a file" || err != nil {
		t.Errorf("in a file: %q, %v", v, err)
	}
	t.Setenv("TIDEGATE_X", "set")
	if v, err := Lookup("TIDEGATE_X"); v != "set" || err != nil {
		t.Errorf("set, too: %q, %v", v, err)
	}
	t.Setenv("TIDEGATE_Y_FILE", file+".none")
	if _, err := Lookup("TIDEGATE_Y"); err == nil || !strings.HasPrefix(err.Error(), "TIDEGATE_Y_FILE: ") {
		t.Errorf("no such file: %v", err)
	}
}

func TestList(t *testing.T) {
	if got := List(" a,, b ,"); !slices.Equal(got, []string{"a", "b"}) {
		t.Errorf("%q", got)
	}
}

func TestAddress(t *testing.T) {
	for in, want := range map[string]string{
		"":                          "",
		"nats://a:4222,b:4222":      "nats://a:4222,b:4222",
		"u:PW@127.0.0.1:1":          "…@127.0.0.1:1",
		"TOKEN@host:1":              "…@host:1",
		"u:PW@a:1,nats://b:1":       "…@a:1,nats://b:1",
		"u:PW@a:1,nats://v:PW@b:1":  "…@b:1",
		"nats:u:PW@h":               "…@h",
		"nats://u:PW x@h":           "nats://…@h",
		"nats://u:PW/x@h":           "nats://…@h",
		"tls://u:P@W,x@h:1":         "tls://…@h:1",
		"PW://x@h":                  "…@h",
		"mongodb+srv://u:PW@h/?a=b": "mongodb+srv://…@h/?a=b",
	} {
		if got := Address(in); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}

func TestRedact(t *testing.T) {
	for in, want := range map[string]string{
		"dial nats://ada:pw@a:4222: refused":         "dial nats://…@a:4222: refused",
		`parse "nats://token@a:x": invalid port`:     `parse "nats://…@a:x": invalid port`,
		"mongodb://u:p/w@a,b/?x=1 is wrong":          "mongodb://…@a,b/?x=1 is wrong",
		"nats://u:p@w@a:1,tls://u:p@b:1":             "nats://…@b:1",
		"https://acme.example/pricing for ada@b.c":   "https://acme.example/pricing for ada@b.c",
		"nothing to hide: a@b.c, nats://a:4222, ://": "nothing to hide: a@b.c, nats://a:4222, ://",
	} {
		if got := Redact(in); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}
