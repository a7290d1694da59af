package config

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
)

// Open reads a configuration file with this process's environment. Its error says
// what to do. For a missing file it is fs.ErrNotExist.
func Open(path string) (*Config, error) {
	c, err := Load(path, os.LookupEnv)
	var of *fs.PathError
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, missing(path)
	case errors.As(err, &of):
		return nil, fmt.Errorf("the configuration cannot be read: %w: name a file that can be read", err)
	}
	return c, err
}

// OpenOrExample is Open, but returns Example when the file has its default name and
// does not exist.
func OpenOrExample(path string) (*Config, error) {
	c, err := Open(path)
	if path == DefaultFile && errors.Is(err, fs.ErrNotExist) {
		return Example(), nil
	}
	return c, err
}

// missing is the error for a configuration file that does not exist.
type missing string

// Error says what to do.
func (path missing) Error() string {
	return fmt.Sprintf("there is no configuration %s: write one with `tidegate init`, or name the file with --config", string(path))
}

// Is reports whether err is fs.ErrNotExist.
func (missing) Is(err error) bool { return err == fs.ErrNotExist }
