// Package browsertest controls a headless Chromium in tests. It uses the Chrome DevTools Protocol
// (https://chromedevtools.github.io/devtools-protocol) over a pair of pipes.
package browsertest

import (
	"context"
	"os"
	"os/exec"
	"testing"
	"time"
)

// programs contains the names of the programs for which Start searches PATH, in this order.
var programs = []string{"chromium", "chromium-browser", "google-chrome"}

// Browser is a running Chromium process.
type Browser struct{ connection *connection }

// Start starts Chromium and returns it. The program is the value of the environment variable
// CHASSI_TEST_CHROMIUM or, if that is not set, the first program in PATH of those in programs.
// Chromium is stopped at the end of the test. If no program is found, Start skips the test, or
// fails it if the environment variable CI is "true".
func Start(t testing.TB) *Browser {
	t.Helper()
	program := find(t)
	in, toBrowser := pipe(t)
	fromBrowser, out := pipe(t)
	cmd := exec.CommandContext(context.WithoutCancel(t.Context()), program, "--headless", //nolint:gosec // G204: the test's own choice
		"--remote-debugging-pipe", "--user-data-dir="+profile(t),
		"--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run", "--disable-background-networking", "about:blank")
	cmd.ExtraFiles = []*os.File{in, out} // descriptors 3 and 4
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	_, _ = in.Close(), out.Close()
	c := newConnection(toBrowser, fromBrowser)
	t.Cleanup(func() {
		kill := time.AfterFunc(time.Minute, func() { _ = cmd.Process.Kill() })
		defer kill.Stop()
		_ = c.call("", "Browser.close", nil, nil) // it may end before it responds
		_ = cmd.Wait()
		<-c.done
		_, _ = toBrowser.Close(), fromBrowser.Close()
	})
	return &Browser{connection: c}
}

// profile returns a new directory for the data of the browser, which is removed at the end of the
// test. A failure of the removal does not fail the test, because a process of the browser may
// briefly write to the directory after the end of the test.
func profile(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "chromium") //nolint:usetesting // see above
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

func pipe(t testing.TB) (r, w *os.File) {
	t.Helper()
	r, w, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	return r, w
}

func find(t testing.TB) string {
	t.Helper()
	if path := os.Getenv("CHASSI_TEST_CHROMIUM"); path != "" {
		return path
	}
	for _, name := range programs {
		if path, err := exec.LookPath(name); err == nil {
			return path
		}
	}
	const reason = "no Chromium in PATH; install it, or name its program in CHASSI_TEST_CHROMIUM"
	if os.Getenv("CI") == "true" {
		t.Fatal(reason)
	}
	t.Skip(reason)
	return ""
}
