package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/chassi-go/chassi/database"
	"github.com/chassi-go/chassi/internal/dbtest"
	"github.com/chassi-go/chassi/standard"
)

// asProgram makes the test binary be authd, so that tests run the real program
// in a process of its own.
const asProgram = "AUTHD_TEST_AS_PROGRAM"

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		var environ []string
		for _, pair := range os.Environ() {
			if !strings.HasPrefix(pair, asProgram) {
				environ = append(environ, pair)
			}
		}
		os.Exit(newProgram().Run(context.Background(), os.Args[1:], environ, os.Stdin, os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

// cheap keeps the tests' password hashing short.
var cheap = []string{"--argon2.memory_kib=7168", "--argon2.time=1"}

// node is one running authd.
type node struct {
	t   *testing.T
	cmd *exec.Cmd

	stderr io.Closer // closing it is the end of the log's reader

	http, admin, grpc, nats string
	dir                     string // its working folder
	mu                      sync.Mutex
	log                     strings.Builder
	ended                   chan struct{}
}

func authd(dir string, args ...string) *exec.Cmd {
	cmd := exec.Command(os.Args[0], args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), asProgram+"=1", "AUTHD_SHUTDOWN_DRAIN=0s")
	return cmd
}

// start runs authd serve on free ports and waits until it serves, over the brokers too unless
// args say that they are not required.
func start(t *testing.T, dir string, args ...string) *node {
	t.Helper()
	all := strings.Join(args, " ")
	for _, broker := range []string{"amqp", "nats"} {
		if strings.Contains(all, "--"+broker+".url="+broker+"://") && !strings.Contains(all, "--"+broker+".required=") {
			args = append(args, "--"+broker+".required=true")
		}
	}
	n := launch(t, dir, args...)
	n.awaitLog(`"msg":"serving"`)
	if _, rest, _ := strings.Cut(n.text(), `"msg":"serving"`); !strings.HasPrefix(rest, `,"service":"authd","app":"authd"`) {
		t.Error("a part of the program logs that it serves before the program does")
	}
	return n
}

// launch does not wait for more than the admin listener.
func launch(t *testing.T, dir string, args ...string) *node {
	t.Helper()
	return launchProgram(t, authd(dir, serveArgs(args...)...))
}

// serveArgs adds what args leave out.
func serveArgs(args ...string) []string {
	all := append([]string{"serve"}, args...)
	for _, flag := range append([]string{"--http.addr=127.0.0.1:0", "--admin.addr=127.0.0.1:0", "--grpc.addr=127.0.0.1:0", "--nats.url=embedded", "--nats.embedded.addr=127.0.0.1:0", "--rate_limit.peer=off"}, cheap...) {
		name, _, _ := strings.Cut(flag, "=")
		if !slices.ContainsFunc(args, func(arg string) bool { return strings.HasPrefix(arg, name+"=") }) {
			all = append(all, flag)
		}
	}
	return all
}

// launchProgram is launch for a program whose arguments are complete.
func launchProgram(t *testing.T, cmd *exec.Cmd) *node {
	t.Helper()
	stderr, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	return launchReading(t, cmd, stderr)
}

// launchReading is launchProgram for a program whose log can be read from stderr.
func launchReading(t *testing.T, cmd *exec.Cmd, stderr io.ReadCloser) *node {
	t.Helper()
	n := &node{t: t, dir: cmd.Dir, cmd: cmd, stderr: stderr, ended: make(chan struct{})}
	if err := n.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = n.cmd.Process.Kill(); <-n.ended; _ = n.cmd.Wait() })
	go n.read(stderr)
	n.awaitLog(`"server":"admin"`)
	return n
}

func (n *node) read(from io.Reader) {
	defer close(n.ended)
	lines := bufio.NewScanner(from)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var line struct{ Msg, Server, Addr string }
		_ = json.Unmarshal(lines.Bytes(), &line)
		n.mu.Lock()
		switch {
		case line.Msg == "listening" && line.Server == "http":
			n.http = "http://" + line.Addr
		case line.Msg == "listening" && line.Server == "grpc":
			n.grpc = line.Addr
		case line.Msg == "listening" && line.Server == "nats embedded":
			n.nats = "nats://" + line.Addr
		case line.Msg == "listening" && line.Server == "admin":
			n.admin = "http://" + line.Addr
		}
		n.log.WriteString(lines.Text() + "\n")
		n.mu.Unlock()
	}
}

