// Command modules keeps the modules of this repository: it sets their
// versions, tidies the root's go.mod, and makes the tags of a release.
//
// Apps import the client, which must bring them no more than nats.go does. So
// the client and the packages of ours that it imports are modules of their
// own, and their tests are no part of a release: `go mod tidy` in an app looks
// at the tests of what the app imports, and would take the server into the
// app's go.mod.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

const usage = `usage, in the root of the repository:
  modules version          print the version that the go.mod files name
  modules version v1.2.3   set it
  modules tidy             do what go mod tidy does, for the root module
  modules tag              tag the last commit as the release of that version`

// module is the path of the root module.
const module = "github.com/tidegate-io/tidegate"

func main() {
	if err := run(context.Background(), repository{dir: "."}, os.Args[1:]); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, r repository, args []string) error {
	switch {
	case len(args) == 1 && args[0] == "version":
		w, err := r.workspace(ctx)
		if err == nil {
			fmt.Println(w.version)
		}
		return err
	case len(args) == 2 && args[0] == "version":
		return r.setVersion(ctx, args[1])
	case len(args) == 1 && args[0] == "tidy":
		return r.tidy(ctx)
	case len(args) == 1 && args[0] == "tag":
		tags, err := r.tag(ctx)
		if err == nil {
			fmt.Println("git push --atomic origin HEAD", strings.Join(tags, " "))
		}
		return err
	}
	return errors.New(usage)
}

// repository is a checkout of this repository.
type repository struct {
	dir string   // its root
	env []string // of the commands, besides the process's own
}

// command runs a program in the root and returns what it prints.
func (r repository) command(ctx context.Context, name string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, name, args...)
	cmd.Dir = r.dir
	cmd.Env = append(os.Environ(), r.env...)
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w\n%s", name, strings.Join(args, " "), err, stderr.String())
	}
	return string(out), nil
}
