package main

import (
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/chassi-go/chassi/config"
)

// analyze runs systemd-analyze on deploy/authd.service, with a program that exists here.
func analyze(t *testing.T, args ...string) (string, error) {
	t.Helper()
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatal("systemd-analyze is not installed")
		}
		t.Skip("systemd-analyze is not installed")
	}
	unit := filepath.Join(t.TempDir(), "authd.service")
	text := strings.ReplaceAll(read(t, "../../deploy/authd.service"), "/usr/local/bin/authd", "/bin/true")
	if err := os.WriteFile(unit, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	out, err := exec.CommandContext(t.Context(), "systemd-analyze", append(args, unit)...).CombinedOutput()
	return string(out), err
}

func read(t *testing.T, file string) string {
	t.Helper()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

func TestUnitIsValid(t *testing.T) {
	t.Parallel()
	if out, err := analyze(t, "verify", "--man=no"); err != nil || strings.Contains(out, "authd.service") {
		t.Errorf("%v: %s", err, out)
	}
}

// The Go runtime exits with 2, which is also the code for an invalid configuration, after a panic
// in a goroutine that nothing recovers, concurrent writes to a map, and without memory.
func TestUnitRestartsAfterACrash(t *testing.T) {
	t.Parallel()
	unit := read(t, "../../deploy/authd.service")
	if !strings.Contains(unit, "\nRestart=on-failure\n") || regexp.MustCompile(`(?m)^(RestartPreventExitStatus|SuccessExitStatus)=.*\b2\b`).MatchString(unit) {
		t.Error("systemd does not start authd again after a fatal error of the Go runtime")
	}
}

func TestUnitIsHardened(t *testing.T) {
	t.Parallel()
	out, err := analyze(t, "security", "--offline=true", "--no-pager")
	found := regexp.MustCompile(`Overall exposure level for \S+: (\S+)`).FindStringSubmatch(out)
	if err != nil || found == nil {
		t.Fatalf("%v: %s", err, out)
	}
	if level, err := strconv.ParseFloat(found[1], 64); err != nil || level >= 2 {
		t.Errorf("the exposure level is %s, want less than 2.0", found[1])
	}
}

// Whatever ends a program that does not stop must leave it the time that it takes itself.
func TestStopFitsWhereAuthdIsRun(t *testing.T) {
	t.Parallel()
	c := defaults()
	if _, err := config.Load(c, config.Options{Name: "authd", Args: []string{"--config=" + os.DevNull}}); err != nil {
		t.Fatal(err)
	}
	most := c.Shutdown.Drain + 2*c.Shutdown.Grace
	for file, pattern := range map[string]string{
		"../../deploy/authd.service": `(?m)^TimeoutStopSec=(\d+)$`,
		"../../deploy/compose.yaml":  `stop_grace_period: (\d+)s`,
	} {
		found := regexp.MustCompile(pattern).FindStringSubmatch(read(t, file))
		if found == nil {
			t.Errorf("%s has no %s", file, pattern)
			continue
		}
		if seconds, err := strconv.Atoi(found[1]); err != nil || time.Duration(seconds)*time.Second < most {
			t.Errorf("%s gives %s s, and a stop may take %v", file, found[1], most)
		}
	}
	// Kubernetes' default; calls in flight have ended by then.
	if sum := c.Shutdown.Drain + c.Shutdown.Grace; sum >= 30*time.Second {
		t.Errorf("shutdown.drain and shutdown.grace are %v together, want less than 30 s", sum)
	}
}

// systemd is notified that the program runs, also while the database is unavailable.
func TestNotifiesSystemdBeforeTheDatabaseResponds(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(dir, "notify"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	cmd := authd(dir, "serve", "--http.addr=127.0.0.1:0", "--admin.addr=127.0.0.1:0", "--grpc.addr=off",
		"--database.url=postgres://nobody@127.0.0.1:1/nothing")
	cmd.Env = append(cmd.Env, "NOTIFY_SOCKET="+filepath.Join(dir, "notify"))
	n := launchProgram(t, cmd)
	if err := socket.SetReadDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	message := make([]byte, 100)
	size, err := socket.Read(message)
	if err != nil || string(message[:size]) != "READY=1" {
		t.Errorf("%q, %v", message[:size], err)
	}
	if n.ready() {
		t.Error("ready without a database")
	}
}
