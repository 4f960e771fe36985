package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"
)

// patience is the timeout for expected events.
const patience = 20 * time.Second

// process is a program that runs.
type process struct {
	t     *testing.T
	build func(extra ...string) *exec.Cmd
	cmd   *exec.Cmd
	ended chan struct{}

	asked atomic.Int64 // calls of ValidateToken in its access log

	mu    sync.Mutex
	addrs map[string]string // by the name of the listener
	log   strings.Builder
}

// launch starts a process and waits until it logs that it listens.
func launch(t *testing.T, build func(extra ...string) *exec.Cmd, until string) *process {
	t.Helper()
	p := &process{t: t, build: build, addrs: map[string]string{}}
	t.Cleanup(func() {
		p.signal(syscall.SIGKILL)
		<-p.ended
		_ = p.cmd.Wait()
	})
	p.start(until)
	return p
}

func (p *process) start(until string, extra ...string) {
	p.t.Helper()
	p.cmd, p.ended = p.build(extra...), make(chan struct{})
	stderr, err := p.cmd.StderrPipe()
	if err == nil {
		err = p.cmd.Start()
	}
	if err != nil {
		close(p.ended)
		p.t.Fatal(err)
	}
	seen := make(chan struct{})
	go p.read(stderr, until, seen)
	select {
	case <-seen:
	case <-p.ended:
		p.t.Fatalf("ended early:\n%s", p.text())
	case <-time.After(patience):
		p.t.Fatalf("no %q in:\n%s", until, p.text())
	}
}

func (p *process) read(from io.Reader, until string, seen chan struct{}) {
	defer close(p.ended)
	lines := bufio.NewScanner(from)
	lines.Buffer(nil, 1<<20)
	var once sync.Once
	for lines.Scan() {
		var line struct{ Msg, Server, Addr, Route string }
		_ = json.Unmarshal(lines.Bytes(), &line)
		p.mu.Lock()
		if line.Msg == "listening" {
			p.addrs[line.Server] = line.Addr
		}
		p.log.WriteString(lines.Text() + "\n")
		p.mu.Unlock()
		if line.Msg == "call" && strings.Contains(lines.Text(), "ValidateToken") {
			p.asked.Add(1)
		}
		if strings.Contains(lines.Text(), until) {
			once.Do(func() { close(seen) })
		}
	}
}

func (p *process) text() string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.log.String()
}

func (p *process) addr(server string) string {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.addrs[server]
}

func (p *process) signal(s os.Signal) {
	p.t.Helper()
	if err := p.cmd.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		p.t.Error(err)
	}
}

// hang stops it where it is, until SIGCONT.
func (p *process) hang() {
	p.t.Helper()
	p.signal(syscall.SIGSTOP)
	var status syscall.WaitStatus
	if _, err := syscall.Wait4(p.cmd.Process.Pid, &status, syscall.WUNTRACED, nil); err != nil || !status.Stopped() {
		p.t.Fatalf("not stopped: %v, %v", status, err)
	}
}

// end ends it and waits.
func (p *process) end(s os.Signal) {
	p.t.Helper()
	p.signal(s)
	select {
	case <-p.ended:
	case <-time.After(patience):
		p.t.Fatalf("did not end after %v:\n%s", s, p.text())
	}
	_ = p.cmd.Wait()
}

const serving = `"msg":"serving","service"`

// startAuthd starts authd on free ports; what args say comes first.
func startAuthd(t *testing.T, args ...string) *process {
	t.Helper()
	file, err := buildAuthd()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	free := []string{
		"--http.addr=127.0.0.1:0", "--admin.addr=127.0.0.1:0", "--grpc.addr=127.0.0.1:0", "--nats.embedded.addr=127.0.0.1:0",
		"--rate_limit.peer=off", "--argon2.memory_kib=7168", "--argon2.time=1", "--shutdown.drain=300ms",
	}
	return launch(t, func(extra ...string) *exec.Cmd {
		cmd := exec.Command(file, append([]string{"serve"}, merge(slices.Concat(extra, args), free)...)...)
		cmd.Dir, cmd.Env = dir, environ()
		return cmd
	}, serving)
}

