package main

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/chassi-go/chassi/internal/memlimit"
	"github.com/chassi-go/chassi/standard"
	"github.com/chassi-go/chassi/workpool"
)

// leastMemory is what docs/operations.md says that two hash workers need.
const leastMemory = 80 << 20

// controlGroup makes a control group with a memory limit and returns its folder. The test
// is skipped where this needs rights that it does not have.
func controlGroup(t *testing.T, limit int64) string {
	t.Helper()
	const v2, v1 = "/sys/fs/cgroup", "/sys/fs/cgroup/memory"
	top, settings := v1, []string{"memory.limit_in_bytes", "memory.memsw.limit_in_bytes"}
	if controllers, err := os.ReadFile(v2 + "/cgroup.subtree_control"); err == nil && strings.Contains(string(controllers), "memory") {
		top, settings = v2, []string{"memory.max", "memory.swap.max"}
	}
	dir := filepath.Join(top, "authd-test-"+rand.Text())
	if err := os.Mkdir(dir, 0o700); err != nil {
		t.Skipf("no control group can be made: %v: run the test as root on Linux, with control groups that can be written to", err)
	}
	t.Cleanup(func() {
		eventually(t, "the control group is empty", func() bool { return syscall.Rmdir(dir) == nil })
	})
	for i, setting := range settings {
		value := limit
		if setting == "memory.swap.max" {
			value = 0
		}
		if err := os.WriteFile(filepath.Join(dir, setting), fmt.Append(nil, value), 0o600); err != nil && i == 0 {
			t.Skipf("no memory limit can be set: %v", err)
		}
	}
	return dir
}

// build builds authd as `make build` does, and with what that has compiled: without the race
// detector, which multiplies memory.
func build(t *testing.T, flags ...string) (program string) {
	t.Helper()
	program = filepath.Join(t.TempDir(), "authd")
	args := append([]string{"build", "-trimpath", "-tags", "grpcnotrace", "-ldflags", "-s -w", "-o", program}, flags...)
	cmd := exec.Command("go", append(args, ".")...)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	return program
}

// R99: authd keeps to the memory limit of its container under a flood of logins, each of
// which takes 19 MiB.
func TestLoginsKeepToTheMemoryLimit(t *testing.T) {
	group, program, dir := controlGroup(t, leastMemory), build(t), t.TempDir()
	cmd := exec.Command("/bin/sh", "-c", `echo $$ >"$0" && exec "$@"`, filepath.Join(group, "cgroup.procs"), program, "serve", "--hash.workers=2",
		"--http.addr=127.0.0.1:0", "--admin.addr=127.0.0.1:0", "--grpc.addr=127.0.0.1:0", "--nats.url=embedded", "--nats.embedded.addr=127.0.0.1:0",
		"--rate_limit.peer=off", "--lockout.network=100000")
	cmd.Dir, cmd.Env = dir, []string{"AUTHD_SHUTDOWN_DRAIN=0s"}
	n := launchProgram(t, cmd)
	n.awaitLog(`"msg":"serving"`)
	n.awaitLog(fmt.Sprintf(`"limit_bytes":%d`, leastMemory))
	n.post("/v1/users", "", ada)

	const clients, each = 32, 6
	var ok, busy atomic.Int64
	var running sync.WaitGroup
	for range clients {
		running.Go(func() {
			for range each {
				switch status, _, err := n.try(http.MethodPost, "/v1/auth", "", ada); {
				case err != nil:
					t.Errorf("a login failed: %v", err)
					return
				case status == http.StatusOK:
					ok.Add(1)
				case status == http.StatusServiceUnavailable, status == http.StatusTooManyRequests:
					busy.Add(1)
				default:
					t.Errorf("a login: status %d", status)
				}
			}
		})
	}
	running.Wait()
	if !n.ready() || n.login(ada) == "" {
		t.Error("authd does not serve after the flood")
	}
	peak := ""
	for _, file := range []string{"memory.peak", "memory.max_usage_in_bytes"} {
		if text, err := os.ReadFile(filepath.Join(group, file)); err == nil {
			peak = string(bytes.TrimSpace(text))
		}
	}
	if n.stop(syscall.SIGTERM) != standard.ExitOK {
		t.Errorf("authd ended early:\n%s", n.text())
	}
	t.Logf("%d logins, %d refused, peak %s of %d bytes", ok.Load(), busy.Load(), peak, leastMemory)
}

// The passwords hashed at once fit the memory limit: the default is lowered, a setting that
// cannot fit is refused, and the message names the settings.
func TestHashWorkersFitTheMemoryLimit(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		set, cores int
		limit      int64
		workers    int
		refused    string
	}{
		{0, 8, 0, 8, ""},
		{0, 8, 512 << 20, 8, ""},
		{0, 8, 80 << 20, 2, ""},
		{0, 8, 60 << 20, 1, ""},
		{0, 1, 50 << 20, 0, "lower argon2.memory_kib or raise the limit"},
		{2, 8, 80 << 20, 2, ""},
		{3, 8, 80 << 20, 0, "3 concurrent password hashes (hash.workers) of 19456 KiB each (argon2.memory_kib) and 40 MiB for everything else need 97 MiB, but the memory limit is 80 MiB (memory.max): set hash.workers to at most 2"},
	} {
		var settings Config
		settings.Hash.Workers, settings.Password.Memory = c.set, 19456
		o := workpool.Options{Workers: c.cores}
		if c.set != 0 {
			o.Workers = c.set
		}
		logged := new(bytes.Buffer)
		got, err := settings.fitHashing(o, memlimit.Limit{Bytes: c.limit, File: "memory.max"}, slog.New(slog.NewTextHandler(logged, nil)))
		switch {
		case c.refused == "" && (err != nil || got.Workers != c.workers):
			t.Errorf("%+v: %d workers, %v", c, got.Workers, err)
		case c.refused != "" && (err == nil || !strings.Contains(err.Error(), c.refused)):
			t.Errorf("%+v: %v", c, err)
		case c.workers != 0 && c.workers < c.cores && c.set == 0 && !strings.Contains(logged.String(), "hash.workers"):
			t.Errorf("%+v: no warning: %s", c, logged)
		}
	}
}
