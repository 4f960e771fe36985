package main

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chassi-go/chassi/internal/setclock"
)

// buildWithClock builds authd with a clock that the test sets.
func buildWithClock(t *testing.T) (program string) {
	t.Helper()
	if !setclock.Supported() {
		t.Skip("the clock of a program can be set on Linux for amd64 and arm64 only")
	}
	overlay, err := setclock.Overlay(t.TempDir(), ".", "main")
	if err != nil {
		t.Fatal(err)
	}
	return build(t, overlay)
}

// machine is a host whose clock the test sets.
type machine struct {
	t             *testing.T
	program, file string
}

func newMachine(t *testing.T, program string) *machine {
	t.Helper()
	m := &machine{t: t, program: program, file: filepath.Join(t.TempDir(), "clock")}
	m.set(0)
	return m
}

// set makes the clock of the machine be ahead.
func (m *machine) set(ahead time.Duration) {
	m.t.Helper()
	if err := setclock.Set(m.file, ahead); err != nil {
		m.t.Fatal(err)
	}
}

func (m *machine) command(args ...string) *exec.Cmd {
	cmd := exec.Command(m.program, args...)
	cmd.Dir = m.t.TempDir()
	cmd.Env = append(os.Environ(), setclock.Variable+"="+m.file, "AUTHD_SHUTDOWN_DRAIN=0s")
	return cmd
}

// serve starts a node.
func (m *machine) serve(args ...string) *node {
	m.t.Helper()
	n := launchProgram(m.t, m.command(serveArgs(args...)...))
	n.awaitLog(`"msg":"serving"`)
	return n
}

// run runs a command to its end.
func (m *machine) run(args ...string) {
	m.t.Helper()
	cmd := m.command(append(args, cheap...)...)
	cmd.Stdin = strings.NewReader("an analytical engine\n")
	if out, err := cmd.CombinedOutput(); err != nil {
		m.t.Errorf("%s: %v\n%s", args, err, out)
	}
}