// merge adds those flags that are not given.
func merge(args, flags []string) []string {
	all := slices.Clone(args)
	for _, flag := range flags {
		name, _, _ := strings.Cut(flag, "=")
		if !slices.ContainsFunc(args, func(a string) bool { return strings.HasPrefix(a, name+"=") }) {
			all = append(all, flag)
		}
	}
	return all
}

// again starts an authd that has ended, where it was.
func (p *process) again() {
	p.t.Helper()
	p.start(serving, "--http.addr="+p.addr("http"), "--grpc.addr="+p.addr("grpc"))
}

// startBroker starts a NATS server.
func startBroker(t *testing.T) *process {
	t.Helper()
	addr := freePort(t)
	return launch(t, func(...string) *exec.Cmd {
		cmd := exec.Command(os.Args[0], addr)
		cmd.Env = environ(asProgram + "=broker")
		return cmd
	}, brokerUp)
}

const brokerUp = `"server":"broker"`

// freePort finds an address for a server that is to come back at it.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// notes is a running notes with a caller that has a token.
type notes struct {
	*process

	url, admin, token string
}

// startNotes starts the example. Its times are short, so that the tests are.
func startNotes(t *testing.T, token string, args ...string) *notes {
	t.Helper()
	return startNotesBy(t, "", token, args...)
}

// startNotesBy does so with a name server.
func startNotesBy(t *testing.T, dns, token string, args ...string) *notes {
	t.Helper()
	all := merge(args, []string{
		"--http.addr=127.0.0.1:0", "--admin.addr=127.0.0.1:0", "--grpc.addr=127.0.0.1:0", "--rate_limit.peer=off", "--rate_limit.principal=off", "--shutdown.drain=0s",
		"--auth.attempt_timeout=1s", "--auth.breaker.open_duration=1s", "--auth.eject.duration=300ms", "--auth.slow_start=500ms",
	})
	dir := t.TempDir()
	p := launch(t, func(...string) *exec.Cmd {
		cmd := exec.Command(os.Args[0], all...)
		cmd.Dir, cmd.Env = dir, environ(asProgram+"=notes", nameAt+"="+dns)
		return cmd
	}, serving)
	t.Cleanup(func() {
		if strings.Contains(p.text(), "DATA RACE") || strings.Contains(p.text(), "panic") {
			t.Errorf("notes:\n%s", p.text())
		}
	})
	return &notes{p, "http://" + p.addr("http"), "http://" + p.addr("admin"), token}
}

// response is a response and its time.
type response struct {
	at         time.Time
	took       time.Duration
	status     int // 0 for none
	retryAfter int // seconds
	body       string
}

var httpClient = &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 100}, Timeout: 10 * time.Second}

// ask makes a request. A timeout goes along if it is not 0.
func (n *notes) ask(method, path, token, body string, timeout time.Duration) (a response) {
	a.at = time.Now()
	defer func() { a.took = time.Since(a.at) }()
	request, err := http.NewRequest(method, n.url+path, strings.NewReader(body))
	if err != nil {
		a.body = err.Error()
		return a
	}
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	if body != "" {
		request.Header.Set("Content-Type", "application/json")
	}
	if timeout > 0 {
		request.Header.Set("X-Request-Timeout-Ms", strconv.FormatInt(timeout.Milliseconds(), 10))
	}
	response, err := httpClient.Do(request)
	if err != nil {
		a.body = err.Error()
		return a
	}
	defer response.Body.Close()
	text, _ := io.ReadAll(response.Body)
	a.status, a.body = response.StatusCode, string(text)
	a.retryAfter, _ = strconv.Atoi(response.Header.Get("Retry-After"))
	return a
}

// limit is the deadline of the callers that load makes.
const limit = 5 * time.Second

func (n *notes) list() response { return n.ask(http.MethodGet, "/v1/notes", n.token, "", limit) }

// load makes about 30 calls per second, whether earlier ones have completed or not.
type load struct {
	t    *testing.T
	stop func()

	mu        sync.Mutex
	responses []response
}

