package main

import (
	"bytes"
	"compress/gzip"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/chassi-go/chassi/standard"
)

// R76: no response of the admin listener contains a secret, from any source.
func TestAdminListenerShowsNoSecret(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	master := hex.EncodeToString([]byte(rand.Text() + "123456"))
	file := filepath.Join(dir, "url")
	if err := os.WriteFile(file, []byte("redis://:canary-redis@127.0.0.1:1/0"), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := authd(dir, "serve", "--http.addr=127.0.0.1:0", "--admin.addr=127.0.0.1:0", "--grpc.addr=127.0.0.1:0", "--nats.embedded.addr=127.0.0.1:0",
		"--database.url=postgres://authd:canary-database@127.0.0.1:1/authd", "--token.master_key", master, "--amqp.url=amqp://u:canary-amqp@127.0.0.1:1/",
		"--sentry.dsn=http://canary-sentry@127.0.0.1:1/1", "--trace.endpoint=http://u:canary-trace@127.0.0.1:1", "--trace.exporter=otlp-http")
	cmd.Env = append(cmd.Env, "AUTHD_REDIS_URL_FILE="+file)
	n := launchProgram(t, cmd)
	n.awaitLog(`"component":"database"`)

	shown := map[string]string{"log": n.text()}
	paths := []string{
		"/metrics", "/healthz", "/readyz", "/debug/pprof/", "/debug/pprof/cmdline", "/debug/pprof/symbol", "/debug/pprof/profile?seconds=1", "/debug/pprof/trace?seconds=1",
		"/debug/vars", "/nowhere?canary",
	}
	for _, profile := range []string{"goroutine", "heap", "allocs", "block", "mutex", "threadcreate"} {
		paths = append(paths, "/debug/pprof/"+profile, "/debug/pprof/"+profile+"?debug=1", "/debug/pprof/"+profile+"?debug=2")
	}
	for _, path := range paths {
		shown[path] = n.ask(path)
	}
	for path, text := range shown {
		for _, secret := range []string{"canary", master, master[:12]} {
			if strings.Contains(text, secret) {
				t.Errorf("%s shows %s:\n%.2000s", path, secret, text)
			}
		}
	}
	for path, want := range map[string]string{
		"/debug/pprof/cmdline": "--token.master_key\x00***\x00--amqp.url=amqp://u:***@127.0.0.1:1/", "/readyz": `"status":"failing"`,
		"/debug/pprof/goroutine?debug=2": "goroutine 1 [", "/metrics": "go_goroutines",
		"log": "AUTHD_TOKEN_MASTER_KEY_FILE",
	} {
		if !strings.Contains(shown[path], want) {
			t.Errorf("%s: no %q in:\n%.2000s", path, want, shown[path])
		}
	}
	if !strings.Contains(shown["/readyz"], `"redis":{"status":"degraded","error":"redis is not available: `) {
		t.Errorf("Redis was never there:\n%s", shown["/readyz"])
	}
}

// ask returns the uncompressed response of the admin listener.
func (n *node) ask(path string) string {
	n.t.Helper()
	response, err := http.Get(n.admin + path)
	if err != nil {
		n.t.Fatal(err)
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		n.t.Fatal(err)
	}
	if packed, err := gzip.NewReader(bytes.NewReader(text)); err == nil {
		if text, err = io.ReadAll(packed); err != nil {
			n.t.Fatal(err)
		}
	}
	return string(text)
}

// R76: a page that a browser shows on this machine cannot read the admin listener.
func TestAdminListenerRespondsToNoWebPage(t *testing.T) {
	t.Parallel()
	n := start(t, t.TempDir(), "--admin.hosts=metrics.internal")
	for _, c := range []struct {
		host, site string
		want       int
	}{
		{"", "", 200}, {"localhost:1", "", 200}, {"metrics.internal:8081", "", 200}, {"10.0.0.7:8081", "", 200},
		{"evil.example:8081", "", 421}, {"", "cross-site", 403},
	} {
		request, err := http.NewRequest(http.MethodGet, n.admin+"/metrics", nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Host = c.host
		request.Header.Set("Sec-Fetch-Site", c.site)
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		_ = response.Body.Close()
		if response.StatusCode != c.want {
			t.Errorf("host %q, site %q: %d, want %d", c.host, c.site, response.StatusCode, c.want)
		}
	}
}

// freePort is one that nothing listened on a moment ago.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	_, port, err := net.SplitHostPort(l.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	return port
}

// The health check of the container image finds the admin listener wherever it is, past
// proxies of the environment, and does so with the variables of the image alone.
func TestHealthcheckFindsTheListener(t *testing.T) {
	t.Parallel()
	for _, host := range []string{"127.0.0.1", "localhost", "", "0.0.0.0", "[::]", "[::1]"} {
		addr := host + ":" + freePort(t)
		dir := t.TempDir()
		n := start(t, dir, "--admin.addr="+addr)
		cmd := authd(dir, "healthcheck")
		cmd.Env = append(cmd.Env, "AUTHD_ADMIN_ADDR="+addr, "HTTP_PROXY=http://127.0.0.1:1", "http_proxy=http://127.0.0.1:1")
		if out, err := cmd.CombinedOutput(); err != nil || string(out) != "ready\n" {
			t.Errorf("%s: %v: %s", addr, err, out)
		}
		n.stop(syscall.SIGTERM)
		out, err := authd(dir, "healthcheck", "--admin.addr="+addr).CombinedOutput()
		if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != standard.ExitFailed || !strings.Contains(string(out), "not ready") {
			t.Errorf("%s, stopped: %v: %s", addr, err, out)
		}
	}
	for _, addr := range []string{"127.0.0.1:0", "127.0.0.1", ":"} {
		out, err := authd(t.TempDir(), "healthcheck", "--admin.addr="+addr).CombinedOutput()
		if exit, ok := errors.AsType[*exec.ExitError](err); !ok || exit.ExitCode() != standard.ExitUsage || !strings.Contains(string(out), "admin.addr") {
			t.Errorf("%s: %v: %s", addr, err, out)
		}
	}
}

// R82: the database and what lies beside it are for the owner alone, whatever the umask, and
// authd warns of one that is not.
func TestDatabaseFilesArePrivate(t *testing.T) {
	t.Parallel()
	for _, umask := range []string{"000", "077"} {
		dir := t.TempDir()
		cmd := authd(dir, "serve", "--http.addr=127.0.0.1:0", "--admin.addr=127.0.0.1:0", "--grpc.addr=off", "--nats.url=off")
		cmd.Args = append([]string{"sh", "-c", "umask " + umask + `; exec "$0" "$@"`, cmd.Path}, cmd.Args[1:]...)
		cmd.Path = "/bin/sh"
		n := launchProgram(t, cmd)
		n.awaitLog(`"server":"http"`)
		if strings.Contains(n.text(), `"exposure"`) {
			t.Errorf("umask %s:\n%s", umask, n.text())
		}
		found := 0
		for _, name := range []string{"authd.db", "authd.db-wal", "authd.db-shm"} {
			info, err := os.Stat(filepath.Join(dir, name))
			if err == nil && info.Mode().Perm() != 0o600 {
				t.Errorf("umask %s: %s has mode %04o", umask, name, info.Mode().Perm())
			}
			if err == nil {
				found++
			} else if !errors.Is(err, fs.ErrNotExist) {
				t.Error(err)
			}
		}
		if found != 3 {
			t.Errorf("umask %s: %d files, want database, log and shared memory", umask, found)
		}
		n.stop(syscall.SIGTERM)

		if err := os.Chmod(filepath.Join(dir, "authd.db"), 0o644); err != nil {
			t.Fatal(err)
		}
		n = start(t, dir)
		if !strings.Contains(n.text(), `"setting":"database.url","fix":"chmod 600 `) {
			t.Errorf("no warning of a database that all can read:\n%s", n.text())
		}
		n.stop(syscall.SIGTERM)
	}
}

// A secret that changes, as Kubernetes changes one, is read, and the log says that it needs
// a restart. A secret that cannot be used leaves the old settings.
func TestReloadWatchesSecretFiles(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	version := func(name, key string) {
		data := filepath.Join(dir, name)
		if err := errors.Join(os.Mkdir(data, 0o700), os.WriteFile(filepath.Join(data, "master_key"), []byte(key), 0o600),
			os.Symlink(name, filepath.Join(dir, "new")), os.Rename(filepath.Join(dir, "new"), filepath.Join(dir, "..data"))); err != nil {
			t.Fatal(err)
		}
	}
	version("..1", newMasterKey())
	file := filepath.Join(dir, "master_key")
	if err := os.Symlink("..data/master_key", file); err != nil {
		t.Fatal(err)
	}
	cmd := authd(t.TempDir(), serveArgs("--nats.url=off")...)
	cmd.Env = append(cmd.Env, "AUTHD_TOKEN_MASTER_KEY_FILE="+file)
	n := launchProgram(t, cmd)
	n.awaitLog(`"server":"http"`)
	version("..2", newMasterKey())
	n.awaitLog(`needs a restart","service":"authd","setting":"token.master_key","value":"***"`)
	n.awaitLog(`"configuration reloaded","service":"authd","why":"` + file + ` changed"`)
	version("..3", "short")
	n.awaitLog("the old one stays")
	if code := n.stop(os.Interrupt); code != standard.ExitOK {
		t.Errorf("exit code %d", code)
	}
}
