package main

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"
)

// clockFile is the variable that names the file with the seconds by which the clock of a
// program of buildWithClock is ahead.
const clockFile = "CHASSI_TEST_CLOCK"

// setNow goes into a copy of package time: a clock that is set while the program runs, as
// a machine's is. The monotonic clock stays as it is.
const setNow = `package time

import (
	"sync/atomic"
	"syscall"
)

var setRead, setAhead atomic.Int64

func ahead(mono int64) int64 {
	last := setRead.Load()
	if (last == 0 || mono-last > 10_000_000) && setRead.CompareAndSwap(last, mono) {
		name, _ := syscall.Getenv("` + clockFile + `")
		text, err := readFile(name)
		if err == nil && len(text) > 0 {
			negative, digits := text[0] == '-', text
			if negative {
				digits = text[1:]
			}
			n := int64(0)
			for _, c := range digits {
				n = 10*n + int64(c-'0')
			}
			if negative {
				n = -n
			}
			setAhead.Store(n)
		}
	}
	return setAhead.Load()
}
`

// buildWithClock builds authd with a clock that the test sets.
func buildWithClock(t *testing.T) (program string) {
	t.Helper()
	out, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		t.Skipf("there is no go to build authd with: %v", err)
	}
	dir, std := t.TempDir(), filepath.Join(strings.TrimSpace(string(out)), "src", "time")
	source, err := os.ReadFile(filepath.Join(std, "time.go"))
	if err != nil {
		t.Fatal(err)
	}
	const reads = "func Now() Time {\n\tsec, nsec, mono := runtimeNow()\n"
	changed := strings.Replace(string(source), reads, reads+"\tsec += ahead(mono)\n", 1)
	if changed == string(source) {
		t.Fatal("time.Now of this Go is another one: change reads to its beginning")
	}
	overlay := struct{ Replace map[string]string }{make(map[string]string)}
	for name, text := range map[string]string{"time.go": changed, "set_now.go": setNow} {
		copied := filepath.Join(dir, name)
		if err := os.WriteFile(copied, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		overlay.Replace[filepath.Join(std, name)] = copied
	}
	text, err := json.Marshal(overlay)
	if err != nil {
		t.Fatal(err)
	}
	list := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(list, text, 0o600); err != nil {
		t.Fatal(err)
	}
	program = filepath.Join(dir, "authd")
	began := time.Now()
	// Without optimization, which takes most of the time of a build of everything.
	build := exec.Command("go", "build", "-overlay="+list, "-gcflags=all=-N -l", "-ldflags=-w -s", "-o", program, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	t.Logf("built in %v", time.Since(began).Round(time.Second))
	return program
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
	err := os.WriteFile(m.file+".new", []byte(strconv.Itoa(int(ahead.Seconds()))), 0o600)
	if err == nil {
		err = os.Rename(m.file+".new", m.file)
	}
	if err != nil {
		m.t.Fatal(err)
	}
}

func (m *machine) command(args ...string) *exec.Cmd {
	cmd := authd(m.t.TempDir(), args...)
	cmd.Path, cmd.Args[0] = m.program, m.program
	cmd.Env = append(cmd.Env, clockFile+"="+m.file)
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
