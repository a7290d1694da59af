package main

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
)

// process is a program that runs until the test ends.
type process struct {
	t      testing.TB
	name   string
	cmd    *exec.Cmd
	stdout output
	stderr output
	done   chan struct{} // closed when it has ended
}

// startProcess starts a program. What it printed is shown when the test fails.
func startProcess(t testing.TB, name, path string, env []string, args ...string) *process {
	t.Helper()
	return startIn(t, "", name, path, env, args...)
}

// startIn is startProcess in another folder.
func startIn(t testing.TB, dir, name, path string, env []string, args ...string) *process {
	t.Helper()
	p := &process{t: t, name: name, cmd: exec.Command(path, args...), done: make(chan struct{})}
	p.cmd.Dir = dir
	p.cmd.Env = append(os.Environ(), env...)
	p.cmd.Stdout, p.cmd.Stderr = &p.stdout, &p.stderr
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go func() { _ = p.cmd.Wait(); close(p.done) }()
	t.Cleanup(func() {
		p.kill()
		switch logged := p.stderr.String(); {
		case strings.Contains(logged, "DATA RACE"):
			t.Errorf("%s has a data race:\n%s", name, logged)
		case t.Failed():
			t.Logf("%s printed:\n%s\nand to standard error:\n%s", name, p.stdout.String(), logged)
		}
	})
	return p
}

// kill ends the process at once, as kill -9 does.
func (p *process) kill() {
	_ = p.cmd.Process.Kill()
	<-p.done
}

// interrupt is Ctrl-C; it returns the exit code, which must come in 5 s.
func (p *process) interrupt() int {
	p.t.Helper()
	p.signal(syscall.SIGINT)
	return p.exit(5 * time.Second)
}

func (p *process) signal(s os.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil {
		p.t.Fatalf("%s: %v", p.name, err)
	}
}

// exit waits for the end of the process.
func (p *process) exit(within time.Duration) int {
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

// ended says how the process ended, or nil while it runs.
func (p *process) ended() error {
	select {
	case <-p.done:
		return errors.New(p.name + " ended: " + p.cmd.ProcessState.String())
	default:
		return nil
	}
}

// says waits until the text is in what the process printed on either output.
func (p *process) says(text string) {
	p.t.Helper()
	eventually(p.t, p.name+" says "+text, func() error {
		if strings.Contains(p.stdout.String()+p.stderr.String(), text) {
			return nil
		}
		if err := p.ended(); err != nil {
			p.t.Fatal(err)
		}
		return errors.New("it does not say so")
	})
}

// output keeps what a process prints.
type output struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.buf.String()
}
