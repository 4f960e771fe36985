package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/chassi-go/chassi/database"
)

const password = "an analytical engine"

// settings contains the flags of authd. They make hashing cheap and disable the rate limits, so that
// the sign-ups load the database.
var settings = []string{
	"--http.addr=127.0.0.1:0", "--admin.addr=127.0.0.1:0", "--grpc.addr=off", "--nats.url=off", "--shutdown.drain=0s",
	"--rate_limit.peer=off", "--rate_limit.sign_up=off",
	"--argon2.memory_kib=7168", "--argon2.time=1", "--hash.max_queued=2000",
}

// node is a running authd with the sign-ups that it has acknowledged.
type node struct {
	program, dir, url string
	cmd               *exec.Cmd
	client            *http.Client

	mu           sync.Mutex
	acknowledged map[string]time.Time // when each address was acknowledged
}

func startNode(ctx context.Context, program, dir string) (*node, error) {
	n := &node{
		program: program, dir: dir, acknowledged: make(map[string]time.Time),
		client: &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 256}},
	}
	n.cmd = exec.CommandContext(ctx, program, append([]string{"serve"}, settings...)...) //nolint:gosec // the program that was asked for
	n.cmd.Dir = dir
	stderr, err := n.cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := n.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start authd: %w; run make build, or give the path of authd with --authd", err)
	}
	last := ""
	for lines := bufio.NewScanner(stderr); lines.Scan(); last = lines.Text() {
		var line struct {
			Msg    string `json:"msg"`
			Server string `json:"server"`
			Addr   string `json:"addr"`
		}
		if json.Unmarshal(lines.Bytes(), &line) != nil {
			n.kill()
			return nil, fmt.Errorf("authd did not start: %s", lines.Text())
		}
		if line.Msg == "listening" && line.Server == "http" {
			n.url = "http://" + line.Addr
		}
		if line.Msg == "serving" {
			go io.Copy(io.Discard, stderr) //nolint:errcheck // ends with the program
			return n, nil
		}
	}
	n.kill()
	return nil, fmt.Errorf("the log of authd ended before authd was ready; its last line: %s", last)
}

func (n *node) kill() { _ = n.cmd.Process.Kill(); _ = n.cmd.Wait() }

func (n *node) stop() error {
	if err := n.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		return err
	}
	return n.cmd.Wait()
}

// command runs authd with args in the directory dir and returns its standard output. If authd
// fails, the error contains its standard error output.
func (n *node) command(ctx context.Context, dir string, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, n.program, args...) //nolint:gosec // the program that was asked for
	cmd.Dir = dir
	var stderr bytes.Buffer
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	if err != nil {
		return "", fmt.Errorf("authd %s: %w: %s", args[0], err, stderr.String())
	}
	return string(out), nil
}

// statusError is the error for an unexpected HTTP status code.
type statusError int

func (e statusError) Error() string { return fmt.Sprintf("unexpected status %d", int(e)) }

func isRefusal(err error) bool {
	status, ok := errors.AsType[statusError](err)
	return ok && (status == http.StatusServiceUnavailable || status == http.StatusTooManyRequests)
}

func (n *node) post(ctx context.Context, path, email string, want int) error {
	body := fmt.Sprintf(`{"email":%q,"password":%q}`, email, password)
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, n.url+path, strings.NewReader(body))
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	response, err := n.client.Do(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		return err
	}
	if response.StatusCode != want {
		return statusError(response.StatusCode)
	}
	return nil
}

func (n *node) signUp(ctx context.Context, i int) error {
	email := fmt.Sprintf("user%d@example.org", i)
	if err := n.post(ctx, "/v1/users", email, http.StatusAccepted); err != nil {
		return err
	}
	n.mu.Lock()
	defer n.mu.Unlock()
	n.acknowledged[email] = time.Now()
	return nil
}

// verify restores b, checks its integrity, and sets b.before and b.has. It returns an error if b
// lacks an account that was acknowledged before the backup began.
func verify(ctx context.Context, n *node, b *copied) (err error) {
	to, err := os.MkdirTemp(n.dir, "restored-")
	if err != nil {
		return err
	}
	if _, err := n.command(ctx, to, "restore", b.file); err != nil {
		return err
	}
	db, err := database.OpenReadOnly(ctx, database.Config{URL: "sqlite:" + filepath.Join(to, "authd.db")})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	if err := db.CheckIntegrity(ctx); err != nil {
		return err
	}
	text, err := n.command(ctx, to, "export", "--no-passwords")
	if err != nil {
		return err
	}
	has := make(map[string]bool)
	for line := range strings.Lines(text) {
		var account struct {
			Email string `json:"email"`
		}
		if err := json.Unmarshal([]byte(line), &account); err != nil {
			return err
		}
		has[account.Email] = true
	}
	b.has = len(has)
	lost := 0
	for email, at := range n.acknowledged {
		if at.Before(b.began) {
			if b.before++; !has[email] {
				lost++
			}
		}
	}
	if lost > 0 {
		return fmt.Errorf("the backup lacks %d of the %d accounts that were acknowledged before it began", lost, b.before)
	}
	return nil
}

// startRestored restores b, starts a node on the restored database, and logs in to an account that
// was acknowledged before the backup began.
func startRestored(ctx context.Context, program string, n *node, b copied) error {
	dir, err := os.MkdirTemp(n.dir, "started-")
	if err != nil {
		return err
	}
	if _, err := n.command(ctx, dir, "restore", b.file); err != nil {
		return err
	}
	restored, err := startNode(ctx, program, dir)
	if err != nil {
		return err
	}
	defer restored.kill()
	for email, at := range n.acknowledged {
		if at.Before(b.began) {
			if err := restored.post(ctx, "/v1/auth", email, http.StatusOK); err != nil {
				return fmt.Errorf("login on the restored database: %w", err)
			}
			return restored.stop()
		}
	}
	return errors.New("the last backup began before any sign-up was acknowledged")
}