func (n *notes) load() *load {
	l := &load{t: n.t}
	stop := make(chan struct{})
	var running sync.WaitGroup
	running.Go(func() {
		tick := time.NewTicker(33 * time.Millisecond)
		defer tick.Stop()
		for {
			select {
			case <-tick.C:
			case <-stop:
				return
			}
			running.Go(func() {
				a := n.list()
				l.mu.Lock()
				defer l.mu.Unlock()
				l.responses = append(l.responses, a)
			})
		}
	})
	l.stop = sync.OnceFunc(func() { close(stop); running.Wait() })
	n.t.Cleanup(l.stop)
	return l
}

// since returns the responses to calls made from then on.
func (l *load) since(when time.Time) (found []response) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, a := range l.responses {
		if !a.at.Before(when) {
			found = append(found, a)
		}
	}
	return found
}

// wait waits for so many responses to what is asked from now on, and returns them.
func (l *load) wait(responses int) []response {
	l.t.Helper()
	now := time.Now()
	eventually(l.t, strconv.Itoa(responses)+" responses", func() bool { return len(l.since(now)) >= responses })
	return l.since(now)
}

// failures returns the responses with a status other than 200.
func failures(responses []response) (failed []response) {
	for _, a := range responses {
		if a.status != http.StatusOK {
			failed = append(failed, a)
		}
	}
	return failed
}

// slowest returns the maximum and the 99th percentile of the durations.
func slowest(responses []response) (longest, p99 time.Duration) {
	var times []time.Duration
	for _, a := range responses {
		times = append(times, a.took)
	}
	slices.Sort(times)
	return times[len(times)-1].Round(time.Millisecond), times[len(times)*99/100].Round(time.Millisecond)
}

func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	tick, end := time.NewTicker(20*time.Millisecond), time.After(patience)
	defer tick.Stop()
	for !condition() {
		select {
		case <-tick.C:
		case <-end:
			t.Fatalf("not within %v: %s", patience, what)
		}
	}
}

// ready returns the status of /readyz and its details about authd.
func (n *notes) ready() (status int, detail string) {
	n.t.Helper()
	response, err := httpClient.Get(n.admin + "/readyz")
	if err != nil {
		n.t.Error(err)
		return 0, ""
	}
	defer response.Body.Close()
	var h struct {
		Checks map[string]struct{ Detail string }
	}
	if err := json.NewDecoder(response.Body).Decode(&h); err != nil {
		n.t.Error(err)
	}
	return response.StatusCode, h.Checks["auth"].Detail
}

// metric returns the value of a series, -1 for none.
func (n *notes) metric(series string) float64 {
	n.t.Helper()
	response, err := httpClient.Get(n.admin + "/metrics")
	if err != nil {
		n.t.Error(err)
		return -1
	}
	defer response.Body.Close()
	lines := bufio.NewScanner(response.Body)
	for lines.Scan() {
		if value, ok := strings.CutPrefix(lines.Text(), series+" "); ok {
			f, _ := strconv.ParseFloat(value, 64)
			return f
		}
	}
	return -1
}

func (n *notes) instances(state string) float64 {
	return n.metric(`client_instances{service="auth",state="` + state + `"}`)
}

func (n *notes) events(event string) float64 {
	return n.metric(`client_events_total{event="` + event + `",service="auth"}`)
}

// login makes an account at authd and returns a token.
func login(t *testing.T, authd *process) string {
	t.Helper()
	for _, path := range []string{"/v1/users", "/v1/auth"} {
		response, err := httpClient.Post("http://"+authd.addr("http")+path, "application/json", bytes.NewReader([]byte(`{"email":"ada@example.org","password":"an analytical engine"}`)))
		if err != nil {
			t.Fatal(err)
		}
		var a struct{ Token string }
		err = json.NewDecoder(response.Body).Decode(&a)
		response.Body.Close()
		if err != nil || response.StatusCode >= 300 {
			t.Fatalf("%s: %d, %v", path, response.StatusCode, err)
		}
		if a.Token != "" {
			return a.Token
		}
	}
	t.Fatal("no token")
	return ""
}
