// Package deploy has tests for the files in its folder: settings, versions and
// configurations in them must match the code.
package deploy

import (
	"bytes"
	"errors"
	"io"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
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
	for _, dir := range []string{"app", "cli", "history"} {
		list, err := filepath.Glob("../internal/" + dir + "/*.go")
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
		if !known[name] {
			t.Errorf(".env.example names %s, which the code does not read", name)
		}
	}
}

func TestExampleConfiguration(t *testing.T) {
	if _, err := config.Load("tidegate.yaml", func(string) (string, bool) { return "", false }); err != nil {
		t.Error(err)
	}
}

func TestNATSConfiguration(t *testing.T) {
	t.Setenv("NATS_NAME", "nats-1")
	for file, servers := range map[string]int{"nats.conf": 0, "nats-cluster.conf": 3} {
		opts, err := server.ProcessConfigFile(file)
		if err != nil {
			t.Fatal(err)
		}
		if !opts.JetStream || opts.StoreDir != "/data" || opts.SyncInterval == 0 || len(opts.Routes) != servers {
			t.Errorf("%s: JetStream %v, store %q, sync every %v, %d servers", file, opts.JetStream, opts.StoreDir, opts.SyncInterval, len(opts.Routes))
		}
	}
}

func TestGoVersion(t *testing.T) {
	minor := regexp.MustCompile(`\d+\.\d+`)
	mod := regexp.MustCompile(`(?m)^go (\S+)$`).FindStringSubmatch(read(t, "../go.mod"))
	image := regexp.MustCompile(`(?m)^FROM golang:(\S+)-alpine`).FindStringSubmatch(read(t, "Dockerfile"))
	if mod == nil || image == nil || minor.FindString(mod[1]) != minor.FindString(image[1]) {
		t.Errorf("go.mod says %q, the Dockerfile %q", mod, image)
	}
	if readme := read(t, "../README.md"); mod != nil && !strings.Contains(readme, "Go "+minor.FindString(mod[1])) {
		t.Error("the README names another version of Go than go.mod")
	}
}

// TestNATSVersion: the image has the version of the server in the tests.
func TestNATSVersion(t *testing.T) {
	mod := regexp.MustCompile(`(?m)^\s+github\.com/nats-io/nats-server/v2 v(\S+)$`).FindStringSubmatch(read(t, "../go.mod"))
	image := regexp.MustCompile(`(?m)^\s+image: nats:(\S+)-alpine`).FindStringSubmatch(read(t, "compose.yaml"))
	if mod == nil || image == nil || mod[1] != image[1] {
		t.Fatalf("go.mod says %q, compose.yaml %q", mod, image)
	}
	if docs := read(t, "../docs/operations.md"); !strings.Contains(docs, mod[1]+" is recommended") {
		t.Errorf("docs/operations.md recommends another server than %s", mod[1])
	}
}

// compose has the checked fields of a compose file.
type compose struct {
	Services map[string]struct {
		Image       string
		Build       struct{ Context, Dockerfile string }
		Ports       []string
		Volumes     []string
		Environment map[string]string
		EnvFile     string `yaml:"env_file"`
		Healthcheck struct{ Test []string }
		DependsOn   map[string]struct{ Condition string } `yaml:"depends_on"`
	}
	Volumes map[string]any
}

func TestCompose(t *testing.T) {
	var c compose
	if err := yaml.Unmarshal([]byte(read(t, "compose.yaml")), &c); err != nil {
		t.Fatal(err)
	}
	if len(c.Services) != 3 {
		t.Fatalf("services: %v", slices.Sorted(maps.Keys(c.Services)))
	}
	known := variables(t)
	for name, s := range c.Services {
		if len(s.Healthcheck.Test) < 2 {
			t.Errorf("%s has no health check", name)
		}
		for _, p := range s.Ports {
			if !strings.HasPrefix(p, "127.0.0.1:") {
				t.Errorf("%s: port %s can be reached from outside", name, p)
			}
		}
		for variable := range s.Environment {
			if !known[variable] {
				t.Errorf("%s: %s is not read by the code", name, variable)
			}
		}
		for _, v := range s.Volumes {
			from, _, _ := strings.Cut(v, ":")
			_, named := c.Volumes[from]
			if _, err := os.Stat(from); err != nil && !named {
				t.Errorf("%s: %s is neither a volume nor a file here", name, from)
			}
		}
		for other, d := range s.DependsOn {
			if _, ok := c.Services[other]; !ok || d.Condition != "service_healthy" {
				t.Errorf("%s depends on %s, %s", name, other, d.Condition)
			}
		}
	}
	own := c.Services["tidegate"]
	if _, err := os.Stat(filepath.Join(own.Build.Context, own.Build.Dockerfile)); err != nil {
		t.Error(err)
	}
}

func TestKubernetes(t *testing.T) {
	dec := yaml.NewDecoder(bytes.NewReader([]byte(read(t, "kubernetes/tidegate.yaml"))))
	type object struct {
		Kind string
		Spec struct {
			Template struct {
				Spec struct {
					Containers []struct {
						Args []string
						Env  []struct{ Name, Value string }
					}
				}
			}
		}
	}
	kinds, roles, known := map[string]int{}, []string{}, variables(t)
	for {
		var o object
		if err := dec.Decode(&o); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatal(err)
		}
		kinds[o.Kind]++
		for _, c := range o.Spec.Template.Spec.Containers {
			roles = append(roles, strings.Split(c.Args[len(c.Args)-1], ",")...)
			for _, e := range c.Env {
				if !known[e.Name] {
					t.Errorf("%s is not read by the code", e.Name)
				}
			}
		}
	}
	slices.Sort(roles)
	if kinds["Deployment"] != 2 || kinds["Service"] != 2 || !slices.Equal(roles, []string{"aggregator", "enforcer", "ingest", "notifier"}) {
		t.Errorf("%v with the roles %v", kinds, roles)
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
