//go:build !unix

package testmongo

// lock does nothing: without file locks, several processes may build the
// server at once, and the last rename wins.
func lock(string) (unlock func(), err error) { return func() {}, nil }
