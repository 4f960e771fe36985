package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"time"
)

// build builds authd in a directory with the flags of `make build`, so that it can use the same
// build cache.
func build(ctx context.Context, root, dir string, flags ...string) (program string, err error) {
	program = filepath.Join(dir, "authd")
	args := append([]string{"build", "-trimpath", "-tags", "grpcnotrace", "-o", program}, flags...)
	cmd := exec.CommandContext(ctx, "go", append(args, "./cmd/authd")...) //nolint:gosec // the flags are those of this package
	cmd.Dir, cmd.Env = root, append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return "", fmt.Errorf("build authd: %w\n%s", err, out)
	}
	return program, nil
}

// The build overlay of the standard library and authd: time.Now is ahead by the number of
// seconds in the file that an environment variable names.
const (
	clockVariable = "FAULTS_CLOCK_FILE"
	nowLine       = "\tsec, nsec, mono := runtimeNow()\n"
	stepFile      = `package time

import "sync/atomic"

var faultsStep atomic.Int64

// FaultsStep sets the clock of the process ahead by so many seconds.
func FaultsStep(seconds int64) { faultsStep.Store(seconds) }
`
	readFile = `package main

import (
	"os"
	"strconv"
	"time"
)

func init() {
	go func() {
		for {
			text, _ := os.ReadFile(os.Getenv("` + clockVariable + `"))
			if seconds, err := strconv.ParseInt(string(text), 10, 64); err == nil {
				time.FaultsStep(seconds)
			}
			time.Sleep(10 * time.Millisecond)
		}
	}()
}
`
)

// buildClock builds an authd whose clock can be set. This recompiles all packages that use the
// time, which takes minutes the first time.
func buildClock(ctx context.Context, root, dir string) (program string, err error) {
	out, err := exec.CommandContext(ctx, "go", "env", "GOROOT").Output()
	if err != nil {
		return "", fmt.Errorf("go env GOROOT: %w", err)
	}
	library := filepath.Join(strings.TrimSpace(string(out)), "src", "time")
	text, err := os.ReadFile(filepath.Join(library, "time.go"))
	if err != nil {
		return "", err
	}
	before, after, found := bytes.Cut(text, []byte("func Now() Time {\n"+nowLine))
	if !found {
		return "", errors.New("time.Now of this Go is not as expected: see nowLine in load/faults/clock.go")
	}
	stepped := string(before) + "func Now() Time {\n" + nowLine + "\tsec += faultsStep.Load()\n" + string(after)
	replace := make(map[string]string)
	for i, f := range []struct{ path, text string }{
		{filepath.Join(library, "time.go"), stepped},
		{filepath.Join(library, "faults_step.go"), stepFile},
		{filepath.Join(root, "cmd", "authd", "faults_clock.go"), readFile},
	} {
		replace[f.path] = filepath.Join(dir, "overlay"+strconv.Itoa(i)+".go")
		if err := os.WriteFile(replace[f.path], []byte(f.text), 0o600); err != nil {
			return "", err
		}
	}
	overlay, err := json.Marshal(map[string]any{"Replace": replace})
	if err != nil {
		return "", err
	}
	file := filepath.Join(dir, "overlay.json")
	if err := os.WriteFile(file, overlay, 0o600); err != nil {
		return "", err
	}
	return build(ctx, root, dir, "-overlay", file)
}

// useClock gives a cell a node whose clock can be set, on a PostgreSQL whose clock does not
// change.
func (w *world) useClock(ctx context.Context) (err error) {
	if w.program, err = w.clockProgram(); err != nil {
		return err
	}
	w.env = append(w.env, clockVariable+"="+w.clockFile())
	return errors.Join(w.stepClock(0), w.usePostgres(ctx))
}

func (w *world) clockFile() string { return filepath.Join(w.dir, "clock") }

// stepClock sets the node's clock ahead of the machine's.
func (w *world) stepClock(by time.Duration) error {
	temporary := w.clockFile() + ".new"
	if err := os.WriteFile(temporary, []byte(strconv.Itoa(int(by/time.Second))), 0o600); err != nil {
		return err
	}
	return os.Rename(temporary, w.clockFile())
}