func (n *node) text() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.log.String()
}

// post sends a JSON body and returns status and response.
func (n *node) post(path, bearer string, body any) (int, map[string]any) {
	n.t.Helper()
	status, response, err := n.try(http.MethodPost, path, bearer, body)
	if err != nil {
		n.t.Fatal(err)
	}
	return status, response
}

func (n *node) try(method, path, bearer string, body any) (int, map[string]any, error) {
	data, err := json.Marshal(body)
	if err != nil {
		return 0, nil, err
	}
	request, err := http.NewRequest(method, n.http+path, bytes.NewReader(data))
	if err != nil {
		return 0, nil, err
	}
	request.Header.Set("Content-Type", "application/json")
	if bearer != "" {
		request.Header.Set("Authorization", "Bearer "+bearer)
	}
	response, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, nil, err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		return 0, nil, err
	}
	checkResponse(n.t, method, path, response, text)
	members := make(map[string]any)
	if err := json.Unmarshal(text, &members); err != nil && len(text) > 0 {
		return 0, nil, err
	}
	return response.StatusCode, members, nil
}

// stop ends the node by a signal and returns its exit code.
func (n *node) stop(s os.Signal) int {
	n.t.Helper()
	if err := n.cmd.Process.Signal(s); err != nil {
		n.t.Fatal(err)
	}
	<-n.ended
	_ = n.cmd.Wait()
	return n.cmd.ProcessState.ExitCode()
}

type object = map[string]any

func TestAPIWalk(t *testing.T) {
	t.Parallel()
	dbtest.Engines(t, apiWalk)
}

func apiWalk(t *testing.T, url string) {
	const secret, next = "canary-Secret phrase", "canary-Other phrase"
	n := start(t, t.TempDir(), "--log.level=debug", "--database.url="+url)
	credentials := object{"email": "Ada@Example.org", "password": secret}

	if status, response := n.post("/v1/users", "", credentials); status != http.StatusAccepted || response["email"] != "ada@example.org" {
		t.Fatalf("sign-up: %d %v", status, response)
	}
	again, response := n.post("/v1/users", "", object{"email": "ada@example.org", "password": next})
	if again != http.StatusAccepted || response["email"] != "ada@example.org" {
		t.Errorf("sign-up of a taken address: %d %v, want the response of a new one", again, response)
	}
	status, response := n.post("/v1/auth", "", credentials)
	token, _ := response["token"].(string)
	if status != http.StatusOK || token == "" {
		t.Fatalf("auth: %d %v", status, response)
	}
	if status, response := n.post("/v1/validate-token", "", object{"token": token}); status != http.StatusOK || response["email"] != "ada@example.org" {
		t.Errorf("validate-token: %d %v", status, response)
	}
	for _, wrong := range []object{{"email": "ada@example.org", "password": next}, {"email": "eve@example.org", "password": secret}} {
		if status, response := n.post("/v1/auth", "", wrong); status != http.StatusNotFound || response["message"] != "Invalid user" {
			t.Errorf("auth with %v: %d %v, want 404 Invalid user", wrong["email"], status, response)
		}
	}
	if status, response := n.post("/v1/validate-token", "", object{"token": token + "x"}); status != http.StatusUnauthorized || response["message"] != "Invalid token" {
		t.Errorf("validate a bad token: %d %v, want 401 Invalid token", status, response)
	}
	if status, _, err := n.try(http.MethodGet, "/v1/auth", "", nil); status != http.StatusMethodNotAllowed || err != nil {
		t.Errorf("GET /v1/auth: %d %v, want 405", status, err)
	}
	if status, response, err := n.try(http.MethodGet, "/v1/me", token, nil); status != http.StatusOK || response["email"] != "ada@example.org" || err != nil {
		t.Errorf("me: %d %v %v", status, response, err)
	}
	status, response = n.post("/v1/me/password", token, object{"old_password": secret, "new_password": next})
	fresh, _ := response["token"].(string)
	if status != http.StatusOK || fresh == "" {
		t.Fatalf("change password: %d %v", status, response)
	}
	if status, _ := n.post("/v1/validate-token", "", object{"token": token}); status != http.StatusUnauthorized {
		t.Errorf("the old token after a password change: %d, want 401", status)
	}
	if status, _ := n.post("/v1/validate-token", "", object{"token": fresh}); status != http.StatusOK {
		t.Errorf("the new token after a password change: %d, want 200", status)
	}
	_, _ = n.post("/v1/auth", "", object{"email": secret, "password": secret, "pass\nword": next})
	if code := n.stop(syscall.SIGTERM); code != standard.ExitOK {
		t.Errorf("exit code %d after SIGTERM, want 0", code)
	}
	for _, canary := range []string{secret, next, token, fresh, token[strings.LastIndex(token, ".")+1:]} {
		if strings.Contains(n.text(), canary) {
			t.Errorf("the log holds %q", canary)
		}
	}
}

