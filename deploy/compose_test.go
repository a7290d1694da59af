package deploy

import (
	"bytes"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/nats-io/nats-server/v2/server"
	"go.yaml.in/yaml/v3"
)

// compose has every field that the compose file may use: a misspelt one fails.
type compose struct {
	Name     string
	Locked   any `yaml:"x-locked"`
	Services map[string]service
	Networks map[string]struct {
		Name     string
		Internal bool
	}
	Volumes map[string]any
}

type service struct {
	Image       string
	Build       struct{ Context, Dockerfile string }
	Command     []string
	User        string
	ReadOnly    bool     `yaml:"read_only"`
	CapDrop     []string `yaml:"cap_drop"`
	CapAdd      []string `yaml:"cap_add"`
	SecurityOpt []string `yaml:"security_opt"`
	Privileged  bool
	Tmpfs       []string
	Ports       []string
	Volumes     []string
	Networks    []string
	Environment map[string]string
	Restart     string
	Healthcheck struct {
		Test              []string
		Interval, Timeout string
		Retries           int
	}
	DependsOn map[string]struct{ Condition string } `yaml:"depends_on"`
}

func readCompose(t *testing.T) (c compose) {
	t.Helper()
	dec := yaml.NewDecoder(bytes.NewReader([]byte(read(t, "compose.yaml"))))
	dec.KnownFields(true)
	if err := dec.Decode(&c); err != nil {
		t.Fatal(err)
	}
	return c
}

func TestCompose(t *testing.T) {
	c := readCompose(t)
	if got := slices.Sorted(maps.Keys(c.Services)); !slices.Equal(got, []string{"mongodb", "nats", "tidegate"}) {
		t.Fatalf("services: %v", got)
	}
	known := variables(t)
	for name, s := range c.Services {
		if len(s.Healthcheck.Test) < 2 {
			t.Errorf("%s has no health check", name)
		}
		for variable := range s.Environment {
			if name == "tidegate" && !known[variable] {
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
		for _, n := range s.Networks {
			if _, ok := c.Networks[n]; !ok {
				t.Errorf("%s is in the network %s, which is not there", name, n)
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

// TestComposeIsLocked: every container has a read-only root and no rights of root's, and
// none but Tidegate's HTTP API has a port on the machine, on loopback.
func TestComposeIsLocked(t *testing.T) {
	c := readCompose(t)
	for name, s := range c.Services {
		if !s.ReadOnly || !slices.Equal(s.CapDrop, []string{"ALL"}) || len(s.CapAdd) > 0 || s.Privileged || !slices.Contains(s.SecurityOpt, "no-new-privileges:true") {
			t.Errorf("%s is not locked: %+v", name, s)
		}
		for _, p := range s.Ports {
			if name != "tidegate" || !strings.HasPrefix(p, "127.0.0.1:") {
				t.Errorf("%s: port %s can be reached from outside", name, p)
			}
		}
		for _, v := range s.Volumes {
			if from, _, _ := strings.Cut(v, ":"); strings.ContainsAny(from, "./") && !strings.HasSuffix(v, ":ro") {
				t.Errorf("%s may write the file %s", name, from)
			}
		}
		for _, n := range s.Networks {
			if name != "tidegate" && !c.Networks[n].Internal {
				t.Errorf("%s reaches the internet by the network %s", name, n)
			}
			for other, o := range c.Services {
				if name == "mongodb" && other != name && other != "tidegate" && slices.Contains(o.Networks, n) {
					t.Errorf("%s reaches mongodb by the network %s", other, n)
				}
			}
		}
		if len(s.Networks) == 0 {
			t.Errorf("%s is in the network of all", name)
		}
	}
}

// TestComposeHandsOverTheEnvironment: Tidegate gets what it reads of .env, and nothing else.
func TestComposeHandsOverTheEnvironment(t *testing.T) {
	own := readCompose(t).Services["tidegate"].Environment
	elsewhere := regexp.MustCompile(`^(NATS_(TOKEN|CREDS|NKEY|CA|CERT|KEY)|TIDEGATE_(DATA|NATS|URL|API_KEY|CA))$`) // other ways to log in, dev and commands
	for name := range variables(t) {
		if _, there := own[name]; there == elsewhere.MatchString(name) {
			t.Errorf("%s is handed over: %v", name, there)
		}
	}
}

// TestComposeUsers: the NATS server of compose knows its users by the passwords in .env,
// also by such as its configuration would take for numbers or variables.
func TestComposeUsers(t *testing.T) {
	c := readCompose(t)
	given := regexp.MustCompile(`^"?\$\{(NATS_[A-Z]+_PASSWORD):\?[^}]*\}"?$`)
	passwords := map[string]string{}
	for name, value := range c.Services["nats"].Environment {
		m := given.FindStringSubmatch(value)
		if m == nil || m[1] != name || !strings.Contains(read(t, ".env.example"), "\n"+name+"=\n") {
			t.Fatalf("%s is not from .env: %s", name, value)
		}
		passwords[name] = []string{"0123456789", "12e4", "$2a$11$hash", "0123abcdef"}[len(passwords)%4]
		t.Setenv(name, regexp.MustCompile(`\$\{[^}]*\}`).ReplaceAllLiteralString(value, passwords[name]))
	}
	opts, err := server.ProcessConfigFile("nats/server.conf")
	if err != nil {
		t.Fatal(err)
	}
	if len(opts.Users) != len(passwords) || len(passwords) == 0 {
		t.Errorf("%d users have %d passwords", len(opts.Users), len(passwords))
	}
	if !opts.JetStream || opts.StoreDir != "/data" || opts.SyncInterval == 0 {
		t.Errorf("JetStream %v, store %q, sync every %v", opts.JetStream, opts.StoreDir, opts.SyncInterval)
	}
	users := map[string]bool{}
	for _, u := range opts.Users {
		users[u.Username] = true
		if want := passwords["NATS_"+strings.ToUpper(u.Username)+"_PASSWORD"]; u.Password != want {
			t.Errorf("%s has the password %q, want %q", u.Username, u.Password, want)
		}
	}
	own := c.Services["tidegate"].Environment
	for name := range passwords {
		if value, there := own[name]; there || name != "NATS_TIDEGATE_PASSWORD" && strings.Contains(fmt.Sprint(own), name) {
			t.Errorf("tidegate gets %s: %s", name, value)
		}
	}
	m := given.FindStringSubmatch(own["NATS_PASSWORD"])
	if !users[own["NATS_USER"]] || m == nil || m[1] != "NATS_"+strings.ToUpper(own["NATS_USER"])+"_PASSWORD" || own["NATS_INBOX_PREFIX"] != "_INBOX_"+own["NATS_USER"] {
		t.Errorf("tidegate connects as %v", own)
	}
}
