//go:build unix

package standard_test

import (
	"strings"
	"syscall"
	"testing"

	"github.com/chassi-go/chassi/config"
)

// Listeners and a program's own settings that allow more descriptors than the process has
// are reported at start, with limit, settings and values.
func TestWarnsOfDescriptors(t *testing.T) {
	t.Parallel()
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil {
		t.Skipf("no limit of descriptors here: %v", err)
	}
	if limit.Cur != limit.Max {
		t.Errorf("Go has raised the soft limit to %d of %d", limit.Cur, limit.Max)
	}
	_, text := warnings(t, config.Options{Args: append([]string{"--nats.url=off"}, loopback[:2]...)}, func(s *assembled) { s.Descriptors("database.max_connections", 10, 24) })
	if limit.Cur >= 16384 && strings.Contains(text, "RLIMIT_NOFILE") {
		t.Errorf("a warning for the defaults at a limit of %d:\n%s", limit.Cur, text)
	}
	few := append([]string{"--http.max_connections=10", "--grpc.addr=off", "--admin.max_connections=10", "--nats.url=off"}, loopback[:2]...)
	_, text = warnings(t, config.Options{Args: few}, nil)
	if strings.Contains(text, "RLIMIT_NOFILE") {
		t.Errorf("a warning for few connections:\n%s", text)
	}
	_, text = warnings(t, config.Options{Args: few}, func(s *assembled) { s.Descriptors("database.max_connections", 7, 1<<30) })
	for _, want := range []string{`"level":"WARN"`, `"limit":"RLIMIT_NOFILE"`, `"needed":10737`, "http.max_connections=10 admin.max_connections=10 database.max_connections=7", "ulimit -n"} {
		if !strings.Contains(text, want) {
			t.Errorf("no %s in:\n%s", want, text)
		}
	}
}
