package cli

import (
	"os"
	"time"

	"github.com/schollz/progressbar/v3"

	"github.com/tidegate-io/tidegate/internal/history"
	"github.com/tidegate-io/tidegate/internal/stripe/refetch"
)

// terminal is what reading files needs of this one.
func (e *env) terminal() history.Terminal {
	return history.Terminal{Stdin: e.stdin, Progress: e.progress}
}

// progress shows a bar on a terminal; elsewhere it returns nil.
func (e *env) progress(name string, size int64, bytes bool) history.Bar {
	more := progressbar.OptionShowCount()
	if bytes {
		more = progressbar.OptionShowBytes(true)
	}
	if bar := e.bar(size, more, progressbar.OptionSetDescription(name)); bar != nil {
		return bar
	}
	return nil
}

// bar is a progress bar on standard error; nil if that is no terminal.
func (e *env) bar(size int64, more ...progressbar.Option) *progressbar.ProgressBar {
	f, ok := e.stderr.(*os.File)
	if !ok || !isTerminal(f) {
		return nil
	}
	return progressbar.NewOptions64(size, append(more, progressbar.OptionSetWriter(f), progressbar.OptionThrottle(100*time.Millisecond),
		progressbar.OptionClearOnFinish())...)
}

func isTerminal(f *os.File) bool {
	st, err := f.Stat()
	return err == nil && st.Mode()&os.ModeCharDevice != 0
}

// follow shows the progress of a sync on a terminal, until finish.
func (e *env) follow(s *refetch.Sync) (finish func()) {
	bar := e.bar(-1, progressbar.OptionShowCount(), progressbar.OptionShowIts())
	if bar == nil {
		return func() {}
	}
	s.Step = func(what string, n int) {
		bar.Describe(what)
		_ = bar.Add(n)
	}
	return func() { _ = bar.Finish() }
}
