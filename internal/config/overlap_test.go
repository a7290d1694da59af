package config

import (
	"strings"
	"testing"
)

func TestOverlaps(t *testing.T) {
	for _, tt := range []struct {
		name, all, export string
		want              string
	}{
		{"a prefix and an exact path", "POST, endpoint: /api/*", "POST, endpoint: /api/export",
			`gates "export" (POST /api/export) and "all" (POST /api/*) overlap: where both fit, "export" alone decides and counts, as it is more specific`},
		{"equals", "POST, endpoint: /api/*", "POST, endpoint: /api/*",
			`gates "all" (POST /api/*) and "export" (POST /api/*) overlap: where both fit, "all" alone decides and counts, as both are equally specific, and it stands first`},
		{"none", "GET, endpoint: /api/*", "POST, endpoint: /api/export", ""},
	} {
		gate := func(feature, trigger string) string {
			return "  - {feature: " + feature + ", trigger: {method: " + trigger + "}, condition: {limit: {free: 1}, period: 1d}}\n"
		}
		c, err := Parse([]byte("plans: {free: {default: true}}\ngates:\n"+gate("all", tt.all)+gate("export", tt.export)), environment)
		if err != nil {
			t.Fatal(err)
		}
		if got := strings.Join(c.Overlaps(), "\n"); got != tt.want {
			t.Errorf("%s:\n got %s\nwant %s", tt.name, got, tt.want)
		}
	}
}
