package chaos

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// process is a program that can be killed, frozen and started again. Its output goes
// to a file. It is not safe for concurrent use.
type process struct {
	name string
	path string
	args []string
	env  []string
	log  *os.File

	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
}

// newProcess returns a process without starting it.
func newProcess(dir, name, path string, env []string, args ...string) (*process, error) {
	log, err := os.OpenFile(filepath.Join(dir, name+".log"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	return &process{name: name, path: path, args: args, env: env, log: log}, err
}

func (p *process) start() error {
	p.note("started")
	cmd := exec.Command(p.path, p.args...)
	cmd.Env = append(os.Environ(), p.env...)
	cmd.Stdout, cmd.Stderr = p.log, p.log
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("%s: %w", p.name, err)
	}
	done := make(chan struct{})
	p.cmd, p.done = cmd, done
	go func() { _ = cmd.Wait(); close(done) }()
	return nil
}

// note writes a line about a fault to the process's log.
func (p *process) note(what string) {
	_, _ = fmt.Fprintf(p.log, "----- %s %s\n", time.Now().UTC().Format("15:04:05.000"), what)
}

func (p *process) signal(s syscall.Signal) {
	p.note(s.String())
	_ = p.cmd.Process.Signal(s)
}

// kill kills the process.
func (p *process) kill() {
	p.signal(syscall.SIGKILL)
	<-p.done
}

// freeze stops the process until wake.
func (p *process) freeze() { p.signal(syscall.SIGSTOP) }

func (p *process) wake() { p.signal(syscall.SIGCONT) }

// stop ends the process with a signal, as an operator does. It returns false when it had
// to kill the process.
func (p *process) stop(within time.Duration) bool {
	p.signal(syscall.SIGTERM)
	late := time.NewTimer(within)
	defer late.Stop()
	select {
	case <-p.done:
		return true
	case <-late.C:
		p.kill()
		return false
	}
}

// ended returns how the process ended when nothing stopped it, or nil.
func (p *process) ended() error {
	select {
	case <-p.done:
		return errors.New(p.name + " ended by itself: " + p.cmd.ProcessState.String())
	default:
		return nil
	}
}

func (p *process) close() {
	if p.cmd != nil {
		p.wake()
		p.kill()
	}
	_ = p.log.Close()
}

// lastLines returns the end of a file.
func lastLines(path string, bytes int64) string {
	f, err := os.Open(path)
	if err != nil {
		return err.Error()
	}
	defer func() { _ = f.Close() }()
	if st, err := f.Stat(); err == nil && st.Size() > bytes {
		_, _ = f.Seek(-bytes, io.SeekEnd)
	}
	b, _ := io.ReadAll(f)
	return string(b)
}
