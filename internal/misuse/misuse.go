// Package misuse marks the errors of a wrong call, such as a flag that cannot be
// read. A command that ends with one exits with 2 instead of 1.
package misuse

import "fmt"

// Error is the error of a wrong call.
type Error struct{ err error }

// Errorf returns an Error with a text as fmt.Errorf makes it.
func Errorf(format string, args ...any) error { return Error{fmt.Errorf(format, args...)} }

// Error returns the text.
func (e Error) Error() string { return e.err.Error() }

// Unwrap returns what the text was made of.
func (e Error) Unwrap() error { return e.err }
