package e2e

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/tidegate-io/tidegate/internal/config"
	"github.com/tidegate-io/tidegate/internal/test/testprocess"
)

// The path of the repository.
const repository = "../../../"

// Marks of a shell block of the README, in the HTML comment before it.
const (
	markRun        = "run"
	markBackground = "run: in the background"
	markUntil      = "run: until it shows this"
	markOutside    = "outside: " // with the reason why it is not run
	markOutput     = "output"    // of the block before it
)

// readmeBlock is a fenced block with the comment on the line before it.
type readmeBlock struct {
	line       int
	mark       string
	lang, text string
}

var (
	readmeFence   = regexp.MustCompile("^```([a-z]*)$")
	readmeComment = regexp.MustCompile(`^<!-- (.*) -->$`)
)

func readmeBlocks(t *testing.T) (blocks []readmeBlock) {
	t.Helper()
	lines := strings.Split(readRepository(t, "README.md"), "\n")
	for i := 0; i < len(lines); i++ {
		fence := readmeFence.FindStringSubmatch(lines[i])
		if fence == nil {
			continue
		}
		b := readmeBlock{line: i + 1, lang: fence[1]}
		if i > 0 {
			if c := readmeComment.FindStringSubmatch(lines[i-1]); c != nil {
				b.mark = c[1]
			}
		}
		for i++; lines[i] != "```"; i++ {
			b.text += lines[i] + "\n"
		}
		blocks = append(blocks, b)
	}
	if len(blocks) < 10 {
		t.Fatalf("README.md has only %d blocks", len(blocks))
	}
	return blocks
}

