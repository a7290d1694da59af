// Package guard turns panics into errors. Whoever handles what came from outside
// (a message, a document, an answer) on a goroutine of its own calls it, because a
// panic that nobody recovers ends the process.
package guard

import (
	"errors"
	"fmt"
	"path"
	"runtime"
	"strings"
)

// ours begins the names of the functions of this module.
const ours = "github.com/tidegate-io/tidegate/"

// maxText bounds the text of a value that was given to panic.
const maxText = 200

// Panic is the error in place of a panic. Its text holds no data of what was being
// handled.
type Panic struct {
	What   string // as given to panic. It may quote what was being handled
	Where  string // the innermost function of our own, with file and line
	public string // What, or for a value other than Go's own errors only its type
}

// Error implements error.
func (p *Panic) Error() string { return "panic at " + p.Where + ": " + p.public }

// Detail is Error with the whole text, for those who may read the data.
func (p *Panic) Detail() string { return "panic at " + p.Where + ": " + p.What }

// Recovered returns the error for the result of recover, which must not be nil.
// The deferred function that called recover must call it.
func Recovered(cause any) *Panic {
	if again, ok := cause.(error); ok {
		if p := (*Panic)(nil); errors.As(again, &p) {
			return p
		}
	}
	what := strings.ToValidUTF8(fmt.Sprint(cause), "?")
	if len(what) > maxText {
		what = strings.ToValidUTF8(what[:maxText], "") + "…"
	}
	p := &Panic{What: what, Where: where(), public: fmt.Sprintf("a value of type %T", cause)}
	if _, plain := cause.(runtime.Error); plain {
		p.public = what
	}
	return p
}

// where names the innermost function of ours that was running when the panic began.
func where() string {
	var pcs [64]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(1, pcs[:])])
	panicking := false
	for {
		f, more := frames.Next()
		switch {
		case f.Function == "runtime.gopanic":
			panicking = true
		case panicking && strings.HasPrefix(f.Function, ours):
			name := strings.TrimPrefix(f.Function, ours) // <folders>/<package>.<function>
			begin := strings.LastIndexByte(name, '/') + 1
			pkg, _, _ := strings.Cut(name[begin:], ".")
			return fmt.Sprintf("%s (%s%s/%s:%d)", name[begin:], name[:begin], strings.TrimSuffix(pkg, "_test"), path.Base(f.File), f.Line)
		}
		if !more {
			return "a function of a library"
		}
	}
}

// Do calls f. If f panics, it returns a *Panic.
func Do(f func() error) (err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = Recovered(cause)
		}
	}()
	return f()
}

// Value is Do for a function with a result.
func Value[T any](f func() (T, error)) (v T, err error) {
	err = Do(func() (err error) {
		v, err = f()
		return err
	})
	return v, err
}

// As returns the panic that err wraps, or nil.
func As(err error) *Panic {
	var p *Panic
	errors.As(err, &p)
	return p
}
