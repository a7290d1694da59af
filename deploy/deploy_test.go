// Package deploy has tests for the files in its folder: settings, versions and
// configurations in them must match the code.
package deploy

import (
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"

	"github.com/tidegate-io/tidegate/internal/config"
)

func read(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// variables returns the environment variables that the program reads.
func variables(t *testing.T) map[string]bool {
	t.Helper()
	var sources []string
	for _, pattern := range []string{"internal/app/*.go", "internal/cli/*.go", "internal/history/*.go", "client/connect.go"} {
		list, err := filepath.Glob("../" + pattern)
		if err != nil {
			t.Fatal(err)
		}
		sources = append(sources, list...)
	}
	name := regexp.MustCompile(`"((?:NATS|MONGODB|STRIPE|RESEND|TIDEGATE)_[A-Z_]+)"`)
	found := map[string]bool{}
	for _, source := range sources {
		if strings.HasSuffix(source, "_test.go") {
			continue
		}
		for _, m := range name.FindAllStringSubmatch(read(t, source), -1) {
			found[m[1]] = true
		}
	}
	if len(found) < 10 {
		t.Fatalf("the code reads only %v", found)
	}
	return found
}

func TestEnvironmentMatchesTheCode(t *testing.T) {
	said := map[string]bool{}
	for _, m := range regexp.MustCompile(`(?m)^(?:# )?([A-Z][A-Z_]+)=`).FindAllStringSubmatch(read(t, ".env.example"), -1) {
		if said[m[1]] {
			t.Errorf(".env.example names %s twice", m[1])
		}
		said[m[1]] = true
	}
	known := variables(t)
	reference := read(t, "../docs/configuration.md")
	for _, name := range slices.Sorted(maps.Keys(known)) {
		if !said[name] {
			t.Errorf(".env.example lacks %s, which the code reads", name)
		}
		if !strings.Contains(reference, "`"+name+"`") {
			t.Errorf("docs/configuration.md lacks %s, which the code reads", name)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(said)) {
		if !known[name] && !strings.Contains(read(t, "compose.yaml"), "${"+name+":?") {
			t.Errorf(".env.example names %s, which neither the code nor compose reads", name)
		}
	}
}

func TestExampleConfiguration(t *testing.T) {
	if _, err := config.Load("tidegate.yaml", func(string) (string, bool) { return "", false }); err != nil {
		t.Error(err)
	}
}

// TestGoVersion: the images have a Go that go.mod takes, and it is the same everywhere.
func TestGoVersion(t *testing.T) {
	minor := regexp.MustCompile(`\d+\.\d+`)
	mod := regexp.MustCompile(`(?m)^go (\S+)$`).FindStringSubmatch(read(t, "../go.mod"))
	image := regexp.MustCompile(`(?m)^FROM golang:([\d.]+)-alpine`).FindStringSubmatch(read(t, "Dockerfile"))
	if mod == nil || image == nil || minor.FindString(mod[1]) != minor.FindString(image[1]) {
		t.Fatalf("go.mod says %q, the Dockerfile %q", mod, image)
	}
	ci := read(t, "../.github/workflows/ci.yml")
	if !strings.Contains(ci, "container: golang:"+image[1]+"-") {
		t.Errorf("the CI's workflow uses another Go than the Dockerfile's %s", image[1])
	}
	if readme := read(t, "../README.md"); !strings.Contains(readme, "Go "+minor.FindString(mod[1])) {
		t.Error("the README names another version of Go than go.mod")
	}
}

// TestNATSVersion: the image has the version of the server in the tests.
func TestNATSVersion(t *testing.T) {
	mod := regexp.MustCompile(`(?m)^\s+github\.com/nats-io/nats-server/v2 v(\S+)$`).FindStringSubmatch(read(t, "../go.mod"))
	image := regexp.MustCompile(`(?m)^\s+image: nats:([\d.]+)-alpine`).FindStringSubmatch(read(t, "compose.yaml"))
	if mod == nil || image == nil || mod[1] != image[1] {
		t.Fatalf("go.mod says %q, compose.yaml %q", mod, image)
	}
	if docs := read(t, "../docs/operations.md"); !strings.Contains(docs, mod[1]+" is recommended") {
		t.Errorf("docs/operations.md recommends another server than %s", mod[1])
	}
}

// TestGatewayRecipes checks what needs no gateways: the files are YAML, and each asks
// Tidegate and removes what visitors send of the headers that it reads.
func TestGatewayRecipes(t *testing.T) {
	for name, wants := range map[string][]string{
		"traefik.yaml": {"/v1/auth?record=1", `X-Customer-Id: ""`, "trustForwardHeader: false", "no-forgery, login, tidegate-key, tidegate", "authRequestHeaders: [X-Customer-Id, X-Tidegate-Key]",
			`X-Original-Method: ""`, `X-Original-Uri: ""`, `X-Original-Url: ""`, `X-Tidegate-Key: ""`, `X-Tidegate-Record: ""`},
		"envoy.yaml": {"path_prefix: /v1/auth", "patterns: [{exact: x-customer-id, ignore_case: true}]", "remove: x-customer-id", "remove: x-tidegate-key", "remove: x-tidegate-record",
			"remove: x-forwarded-method", "remove: x-forwarded-uri", "remove: x-original-method", "remove: x-original-uri", "remove: x-original-url"},
		"nginx.conf": {"/v1/auth?deny=403&record=1", "proxy_pass_request_headers off", `X-Forwarded-Method ""`, `X-Forwarded-Uri ""`, `X-Original-Url ""`, `X-Tidegate-Record ""`,
			"X-Customer-Id $customer", "X-Original-Method $request_method", "X-Original-Uri $request_uri", "$tidegate_status = 400"},
	} {
		recipe := read(t, "gateways/"+name)
		var any map[string]any
		if err := yaml.Unmarshal([]byte(recipe), &any); strings.HasSuffix(name, ".yaml") && (err != nil || len(any) == 0) {
			t.Errorf("%s: %v", name, err)
		}
		for _, want := range wants {
			if !strings.Contains(recipe, want) {
				t.Errorf("%s has no %s", name, want)
			}
		}
	}
}