func readRepository(t *testing.T, name string) string {
	t.Helper()
	b, err := os.ReadFile(repository + name)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestReadmeCommands runs the README's commands in order, and compares their output with
// the output in the README.
func TestReadmeCommands(t *testing.T) {
	blocks := readmeBlocks(t)
	r := newReader(t)
	ran := 0
	for i, b := range blocks {
		if b.lang != "sh" {
			continue
		}
		wants := ""
		if i+1 < len(blocks) && blocks[i+1].mark == markOutput {
			wants = blocks[i+1].text
		}
		switch {
		case b.mark == markRun:
			r.once(b, wants)
		case b.mark == markUntil && wants != "":
			r.until(b, wants)
		case b.mark == markBackground:
			r.start(b)
		case strings.HasPrefix(b.mark, markOutside) && strings.HasPrefix(b.text, "nats pub "):
			r.publish(b)
			continue
		case strings.HasPrefix(b.mark, markOutside):
			continue
		default:
			t.Fatalf("README.md:%d: the shell block is marked %q: say in a comment before it that it is to be run, or what it needs", b.line, b.mark)
		}
		ran++
	}
	if ran < 8 {
		t.Errorf("only %d blocks of the README were run", ran)
	}
}

// reader runs the README's commands in a shell.
type reader struct {
	t       *testing.T
	dir     string
	env     []string
	replace *strings.Replacer // replaces the README's addresses with those of the test
	nats    string
}

func newReader(t *testing.T) *reader {
	dir := t.TempDir()
	return &reader{t: t, dir: dir, replace: strings.NewReplacer(), env: []string{
		"PATH=" + filepath.Dir(testprocess.Tidegate(t)) + string(os.PathListSeparator) + os.Getenv("PATH"),
		"TIDEGATE_HTTP=127.0.0.1:0", "TIDEGATE_NATS=127.0.0.1:-1", "TIDEGATE_DATA=" + filepath.Join(dir, ".tidegate"),
		"NO_PROXY=127.0.0.1",
	}}
}

// run runs a block and returns its standard output.
func (r *reader) run(b readmeBlock) (string, error) {
	ctx, cancel := context.WithTimeout(r.t.Context(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-euo", "pipefail", "-c", r.replace.Replace(b.text))
	cmd.Dir, cmd.Env = r.dir, append(os.Environ(), r.env...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		err = fmt.Errorf("%w\n%s", err, stderr.String())
	}
	return string(out), err
}

func (r *reader) once(b readmeBlock, wants string) {
	r.t.Helper()
	out, err := r.run(b)
	if err == nil {
		err = shows(out, wants)
	}
	if err != nil {
		r.t.Fatalf("README.md:%d: %v\n%s", b.line, err, b.text)
	}
}

func (r *reader) until(b readmeBlock, wants string) {
	r.t.Helper()
	late := time.NewTimer(30 * time.Second)
	defer late.Stop()
	again := time.NewTicker(100 * time.Millisecond)
	defer again.Stop()
	for {
		out, err := r.run(b)
		if err == nil {
			err = shows(out, wants)
		}
		if err == nil {
			return
		}
		select {
		case <-again.C:
		case <-late.C:
			r.t.Fatalf("README.md:%d: for 30 s: %v\n%s", b.line, err, b.text)
		}
	}
}

// shows compares an output with the README's. … matches any text; line breaks and
// indentation do not matter.
func shows(out, wants string) error {
	if wants == "" {
		return nil
	}
	parts := strings.Split(strings.Join(strings.Fields(wants), ""), "…")
	for i := range parts {
		parts[i] = regexp.QuoteMeta(parts[i])
	}
	form := regexp.MustCompile("^" + strings.Join(parts, ".*?") + "$")
	if !form.MatchString(strings.Join(strings.Fields(out), "")) {
		return fmt.Errorf("it shows\n%s\nand not\n%s", out, wants)
	}
	return nil
}

// start starts the program of `go run` and waits until it prints its address.
func (r *reader) start(b readmeBlock) {
	r.t.Helper()
	fields := strings.Fields(b.text)
	if len(fields) < 3 || fields[0] != "go" || fields[1] != "run" {
		r.t.Fatalf("README.md:%d: only `go run` is known in the background:\n%s", b.line, b.text)
	}
	switch fields[2] {
	case "./cmd/tidegate":
		p := testprocess.StartIn(r.t, r.dir, "the README's dev", testprocess.Tidegate(r.t), r.env, fields[3:]...)
		p.Says("Send a use, and ask:")
		shown := addresses(p.Stdout.String())
		if len(shown) < 2 {
			r.t.Fatalf("dev printed no addresses:\n%s", p.Stdout.String())
		}
		r.nats = shown[1]
		r.env = append(r.env, "TIDEGATE_URL="+shown[0], "NATS_URL="+r.nats)
		r.replace = strings.NewReplacer("http://127.0.0.1:8080", shown[0])
	case "./examples/go-service":
		path, err := testprocess.Build("go-service", "github.com/tidegate-io/tidegate/examples/go-service")
		if err != nil {
			r.t.Fatal(err)
		}
		l, err := net.Listen("tcp", "127.0.0.1:0") // a free port
		if err != nil {
			r.t.Fatal(err)
		}
		address := l.Addr().String()
		_ = l.Close()
		testprocess.Start(r.t, "the README's service", path, append(r.env, "LISTEN="+address)).Says("listening on http://" + address)
		r.replace = strings.NewReplacer("http://127.0.0.1:8080", r.replace.Replace("http://127.0.0.1:8080"), "http://127.0.0.1:8000", "http://"+address)
	default:
		r.t.Fatalf("README.md:%d: %s is not known", b.line, fields[2])
	}
}

// addresses returns the URLs in a text without a path.
func addresses(text string) (found []string) {
	for _, word := range strings.Fields(text) {
		if u, err := url.Parse(word); err == nil && u.Port() != "" && u.Path == "" {
			found = append(found, word)
		}
	}
	return found
}

var readmePublish = regexp.MustCompile(`(?s)^nats pub --jetstream (\S+) '(.*)'\n$`)

// publish does the same as the nats command, and checks that the use counts.
func (r *reader) publish(b readmeBlock) {
	r.t.Helper()
	parts := readmePublish.FindStringSubmatch(b.text)
	if parts == nil {
		r.t.Fatalf("README.md:%d: not understood: %s", b.line, b.text)
	}
	nc, err := nats.Connect(r.nats)
	if err != nil {
		r.t.Fatal(err)
	}
	defer nc.Close()
	js, err := jetstream.New(nc)
	if err != nil {
		r.t.Fatal(err)
	}
	if _, err := js.Publish(r.t.Context(), parts[1], []byte(parts[2])); err != nil {
		r.t.Fatalf("README.md:%d: %v", b.line, err)
	}
	customer := strings.TrimPrefix(parts[1], "usage.in.")
	r.until(readmeBlock{line: b.line, text: "tidegate check " + customer + " api"}, "…within_limit free 1 100 …")
}

// TestReadmeCode: code in the README is the content of a file that is compiled or run.
func TestReadmeCode(t *testing.T) {
	files := map[string]string{"go": "examples/go-service/main.go", "python": "examples/fastapi/minimal.py"}
	seen := map[string]bool{}
	for _, b := range readmeBlocks(t) {
		switch b.lang {
		case "go", "python":
			seen[b.lang] = true
			if readRepository(t, files[b.lang]) != b.text {
				t.Errorf("README.md:%d: the block differs from %s", b.line, files[b.lang])
			}
		case "yaml":
			seen[b.lang] = true
			if _, err := config.Parse([]byte(b.text), nil); err != nil {
				t.Errorf("README.md:%d: %v", b.line, err)
			}
		case "sh":
		case "text":
		default:
			t.Errorf("README.md:%d: nothing checks blocks of %q", b.line, b.lang)
		}
	}
	for _, lang := range []string{"go", "python", "yaml"} {
		if !seen[lang] {
			t.Errorf("the README has no block of %s", lang)
		}
	}
}