func TestCommandLine(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, c := range []struct {
		args, in, want string
		code           int
		env            string
	}{
		{args: "--help", want: "Usage: authd [COMMAND]"},
		{args: "serve --help", want: "--http.addr  AUTHD_HTTP_ADDR"},
		{args: "version", want: ""},
		{args: "licenses", want: "Third-party notices of authd"},
		{args: "fly", want: `unknown command "fly"`, code: standard.ExitUsage},
		{args: "user", want: "user needs a command:\nauthd:   user add EMAIL", code: standard.ExitUsage},
		{args: "user ad x", want: "unknown command \"user ad\"; did you mean user add? the commands are:\nauthd:   user add EMAIL", code: standard.ExitUsage},
		{args: "user xyz", want: "unknown command \"user xyz\"; the commands are:\n", code: standard.ExitUsage},
		{args: "user delete ada@example.org --ye", want: "--ye: unknown flag; did you mean --yes?", code: standard.ExitUsage},
		{args: "user delete a b", want: "got 2 arguments", code: standard.ExitUsage},
		{args: "migrate x", want: "; got 1 argument\n", code: standard.ExitUsage},
		{args: "key --help", want: "Usage: authd key COMMAND"},
		{args: "help nats", want: "  nats add NAME"},
		{args: "help fly", want: `unknown command "fly"`, code: standard.ExitUsage},
		{args: "help user add", want: "--database.url  AUTHD_DATABASE_URL\n        sqlite:PATH"},
		{args: "serve --http.addr=nonsense --database.url=mysql://h --nats.url=foo://h", want: `--nats.url: nats.url ("foo://h") must be nats://HOST:PORT`, code: standard.ExitUsage},
		{args: "serve --database.url=mysql://u:canary@h --token.old_master_key=canary", want: `--database.url: database.url has the unknown scheme "mysql"`, code: standard.ExitUsage},
		{args: "config --database.url=postgres://u:canary@127.0.0.1:99999/x", want: "--database.url: database.url cannot be used: a port must be", code: standard.ExitUsage},
		{args: "serve --database.url=", want: "--database.url: database.url is not set", code: standard.ExitUsage},
		{args: "user add ada@example.org", in: "an analytical engine\n", want: "authd migrate create", code: standard.ExitFailed},
		{args: "migrate", want: "00001_init.sql applied"},
		{args: "user add ada@example.org", in: "an analytical engine\n", want: "added ada@example.org"},
		{args: "user add ADA@example.org", in: "an analytical engine\n", want: "already", code: standard.ExitFailed},
		{args: "user add eve@example.org", in: "short\n", want: "too short", code: standard.ExitFailed},
		{args: "user add eve@example.org", in: "", want: "no password in the first line of stdin", code: standard.ExitFailed},
		{args: "user add eve@example.org a-password", want: "the password comes from a prompt or from stdin", code: standard.ExitUsage},
		{args: "user add nonsense", in: "an analytical engine\n", want: "Invalid e-mail address", code: standard.ExitFailed},
		{args: "user list", want: "ada@example.org"},
		{args: "user disable ada@example.org", want: "disabled ada@example.org"},
		{args: "user list", want: "disabled"},
		{args: "user enable ada@example.org", want: "enabled"},
		{args: "user passwd ada@example.org", in: "a difference engine\n", want: "password set"},
		{args: "user disable eve@example.org", want: "no account has the address", code: standard.ExitFailed},
		{args: "key rotate", want: "signs from"},
		{args: "key revoke", want: "signs now"},
		{args: "key list", want: "EdDSA"},
		{args: "migrate", want: "00001_init.sql applied"},
		{args: "healthcheck --admin.addr=127.0.0.1:1", want: "not ready", code: standard.ExitFailed},
		{args: "config", env: "AUTHD_TOKEN_MASTER_KEY=canaryQ7pX2vL9sR4tK8wB1nM6cZ3yF5hG0jD+eUiOE=", want: "***"},
		{args: "config --database.url=postgres://u:canary@127.0.0.1/x", want: "postgres://u:***@127.0.0.1/x"},
		{args: "serve --htp.addr=:1 --log.level=loud", want: "did you mean --http.addr?\nauthd: --log.level", code: standard.ExitUsage},
		{args: "config", env: "AUTHD_HTP_ADDR=:1", want: "did you mean AUTHD_HTTP_ADDR?", code: standard.ExitUsage},
		{args: "serve --database.url=sqlite:no/such/folder/x.db", want: "no/such/folder", code: standard.ExitFailed},
		{args: "serve --idempotency.store=redis", want: "requires redis.url", code: standard.ExitUsage},
		{args: "serve --token.master_key=canary", want: "master_key", code: standard.ExitUsage},
	} {
		cmd := authd(dir, append(strings.Fields(c.args), flagsFor(c.args)...)...)
		cmd.Stdin = strings.NewReader(c.in)
		if c.env != "" {
			cmd.Env = append(cmd.Env, c.env)
		}
		out, _ := cmd.CombinedOutput()
		if code := cmd.ProcessState.ExitCode(); code != c.code || !strings.Contains(string(out), c.want) {
			t.Errorf("authd %s: exit %d, want %d, and %q in:\n%s", c.args, code, c.code, c.want, out)
		}
		if strings.Contains(string(out), "canary") {
			t.Errorf("authd %s shows a secret:\n%s", c.args, out)
		}
	}
}

