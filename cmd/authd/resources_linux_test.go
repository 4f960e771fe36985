package main

import (
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/chassi-go/chassi/internal/dbtest"
	"github.com/chassi-go/chassi/standard"
)

// Without free file descriptors new connections wait, calls over open ones are answered or
// refused as unavailable, and all heals when descriptors are free again.
func TestDescriptorsRunOut(t *testing.T) {
	t.Parallel()
	dbtest.Engines(t, func(t *testing.T, url string) {
		cmd := authd(t.TempDir(), append([]string{
			"serve", "--http.addr=127.0.0.1:0", "--admin.addr=127.0.0.1:0", "--grpc.addr=127.0.0.1:0", "--nats.url=off",
			"--rate_limit.peer=off", "--database.url=" + url,
		}, cheap...)...)
		cmd.Args = append([]string{"sh", "-c", `ulimit -n 60; exec "$0" "$@"`, cmd.Path}, cmd.Args[1:]...)
		cmd.Path = "/bin/sh"
		n := launchProgram(t, cmd)
		n.awaitLog(`"msg":"serving"`)
		n.awaitLog(`"limit":"RLIMIT_NOFILE","value":60`)
		n.awaitLog("database.max_connections=10")
		n.post("/v1/users", "", ada) // over a connection that stays

		var held []net.Conn
		for _, addr := range []string{strings.TrimPrefix(n.http, "http://"), n.grpc} {
			for range 60 {
				c, err := net.Dial("tcp", addr)
				if err != nil {
					t.Fatal(err)
				}
				held = append(held, c)
			}
		}
		n.awaitLog(`"connections cannot be accepted","service":"authd","server":"http"`)
		for range 20 {
			status, response := n.post("/v1/auth", "", ada)
			if status != http.StatusOK && status != http.StatusServiceUnavailable {
				t.Errorf("login without free descriptors: %d %v, want 200 or 503", status, response)
			}
		}
		for _, c := range held {
			c.Close()
		}
		n.awaitLog(`"connections are accepted again","service":"authd","server":"http"`)
		eventually(t, "the node is ready", n.ready)
		n.serves("eve@example.org")
		if code := n.stop(syscall.SIGTERM); code != standard.ExitOK {
			t.Errorf("exit code %d", code)
		}
	})
}

// A backup to a disk that is full fails, says why, and leaves nothing behind; the node is
// not disturbed.
func TestBackupToAFullDisk(t *testing.T) {
	t.Parallel()
	small := filepath.Join(t.TempDir(), "small")
	if err := os.Mkdir(small, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := mountSmall(small); err != nil {
		t.Skipf("no small file system: %v: run the test as root on Linux", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(small, 0) })
	dir := t.TempDir()
	n := start(t, dir)
	n.serves("ada@example.org")
	fails(t, dir, []string{"backup", filepath.Join(small, "authd.backup")}, "full")
	if left, _ := os.ReadDir(small); len(left) != 0 {
		t.Errorf("%v was left behind", left)
	}
	n.serves("eve@example.org")
}

// authd needs nothing but its program and a folder for the database: no /proc, no /tmp, no
// time zones, no /etc.
func TestServesInAnEmptyRoot(t *testing.T) {
	t.Parallel()
	program, root := build(t), t.TempDir()
	if os.Geteuid() != 0 {
		t.Skip("chroot needs root: run the test as root")
	}
	if err := os.Mkdir(filepath.Join(root, "data"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Rename(program, filepath.Join(root, "authd")); err != nil {
		t.Fatal(err)
	}
	args := append([]string{"serve", "--http.addr=127.0.0.1:0", "--admin.addr=127.0.0.1:0", "--grpc.addr=127.0.0.1:0", "--nats.url=off"}, cheap...)
	cmd := inRoot(root, args...)
	n := launchProgram(t, cmd)
	n.awaitLog(`"msg":"serving"`)
	n.serves("ada@example.org")
	if !strings.Contains(n.text(), `Z","level":"INFO"`) {
		t.Errorf("times are not in UTC:\n%s", n.text())
	}
	for _, c := range [][]string{{"backup", "authd.backup"}, {"user", "list"}, {"export"}, {"restore", "authd.backup", "--database.url=sqlite:restored.db"}} {
		if out, err := inRoot(root, c...).CombinedOutput(); err != nil {
			t.Errorf("%v: %v\n%s", c, err, out)
		}
	}
	n.metric("go_goroutines")
	if code := n.stop(syscall.SIGTERM); code != standard.ExitOK {
		t.Errorf("exit code %d", code)
	}
}

// mountSmall mounts a file system of 64 KiB.
func mountSmall(dir string) error { return syscall.Mount("none", dir, "tmpfs", 0, "size=64k") }

// inRoot returns a command of the program authd in root, which is all that it sees.
func inRoot(root string, args ...string) *exec.Cmd {
	return &exec.Cmd{
		Path: "/authd", Args: append([]string{"authd"}, args...), Dir: "/data",
		Env: []string{"TZ=Nowhere/Land", "LC_ALL=xx_XX.UTF-8", "TMPDIR=/none", "AUTHD_SHUTDOWN_DRAIN=0s"}, SysProcAttr: &syscall.SysProcAttr{Chroot: root},
	}
}
