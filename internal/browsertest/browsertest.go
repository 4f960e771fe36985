// Package browsertest drives a headless Chromium in tests, over the Chrome DevTools
// Protocol on a pair of pipes: https://chromedevtools.github.io/devtools-protocol.
package browsertest

import (
	"context"
	"os"
	"os/exec"
	"testing"
	"time"
)

// programs are the names that Chromium is installed under.
var programs = []string{"chromium", "chromium-browser", "google-chrome"}

// Browser is a running Chromium.
type Browser struct{ connection *connection }

// Start starts Chromium: the program that CHASSI_TEST_CHROMIUM names, or the first of its
// usual names in PATH. Chromium ends with the test. If there is no Chromium, Start skips the test,
// or fails it if the variable CI is "true".
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

// profile returns a directory for the data of the browser. A process of the browser may briefly
// write to it after the end of the test; this does not fail the test.
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
