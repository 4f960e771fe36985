package main

import (
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/chassi-go/chassi/standard"
)

// serves fails the test unless the node makes an account and logs it in.
func (n *node) serves(email string) {
	n.t.Helper()
	who := object{"email": email, "password": aPassword}
	if status, response := n.post("/v1/users", "", who); status != http.StatusAccepted {
		n.t.Errorf("sign-up: %d %v", status, response)
	}
	if n.login(who) == "" || !n.ready() {
		n.t.Error("the node does not serve")
	}
}

// Whoever reads the log may end: the node serves on, counts the lines that are lost, and
// ends in order. Go ends a program whose standard error is a broken pipe.
func TestLogReaderCloses(t *testing.T) {
	t.Parallel()
	n := start(t, t.TempDir())
	if err := n.stderr.Close(); err != nil {
		t.Fatal(err)
	}
	n.serves("ada@example.org")
	eventually(t, "lost lines are counted", func() bool {
		value := n.metric("log_dropped_lines_total")
		return value != "" && value != "0"
	})
	if code := n.stop(syscall.SIGTERM); code != standard.ExitOK {
		t.Errorf("exit code %d, want %d", code, standard.ExitOK)
	}
}

// A file that takes no more, as on a full disk, costs log lines and nothing else.
func TestLogOnAFullDisk(t *testing.T) {
	t.Parallel()
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skipf("no device that is full: %v: run the test on Linux", err)
	}
	defer full.Close()
	n := &node{t: t, http: "http://127.0.0.1:" + freePort(t), admin: "http://127.0.0.1:" + freePort(t), ended: make(chan struct{})}
	args := append([]string{
		"serve", "--nats.url=off", "--grpc.addr=off", "--http.addr=" + strings.TrimPrefix(n.http, "http://"),
		"--admin.addr=" + strings.TrimPrefix(n.admin, "http://"),
	}, cheap...)
	n.cmd = authd(t.TempDir(), args...)
	n.cmd.Stderr = full
	if err := n.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = n.cmd.Process.Kill(); _ = n.cmd.Wait() })
	eventually(t, "the node is ready", func() bool {
		response, err := http.Get(n.admin + "/readyz")
		if err != nil {
			return false
		}
		defer response.Body.Close()
		return response.StatusCode == http.StatusOK
	})
	n.serves("ada@example.org")
	if value := n.metric("log_dropped_lines_total"); value == "" || value == "0" {
		t.Errorf("log_dropped_lines_total is %q", value)
	}
	close(n.ended)
	if code := n.stop(syscall.SIGTERM); code != standard.ExitOK {
		t.Errorf("exit code %d, want %d", code, standard.ExitOK)
	}
}

// A configuration file that is gone, or cannot be read, changes nothing while the node runs,
// and is reported when it is asked to read it.
func TestConfigurationFileIsDeleted(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "authd.yaml")
	if err := os.WriteFile(file, []byte("log:\n  level: debug\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	n := start(t, dir)
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if err := n.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	n.awaitLog("the configuration file authd.yaml was deleted")
	if strings.Contains(n.text(), "setting changed") {
		t.Errorf("settings changed:\n%s", n.text())
	}
	if err := os.Mkdir(file, 0o700); err != nil { // cannot be read, even by root
		t.Fatal(err)
	}
	n.awaitLog("authd.yaml: is a directory")
	n.serves("ada@example.org")
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte("log:\n  level: info\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	n.awaitLog(`"setting":"log.level","value":"info"`)
}

// SIGHUP does not end a node that has not started yet.
func TestHangupDuringTheStart(t *testing.T) {
	t.Parallel()
	p, url := behindProxy(t)
	n := launch(t, t.TempDir(), "--database.url="+url)
	if err := n.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	p.Open()
	n.awaitLog(`"msg":"serving"`)
	n.awaitLog(`"why":"SIGHUP"`)
}

// R95's sibling: a database file that was moved away while it is in use still takes rows,
// which would be lost. The node becomes unready instead, and recovers with the file.
func TestDatabaseFileIsDeleted(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	n := start(t, dir)
	n.serves("ada@example.org")
	file, away := filepath.Join(dir, "authd.db"), filepath.Join(dir, "away")
	if err := os.Rename(file, away); err != nil {
		t.Fatal(err)
	}
	eventually(t, "readiness says no", func() bool { return !n.ready() })
	if _, text := n.readiness(); !strings.Contains(text, "the database file was deleted or moved") {
		t.Errorf("the reason is missing: %s", text)
	}
	for _, path := range []string{"/v1/users", "/v1/auth"} {
		if status, response := n.post(path, "", object{"email": "eve@example.org", "password": aPassword}); status != http.StatusServiceUnavailable {
			t.Errorf("%s: %d %v, want 503", path, status, response)
		}
	}
	if _, err := os.Stat(file); err == nil {
		t.Error("an empty database was made in its place")
	}
	if live := n.get("/healthz"); live != http.StatusOK {
		t.Errorf("healthz %d, want 200", live)
	}
	if err := os.Rename(away, file); err != nil {
		t.Fatal(err)
	}
	eventually(t, "readiness says yes", n.ready)
	n.serves("eve@example.org")
}
