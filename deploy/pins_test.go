package deploy

import (
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestImagesArePinned: every image of others is named by an exact version, and every
// action of the CI by its commit; a digest may follow.
func TestImagesArePinned(t *testing.T) {
	exact := regexp.MustCompile(`^[a-z./-]+:v?\d+\.\d+\.\d+(-[a-z]+[\d.]*)?(@sha256:[0-9a-f]{64})?$`)
	action := regexp.MustCompile(`^[\w.-]+/[\w.-]+@[0-9a-f]{40}$`)
	named := regexp.MustCompile(`(?m)^\s*(?:- )?(FROM|image:|container:|uses:) +(\S+)`)
	kinds := map[string]int{}
	for _, pattern := range []string{"Dockerfile", "*.yaml", "kubernetes/*.yaml", "../.github/workflows/*.yml", "../examples/*/Dockerfile", "../examples/*/*.yaml"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			for _, m := range named.FindAllStringSubmatch(read(t, file), -1) {
				kind, name := m[1], m[2]
				kinds[kind]++
				if name != "scratch" && kind != "uses:" && !exact.MatchString(name) || kind == "uses:" && !action.MatchString(name) {
					t.Errorf("%s: %s %s is not exact", file, kind, name)
				}
			}
		}
	}
	for _, kind := range []string{"FROM", "image:", "container:", "uses:"} {
		if kinds[kind] == 0 {
			t.Errorf("no %s was found", kind)
		}
	}
}

// TestImageHasTheProgramOfDist: the image's program is built with the flags of the
// Makefile, so that it has the hash of the one in dist/.
func TestImageHasTheProgramOfDist(t *testing.T) {
	makefile := read(t, "../Makefile")
	command := regexp.MustCompile(`(?m)^GO_BUILD := (.+)$`).FindStringSubmatch(makefile)
	flags := regexp.MustCompile(`(?m)^LDFLAGS := (.+)$`).FindStringSubmatch(makefile)
	if command == nil || flags == nil {
		t.Fatal("the Makefile has no GO_BUILD or LDFLAGS")
	}
	want := strings.NewReplacer("$(GO)", "go", "'$(LDFLAGS)'", `"`+flags[1]+`"`).Replace(command[1])
	want = strings.NewReplacer("$(VERSION)", "$VERSION", "$(COMMIT)", "$COMMIT").Replace(want)
	if !strings.Contains(read(t, "Dockerfile"), "RUN "+want+" -o /tidegate ./cmd/tidegate\n") {
		t.Errorf("the Dockerfile does not run %s", want)
	}
}

// TestSecretsStayOut: neither git nor an image takes files that hold secrets.
func TestSecretsStayOut(t *testing.T) {
	ignored := strings.Fields(read(t, "../.dockerignore"))
	for pattern, file := range map[string]string{"**/.env": "deploy/.env", "**/*.creds": "deploy/app.creds", "**/*.nk": "deploy/nats/operator.nk", "**/*.key": "deploy/tls.key"} {
		if !slices.Contains(ignored, pattern) {
			t.Errorf(".dockerignore has no %s", pattern)
		}
		cmd := exec.CommandContext(t.Context(), "git", "check-ignore", "--quiet", "--no-index", file)
		cmd.Dir = ".."
		if err := cmd.Run(); err != nil {
			t.Errorf("git does not ignore %s: %v", file, err)
		}
	}
}
