package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// node is an authd process.
type node struct {
	http, grpc, admin string // host:port

	cmd    *exec.Cmd
	stderr *os.File      // the read end of the log's pipe, or nil
	ended  chan struct{} // closed when the process has ended
	state  error         // the result of cmd.Wait; valid after ended is closed

	mu      sync.Mutex
	reading chan struct{} // closed while the log is read
	lines   []line
}

// line is a line of the log: the time at which it was read, its text, and fields of its JSON
// object.
type line struct {
	at        time.Time
	text      string
	Level     string `json:"level"`
	Route     string `json:"route"`
	RequestID string `json:"request_id"`
}

// ofCall reports whether the line is about a single call.
func (l line) ofCall() bool { return l.Route != "" || l.RequestID != "" }

// launch starts authd in the directory dir and returns without waiting until authd serves. The log
// is written to stderr, or kept in memory if stderr is nil.
func launch(ctx context.Context, program, dir string, stderr *os.File, env, args []string) (n *node, err error) {
	n = &node{ended: make(chan struct{}), reading: make(chan struct{})}
	close(n.reading)
	for _, addr := range []*string{&n.http, &n.grpc, &n.admin} {
		if *addr, err = freeAddr(); err != nil {
			return nil, err
		}
	}
	all := []string{"serve", "--http.addr=" + n.http, "--grpc.addr=" + n.grpc, "--admin.addr=" + n.admin,
		"--log.format=json", "--shutdown.drain=0s", "--exposure.accepted=arguments"}
	all = append(all, fmt.Sprintf("--argon2.memory_kib=%d", cheap.Memory), fmt.Sprintf("--argon2.time=%d", cheap.Time))
	n.cmd = exec.CommandContext(ctx, program, append(all, args...)...) //nolint:gosec // the program under test
	n.cmd.Dir, n.cmd.Env, n.cmd.Stderr = dir, append(withoutSettings(os.Environ()), env...), stderr
	n.cmd.Cancel = func() error { return n.cmd.Process.Kill() }
	var write *os.File
	if stderr == nil {
		if n.stderr, write, err = os.Pipe(); err != nil {
			return nil, err
		}
		n.cmd.Stderr = write
	}
	if err := n.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start authd: %w", err)
	}
	if n.stderr != nil {
		write.Close()
		go n.read()
	}
	go func() {
		n.state = n.cmd.Wait()
		close(n.ended)
	}()
	return n, nil
}

// withoutSettings removes from environ the environment variables that configure authd, and returns
// the others.
func withoutSettings(environ []string) []string {
	return slices.DeleteFunc(environ, func(pair string) bool { return strings.HasPrefix(pair, "AUTHD_") || strings.HasPrefix(pair, "OTEL_") })
}

func (n *node) read() {
	lines := bufio.NewReader(n.stderr)
	for {
		n.mu.Lock()
		reading := n.reading
		n.mu.Unlock()
		<-reading
		text, err := lines.ReadString('\n')
		if text != "" {
			l := line{at: time.Now(), text: strings.TrimSpace(text)}
			_ = json.Unmarshal([]byte(text), &l) // a crash is not JSON
			n.mu.Lock()
			n.lines = append(n.lines, l)
			n.mu.Unlock()
		}
		if err != nil {
			return
		}
	}
}

// block stops the reading of the log until unblock is called.
func (n *node) block() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.reading = make(chan struct{})
}

func (n *node) unblock() {
	n.mu.Lock()
	defer n.mu.Unlock()
	select {
	case <-n.reading:
	default:
		close(n.reading)
	}
}

// notable returns the lines of the log that were read at or after from and before to, have one of
// the levels, and are not about a single call.
func (n *node) notable(from, to time.Time, levels ...string) (found []line) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, l := range n.lines {
		if !l.ofCall() && slices.Contains(levels, l.Level) && !l.at.Before(from) && l.at.Before(to) {
			found = append(found, l)
		}
	}
	return found
}

// tail returns the last lines of the log, at most limit, without lines about single calls.
func (n *node) tail(limit int) string {
	n.mu.Lock()
	defer n.mu.Unlock()
	var texts []string
	for _, l := range slices.Backward(n.lines) {
		if !l.ofCall() && len(texts) < limit {
			texts = append(texts, l.text)
		}
	}
	slices.Reverse(texts)
	return strings.Join(texts, "\n")
}

func (n *node) hasEnded() bool {
	select {
	case <-n.ended:
		return true
	default:
		return false
	}
}

// stop terminates the process and returns text that describes how it ended, "0" for an orderly
// shutdown. It kills the process if the process has not ended after 45 s.
func (n *node) stop() string {
	n.unblock()
	early := n.hasEnded()
	_ = n.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-n.ended:
	case <-time.After(45 * time.Second):
		_ = n.cmd.Process.Kill()
		<-n.ended
		return "killed: it did not end within 45 s"
	}
	code := exitText(n.state)
	if early {
		return "ended by itself: " + code
	}
	return code
}

func exitText(err error) string {
	var exit *exec.ExitError
	switch {
	case err == nil:
		return "0"
	case errors.As(err, &exit):
		return strings.TrimPrefix(exit.String(), "exit status ")
	default:
		return err.Error()
	}
}

// health is the status code and the body of a response of /readyz.
type health struct {
	code   int
	Status string           `json:"status"`
	Checks map[string]check `json:"checks"`
}

type check struct {
	Status string `json:"status"`
	Error  string `json:"error"`
	Detail string `json:"detail"`
}

// String returns the status code, the overall status, and the name and status of each check whose
// status is neither ok nor unknown.
func (h health) String() string {
	var parts []string
	for name, c := range h.Checks {
		if c.Status != "ok" && c.Status != "unknown" {
			parts = append(parts, name+" "+c.Status)
		}
	}
	slices.Sort(parts)
	return strings.TrimSpace(fmt.Sprintf("%d %s %s", h.code, h.Status, strings.Join(parts, ", ")))
}

// reasons returns the name, status, error and detail of each check whose status is not ok.
func (h health) reasons() string {
	var parts []string
	for name, c := range h.Checks {
		if c.Status != "ok" {
			parts = append(parts, name+" "+c.Status+": "+c.Error+c.Detail)
		}
	}
	slices.Sort(parts)
	return strings.Join(parts, "; ")
}

var errNotReady = errors.New("authd is not ready")

// readiness requests /readyz and returns the response. It returns errNotReady with the response if
// the status code is not 200.
func (n *node) readiness(ctx context.Context) (health, error) {
	var h health
	status, body, err := get(ctx, "http://"+n.admin+"/readyz")
	if err != nil {
		return h, err
	}
	h.code = status
	if err := json.Unmarshal(body, &h); err != nil {
		return h, fmt.Errorf("decode the response of /readyz: %w", err)
	}
	if status != http.StatusOK {
		return h, errNotReady
	}
	return h, nil
}

// liveness requests /healthz. It returns an error if the status code is not 200.
func (n *node) liveness(ctx context.Context) error {
	status, _, err := get(ctx, "http://"+n.admin+"/healthz")
	if err == nil && status != http.StatusOK {
		err = fmt.Errorf("/healthz: got status %d, want 200", status)
	}
	return err
}

func get(ctx context.Context, url string) (status int, body []byte, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return 0, nil, err
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, nil, err
	}
	defer response.Body.Close()
	body, err = io.ReadAll(response.Body)
	return response.StatusCode, body, err
}
