package cli

import (
	"encoding/json"
	"strings"
	"testing"
)

func TestLicenses(t *testing.T) {
	code, stdout, stderr := command(t, "", "licenses")
	if code != exitOK || !strings.Contains(stdout, "github.com/nats-io/nats-server/v2") || !strings.Contains(stdout, "Apache License\n") {
		t.Errorf("exit %d: %.500s %s", code, stdout, stderr)
	}
	var printed struct {
		Modules []struct {
			Module, License string
			Texts           []string
		}
		Texts map[string]string
	}
	code, stdout, stderr = command(t, "", "licenses", "--output", "json")
	if err := json.Unmarshal([]byte(stdout), &printed); code != exitOK || err != nil || len(printed.Modules) < 20 {
		t.Fatalf("exit %d, %d modules, %v: %s", code, len(printed.Modules), err, stderr)
	}
	for _, m := range printed.Modules {
		if m.Module == "" || m.License == "" || len(m.Texts) == 0 || printed.Texts[m.Texts[0]] == "" {
			t.Errorf("%+v lacks something", m)
		}
	}
}
