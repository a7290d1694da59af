package buildinfo

import (
	"runtime/debug"
	"strings"
	"testing"
)

func TestRead(t *testing.T) {
	t.Parallel()
	vcs := func(revision, modified string) []debug.BuildSetting {
		return []debug.BuildSetting{{Key: "vcs.revision", Value: revision}, {Key: "vcs.modified", Value: modified}}
	}
	const revision = "0123456789abcdef0123456789abcdef01234567"
	for _, c := range []struct {
		name, linked, module string
		settings             []debug.BuildSetting
		want                 string
	}{
		{"linked, in a checkout", "v1.2.3", "(devel)", vcs(revision, "false"), "v1.2.3 (commit " + revision + ", go1.26.0)"},
		{"linked, edited", "v1.2.3-1-g0123", "v1.2.3+dirty", vcs(revision, "true"), "v1.2.3-1-g0123 (commit " + revision + "+dirty, go1.26.0)"},
		{"linked, without a checkout", "v1.2.3", "", nil, "v1.2.3 (commit unknown, go1.26.0)"},
		{"go build in a checkout", "", "v1.2.4-0.20260102030405-0123456789ab", vcs(revision, "false"),
			"v1.2.4-0.20260102030405-0123456789ab (commit " + revision + ", go1.26.0)"},
		{"go install of a tag", "", "v1.2.3", nil, "v1.2.3 (commit unknown, go1.26.0)"},
		{"go install of a commit", "", "v0.0.0-20260102030405-0123456789ab", nil, "v0.0.0-20260102030405-0123456789ab (commit 0123456789ab, go1.26.0)"},
		{"go run, and tests", "", "(devel)", nil, "dev (commit unknown, go1.26.0)"},
	} {
		b := &debug.BuildInfo{GoVersion: "go1.26.0", Main: debug.Module{Version: c.module}, Settings: c.settings}
		if got := read(c.linked, b).String(); got != c.want {
			t.Errorf("%s: %s, want %s", c.name, got, c.want)
		}
	}
	if got := read("", &debug.BuildInfo{}).String(); got != "dev (commit unknown, unknown)" {
		t.Errorf("nothing known: %s", got)
	}
	if got := Read("v9", "abc"); got.Version != "v9" || got.Commit != "abc" || !strings.HasPrefix(got.Go, "go") {
		t.Errorf("this binary: %+v", got)
	}
}