// The help of a command has the settings that it uses, and no others.
func TestHelpOfCommands(t *testing.T) {
	t.Parallel()
	for args, c := range map[string]struct{ with, without []string }{
		"nats add --help": {[]string{"authd nats add NAME", "--nats.embedded.addr"}, []string{"--http", "--database", "--nats.url"}},
		"version --help":  {[]string{"authd version"}, []string{"Settings", "--"}},
		"key list --help": {[]string{"--database.url", "(default sqlite:authd.db)", "--token.master_key"}, []string{"--http", "--argon2"}},
		"serve --help":    {[]string{"--http.addr", "--database.url", "--argon2.memory_kib"}, nil},
		"user":            {nil, []string{"key list"}},
		"healthcheck -h":  {[]string{"--admin.addr"}, []string{"--http.addr"}},
		"user add --help": {[]string{"--argon2.memory_kib", "--password"}, []string{"--amqp"}},
	} {
		out, _ := authd(t.TempDir(), strings.Fields(args)...).CombinedOutput()
		for _, want := range c.with {
			if !strings.Contains(string(out), want) {
				t.Errorf("authd %s: no %q in:\n%s", args, want, out)
			}
		}
		for _, bad := range c.without {
			if strings.Contains(string(out), bad) {
				t.Errorf("authd %s: %q in:\n%s", args, bad, out)
			}
		}
	}
}

func flagsFor(args string) []string {
	if strings.HasPrefix(args, "user ") {
		return cheap
	}
	return nil
}

func TestReloadLogsChanges(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	file := filepath.Join(dir, "authd.yaml")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("log:\n  level: info\n")
	n := start(t, dir)
	write("log:\n  level: debug\ntoken:\n  ttl: 2h\n")
	if err := n.cmd.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	n.awaitLog(`"setting changed","service":"authd","setting":"log.level","value":"debug"`)
	n.awaitLog(`needs a restart","service":"authd","setting":"token.ttl"`)
	write("log:\n  level: [\n")
	n.awaitLog("the old one stays")
	if status, text := n.readiness(); status != 200 || !strings.Contains(text, `"reload":{"status":"degraded","detail":"the configuration is invalid: the old one stays; the log says why"`) {
		t.Errorf("readiness: %s", text)
	}
	if code := n.stop(os.Interrupt); code != standard.ExitOK {
		t.Errorf("exit code %d", code)
	}
}

