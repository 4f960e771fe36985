package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"time"

	"github.com/chassi-go/chassi/internal/setclock"
)

// build builds authd in dir and returns the path of the program. root is the root directory of the
// repository. In addition to flags, build uses the flags of `make build`, so that both can use the
// same build cache.
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

// buildClock builds an authd whose clock can be set, in dir, and returns the path of the program.
func buildClock(ctx context.Context, root, dir string) (program string, err error) {
	overlay, err := setclock.Overlay(dir, filepath.Join(root, "cmd", "authd"), "main")
	if err != nil {
		return "", err
	}
	return build(ctx, root, dir, overlay)
}

// useClock configures a node whose clock can be set, and a PostgreSQL database, whose clock is not
// affected.
func (w *world) useClock(ctx context.Context) (err error) {
	if w.program, err = w.clockProgram(); err != nil {
		return err
	}
	w.env = append(w.env, setclock.Variable+"="+w.clockFile())
	return errors.Join(w.stepClock(0), w.usePostgres(ctx))
}

func (w *world) clockFile() string { return filepath.Join(w.dir, "clock") }

// stepClock sets the node's clock to the machine's clock plus by.
func (w *world) stepClock(by time.Duration) error { return setclock.Set(w.clockFile(), by) }
