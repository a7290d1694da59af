// Package buildinfo says which Tidegate this is: by what the linker was told,
// else by what the Go toolchain wrote into the binary.
package buildinfo

import (
	"fmt"
	"regexp"
	"runtime/debug"
)

// Unknown stands for what nobody has said.
const Unknown = "unknown"

// Info is the version of a binary.
type Info struct {
	Version string // such as v1.2.3; Unknown, or "dev" for a build that has none
	Commit  string // of the source; ends in "+dirty" if it was edited
	Go      string // version of the toolchain
}

// Read returns the version of this binary. version and commit are what the linker
// set; what is "" is read from the binary.
func Read(version, commit string) Info {
	b, ok := debug.ReadBuildInfo()
	if !ok {
		b = &debug.BuildInfo{}
	}
	i := read(version, b)
	if commit != "" {
		i.Commit = commit
	}
	return i
}

// pseudo is a version that Go makes of a commit that has no tag; it ends with
// the beginning of the commit's name.
var pseudo = regexp.MustCompile(`[.-]\d{14}-([0-9a-f]{12})(\+.*)?$`)

func read(version string, b *debug.BuildInfo) Info {
	i := Info{Version: version, Commit: Unknown, Go: b.GoVersion}
	if i.Go == "" {
		i.Go = Unknown
	}
	if i.Version == "" {
		i.Version = b.Main.Version
	}
	if i.Version == "" || i.Version == "(devel)" {
		i.Version = "dev"
	}
	if m := pseudo.FindStringSubmatch(b.Main.Version); m != nil {
		i.Commit = m[1]
	}
	dirty := ""
	for _, s := range b.Settings {
		switch {
		case s.Key == "vcs.revision" && s.Value != "":
			i.Commit = s.Value
		case s.Key == "vcs.modified" && s.Value == "true":
			dirty = "+dirty"
		}
	}
	if i.Commit != Unknown {
		i.Commit += dirty
	}
	return i
}

// String is a line such as "v1.2.3 (commit 0123456789ab, go1.26.8)".
func (i Info) String() string {
	return fmt.Sprintf("%s (commit %s, %s)", i.Version, i.Commit, i.Go)
}
