package testprocess

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/tidegate-io/tidegate/internal/test/wait"
)

// Process is a program that runs until the test ends.
type Process struct {
	Stdout, Stderr Output

	t    testing.TB
	name string
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
}

// Start starts a program. When the test fails, it shows the program's output.
func Start(t testing.TB, name, path string, env []string, args ...string) *Process {
	t.Helper()
	return StartIn(t, "", name, path, env, args...)
}

// StartIn is Start in another folder.
func StartIn(t testing.TB, dir, name, path string, env []string, args ...string) *Process {
	t.Helper()
	p := &Process{t: t, name: name, cmd: exec.Command(path, args...), done: make(chan struct{})}
	p.cmd.Dir = dir
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Stdout, p.cmd.Stderr = &p.Stdout, &p.Stderr
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { _ = p.cmd.Wait(); close(p.done) }()
	t.Cleanup(func() {
		p.Kill()
		switch logged := p.Stderr.String(); {
		case strings.Contains(logged, "DATA RACE"):
			t.Errorf("%s has a data race:\n%s", name, logged)
		case t.Failed():
			t.Logf("%s printed:\n%s\nand to standard error:\n%s", name, p.Stdout.String(), logged)
		}
	})
	return p
}

// PID returns the process id.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Kill kills the process, as kill -9 does.
func (p *Process) Kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

// Interrupt interrupts the process, as Ctrl-C does, and returns its exit code. The test
// fails when the process does not end in 5 s.
func (p *Process) Interrupt() int {
	p.t.Helper()
	p.Signal(syscall.SIGINT)
	return p.Exit(5 * time.Second)
}

// Signal sends a signal.
func (p *Process) Signal(s os.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatalf("%s: %v", p.name, err)
	}
}

// Exit waits for the end of the process and returns its exit code.
func (p *Process) Exit(within time.Duration) int {
	p.t.Helper()
	late := time.NewTimer(within)
	defer late.Stop()
	select {
	case <-p.done:
	case <-late.C:
		p.t.Fatalf("%s has not ended in %v", p.name, within)
	}
	return p.cmd.ProcessState.ExitCode()
}

// Ended returns how the process ended, or nil while it runs.
func (p *Process) Ended() error {
	select {
	case <-p.done:
		return errors.New(p.name + " ended: " + p.cmd.ProcessState.String())
	default:
		return nil
	}
}

// Says waits until the process's outputs contain the text.
func (p *Process) Says(text string) {
	p.t.Helper()
	wait.Until(p.t, p.name+" says "+text, func() error {
		if strings.Contains(p.Stdout.String()+p.Stderr.String(), text) {
			return nil
		}
		if err := p.Ended(); err != nil {
			p.t.Fatal(err)
		}
		return errors.New("it does not say so")
	})
}

// Output collects a process's output. It is safe for concurrent use.
type Output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

// Write appends b.
func (o *Output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(b)
}

// String returns the output so far.
func (o *Output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}
