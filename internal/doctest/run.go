package main

import (
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"
)

// startup is the maximum time until a server is ready, including its compilation.
const startup = 3 * time.Minute

var serves = regexp.MustCompile(`(^|[\s/])(make run|authd serve)\b`)

// runner runs the steps of one page.
type runner struct {
	shell    *shell
	readyURL string
	log      string // the file to which the output of the server is written
	server   string // process ID and process group ID of the server; "" if no server runs
}

// run runs the steps in dir and writes a line to report for each step that succeeds. It stops at
// the first step that fails or whose output differs from the documented output, and returns an
// error.
func run(steps []step, dir, readyURL string, report io.Writer) error {
	sh, err := startShell(dir)
	if err != nil {
		return err
	}
	defer sh.close()
	r := &runner{shell: sh, readyURL: readyURL, log: filepath.Join(dir, ".doctest.log")}
	defer r.stop()
	for i, s := range steps {
		began := time.Now()
		if err := r.step(s, isStatusCheck(steps[i+1:])); err != nil {
			return fmt.Errorf("%v: $ %s\n%w", s, s.command, err)
		}
		fmt.Fprintf(report, "%v: ok in %v: %s\n", s, time.Since(began).Round(time.Millisecond), firstLine(s.command))
	}
	return nil
}

// isStatusCheck reports whether the first step of rest prints the exit status of the step before
// it.
func isStatusCheck(rest []step) bool { return len(rest) > 0 && rest[0].command == "echo $?" }

func firstLine(text string) string {
	line, _, _ := strings.Cut(text, "\n")
	return line
}

func (r *runner) step(s step, mayFail bool) error {
	if serves.MatchString(s.command) {
		return r.serve(s)
	}
	got, err := r.shell.run(s.command)
	switch {
	case err != nil:
		return fmt.Errorf("%w\n%s", err, got)
	case r.shell.status != 0 && !mayFail:
		return fmt.Errorf("exit status %d, want 0\n%s", r.shell.status, got)
	case !matches(s.output, got):
		return mismatch(s, got)
	}
	return nil
}

func mismatch(s step, got string) error {
	return fmt.Errorf("documented:\n%s\n\nprinted:\n%s", strings.Join(s.output, "\n"), tidy(got))
}

// serve stops the previous server and starts a new one in a separate process group. It returns when
// the server is ready and has printed the documented output.
func (r *runner) serve(s step) error {
	r.stop()
	if r.ready() {
		return fmt.Errorf("another program responds at %s: stop it first", r.readyURL)
	}
	pid, err := r.shell.run(fmt.Sprintf("set -m; { %s\n} >%q 2>&1 & disown; set +m; echo $!", s.command, r.log))
	if err != nil {
		return err
	}
	r.server = strings.TrimSpace(pid)
	for deadline := time.Now().Add(startup); time.Now().Before(deadline); time.Sleep(50 * time.Millisecond) {
		if !r.serverLives() {
			return fmt.Errorf("the server exited\n%s", r.printed())
		}
		if r.ready() && matchesStart(s.output, r.printed()) {
			return nil
		}
		// The server is ready without the documented output, which will not follow any more.
		if r.ready() {
			deadline = earlier(deadline, time.Now().Add(5*time.Second))
		}
	}
	return errors.Join(fmt.Errorf("the server was not ready within %v or, once ready, did not print the documented output within 5s", startup), mismatch(s, r.printed()))
}

func earlier(a, b time.Time) time.Time {
	if a.Before(b) {
		return a
	}
	return b
}

func (r *runner) ready() bool {
	client := http.Client{Timeout: time.Second}
	response, err := client.Get(r.readyURL) //nolint:noctx // bounded by the client
	if err != nil {
		return false
	}
	response.Body.Close()
	return response.StatusCode == http.StatusOK
}

func (r *runner) printed() string {
	text, err := os.ReadFile(r.log)
	if err != nil {
		return err.Error()
	}
	return string(text)
}

func (r *runner) serverLives() bool { return r.signal("0") }

func (r *runner) signal(name string) bool {
	if r.server == "" {
		return false
	}
	status := r.shell.status // signals do not change $?
	defer func() { r.shell.status = status }()
	_, err := r.shell.run("kill -" + name + " -- -" + r.server + " 2>/dev/null")
	return err == nil && r.shell.status == 0
}

// stop stops the server if one is running. It sends SIGINT, and then SIGKILL if the server is still
// running after 30 s.
func (r *runner) stop() {
	r.signal("INT")
	for deadline := time.Now().Add(30 * time.Second); r.serverLives() && time.Now().Before(deadline); {
		time.Sleep(50 * time.Millisecond)
	}
	r.signal("KILL")
	r.server = ""
}
