package testbuild

import (
	"fmt"
	"os/exec"
	"path/filepath"
)

// Command builds a command of this module, or of a module that it requires, in dir. It
// returns the path of the program.
func Command(dir, name, pkg string, flags ...string) (string, error) {
	path := filepath.Join(dir, name)
	cmd := exec.Command("go", append(append([]string{"build"}, flags...), "-o", path, pkg)...)
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("go build %s: %w\n%s", pkg, err, out)
	}
	return path, nil
}
