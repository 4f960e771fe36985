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

// setNow goes into a copy of package time, whose Now adds it: a clock that is set while the
// program runs, as a machine's is. The monotonic clock stays as it is. The runtime calls
// Now where nothing may wait.
const setNow = `package time

import (
	"sync/atomic"
	_ "unsafe"
)

//go:linkname setAhead
var setAhead int64

func ahead() int64 { return atomic.LoadInt64(&setAhead) }
`

// setMain goes into a copy of this package: it follows the file.
const setMain = `package main

import (
	"os"
	"strconv"
	"sync/atomic"
	"time"
	_ "unsafe"
)

//go:linkname setAhead time.setAhead
var setAhead int64

func init() {
	read := func() {
		text, _ := os.ReadFile(os.Getenv("` + clockFile + `"))
		if seconds, err := strconv.ParseInt(string(text), 10, 64); err == nil {
			atomic.StoreInt64(&setAhead, seconds)
		}
	}
	read()
	go func() {
		for {
			time.Sleep(10 * time.Millisecond)
			read()
		}
	}()
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
	changed := strings.Replace(string(source), reads, reads+"\tsec += ahead()\n", 1)
	if changed == string(source) {
		t.Fatal("time.Now of this Go is another one: change reads to its beginning")
	}
	overlay := struct{ Replace map[string]string }{make(map[string]string)}
	here, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	for file, text := range map[string]string{
		filepath.Join(std, "time.go"): changed, filepath.Join(std, "set_now.go"): setNow, filepath.Join(here, "set_main.go"): setMain,
	} {
		copied := filepath.Join(dir, filepath.Base(file))
		if err := os.WriteFile(copied, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		overlay.Replace[file] = copied
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
	cmd := exec.Command(m.program, args...)
	cmd.Dir = m.t.TempDir()
	cmd.Env = append(os.Environ(), clockFile+"="+m.file, "AUTHD_SHUTDOWN_DRAIN=0s")
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
