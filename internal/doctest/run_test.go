package main

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// fakeServer is an authd that says it is ready by the file "up", and by
// the file "stopped" that it was stopped as asked.
const fakeServer = `#!/bin/sh
trap 'rm -f up; echo "$2" >>stopped; exit 0' TERM INT
echo "listening $2"
touch up
while :; do sleep 0.05; done
`

// workplace returns a folder with the fake server, and the URL that is ready while it runs.
func workplace(t *testing.T) (dir, readyURL string) {
	t.Helper()
	dir = t.TempDir()
	if err := os.Mkdir(filepath.Join(dir, "bin"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(dir, "bin", "authd"), []byte(fakeServer), 0o700); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		if _, err := os.Stat(filepath.Join(dir, "up")); err != nil {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
	}))
	t.Cleanup(func() {
		server.Close()
		http.DefaultClient.CloseIdleConnections()
	})
	return dir, server.URL
}

func runPage(t *testing.T, dir, readyURL, session string) error {
	t.Helper()
	steps, err := parse("p.md", "```console\n"+session+"\n```\n")
	if err != nil {
		t.Fatal(err)
	}
	return run(steps, dir, readyURL, io.Discard)
}

func TestRunSharesOneShell(t *testing.T) {
	t.Parallel()
	dir, readyURL := workplace(t)
	err := runPage(t, dir, readyURL, strings.Join([]string{
		`$ WORD=hello; mkdir sub && cd sub`,
		`$ printf "$WORD, %s" you`,
		`hello, ...`,
		`$ cat`, // an input that never ends would hang here
		`$ cat <<EOF`,
		`> one`,
		`> EOF`,
		`one`,
		`$ sh -c 'echo bad >&2; exit 7'`,
		`bad`,
		`$ echo $?`,
		`7`,
		`$ basename $PWD`,
		`sub`,
	}, "\n"))
	if err != nil {
		t.Error(err)
	}
}

func TestRunReports(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct{ session, want string }{
		"a failing command":       {"$ true\n$ false\n$ true", "p.md:3: $ false\nexit status 1"},
		"a failing subshell":      {"$ (exit 3)", "exit status 3"},
		"another output":          {"$ echo a\nb", "documented:\nb\n\nprinted:\na\n"},
		"a shell that ends":       {"$ exit 0", "the shell exited"},
		"a server that ends":      {"$ : authd serve; exit 1", "the server exited"},
		"a server that says else": {"$ authd serve one\nlistening two", "did not print"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			dir, readyURL := workplace(t)
			err := runPage(t, dir, readyURL, c.session)
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("reported %v, want %q", err, c.want)
			}
		})
	}
}

func TestRunServes(t *testing.T) {
	t.Parallel()
	dir, readyURL := workplace(t)
	err := runPage(t, dir, readyURL, strings.Join([]string{
		`$ authd serve one`,
		`listening one`,
		`$ ls up`,
		`up`,
		`$ bin/authd serve two`, // takes the place of the first
		`$ cat stopped`,
		`one`,
	}, "\n"))
	if err != nil {
		t.Fatal(err)
	}
	stopped, err := os.ReadFile(filepath.Join(dir, "stopped"))
	if err != nil || string(stopped) != "one\ntwo\n" {
		t.Errorf("after the page: %q, %v; want both servers stopped as asked", stopped, err)
	}
}

func TestRunRefusesAnotherServer(t *testing.T) {
	t.Parallel()
	dir, readyURL := workplace(t)
	if err := os.WriteFile(filepath.Join(dir, "up"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	err := runPage(t, dir, readyURL, "$ authd serve")
	if err == nil || !strings.Contains(err.Error(), "another program responds") {
		t.Errorf("reported %v", err)
	}
}

// A page that breaks off leaves no program behind, which would answer in the place of that of
// the next page.
func TestRunEndsBackgroundJobs(t *testing.T) {
	t.Parallel()
	dir, readyURL := workplace(t)
	err := runPage(t, dir, readyURL, "$ mkfifo end\n$ sh -c 'exec sleep 600 >end' &\n$ exec 3<end\n$ false")
	if err == nil {
		t.Fatal("a command that fails is accepted")
	}
	end, err := os.OpenFile(filepath.Join(dir, "end"), os.O_RDONLY|syscall.O_NONBLOCK, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer end.Close()
	if _, err := io.ReadAll(end); err != nil { // until nothing has it open for writing
		t.Error(err)
	}
}