// awaitLog waits for text in the log.
func (n *node) awaitLog(text string) {
	n.t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	limit := time.After(time.Minute)
	for !strings.Contains(n.text(), text) {
		select {
		case <-tick.C:
		case <-n.ended:
			if !strings.Contains(n.text(), text) {
				n.t.Fatalf("authd ended early:\n%s", n.text())
			}
		case <-limit:
			n.t.Fatalf("no %q in:\n%s", text, n.text())
		}
	}
}

// Fault 7: a port in use is one clear line and exit 1, and nothing is left behind.
func TestPortInUse(t *testing.T) {
	t.Parallel()
	n := start(t, t.TempDir())
	dir := t.TempDir()
	cmd := authd(dir, "serve", "--admin.addr=127.0.0.1:0", "--grpc.addr=off", "--http.addr="+strings.TrimPrefix(n.http, "http://"))
	out, _ := cmd.CombinedOutput()
	if cmd.ProcessState.ExitCode() != standard.ExitFailed || !strings.Contains(string(out), "authd: ") || !strings.Contains(string(out), "in use") {
		t.Errorf("exit %d, output:\n%s", cmd.ProcessState.ExitCode(), out)
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) > 0 {
		t.Errorf("left behind: %v, %v", entries, err)
	}
}

// Fault 1: calls in flight at SIGTERM are answered.
func TestTermCompletesCallsInFlight(t *testing.T) {
	t.Parallel()
	n := start(t, t.TempDir(), "--shutdown.drain=300ms", "--hash.max_queued=200", "--lockout.network=1000")
	const calls = 24
	results := make(chan error, calls)
	for i := range calls {
		go func() {
			status, _, err := n.try(http.MethodPost, "/v1/users", "", object{"email": fmt.Sprintf("u%d@example.org", i), "password": "an analytical engine"})
			if err == nil && status != http.StatusAccepted {
				err = fmt.Errorf("status %d", status)
			}
			results <- err
		}()
	}
	for range 3 { // some are through, many are not
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
	if code := n.stop(syscall.SIGTERM); code != standard.ExitOK {
		t.Errorf("exit code %d", code)
	}
	for range calls - 3 {
		if err := <-results; err != nil {
			t.Error(err)
		}
	}
}

// Fault 40: what was acknowledged survives kill -9, each time.
func TestKillNineLosesNothing(t *testing.T) {
	t.Parallel()
	rounds := 10
	if os.Getenv("CHASSI_SOAK") != "" {
		rounds = 100
	}
	dir := t.TempDir()
	acknowledged := make(map[string]bool)
	for round := range rounds {
		n := start(t, dir)
		var mu sync.Mutex
		var wg sync.WaitGroup
		enough := make(chan struct{})
		var once sync.Once
		for worker := range 4 {
			wg.Go(func() {
				for i := 0; ; i++ {
					email := fmt.Sprintf("r%d-w%d-%d@example.org", round, worker, i)
					status, _, err := n.try(http.MethodPost, "/v1/users", "", object{"email": email, "password": "an analytical engine"})
					if err != nil {
						return // killed
					}
					if status == http.StatusAccepted {
						mu.Lock()
						acknowledged[email] = true
						mu.Unlock()
					}
					if i == 3+round%5 {
						once.Do(func() { close(enough) })
					}
				}
			})
		}
		<-enough
		_ = n.cmd.Process.Kill()
		wg.Wait()
		<-n.ended
		checkIntegrity(t, filepath.Join(dir, "authd.db"))
	}
	out, err := authd(dir, "user", "list").Output()
	if err != nil {
		t.Fatal(err)
	}
	for email := range acknowledged {
		if !strings.Contains(string(out), email+" ") {
			t.Errorf("%s was acknowledged and is lost", email)
		}
	}
	t.Logf("%d rounds, %d acknowledged users", rounds, len(acknowledged))
}

func checkIntegrity(t *testing.T, file string) {
	t.Helper()
	db, err := database.Open(t.Context(), database.Config{URL: "sqlite:" + file})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	var verdict string
	if err := db.QueryRow(t.Context(), "PRAGMA integrity_check").Scan(&verdict); err != nil || verdict != "ok" {
		t.Fatalf("integrity_check: %q, %v", verdict, err)
	}
}
