package standard_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/config"
	"github.com/chassi-go/chassi/redis"
	"github.com/chassi-go/chassi/standard"
	"github.com/chassi-go/chassi/standard/amqpserver"
	"github.com/chassi-go/chassi/standard/grpcserver"
	"github.com/chassi-go/chassi/standard/natsembedded"
	"github.com/chassi-go/chassi/standard/redisdb"
	"github.com/chassi-go/chassi/telemetry/exporters"
	"github.com/chassi-go/chassi/transport/natsapi/embedded"
)

func TestMain(m *testing.M) {
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("net/http.(*persistConn).readLoop"), goleak.IgnoreTopFunction("net/http.(*persistConn).writeLoop"))
}

// log is what an App wrote.
type log struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *log) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *log) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// Config has all that can be added.
type Config struct {
	standard.Config

	GRPC  grpcserver.Config   `config:"grpc"`
	NATS  natsembedded.Config `config:"nats"`
	AMQP  amqpserver.Config   `config:"amqp"`
	Redis redis.Config        `config:"redis"`
}

// assembled is an App with all of it.
type assembled struct {
	*standard.App
	embedded *embedded.Server
}

func assemble(ctx context.Context, c Config, o standard.Options) (*assembled, error) {
	if err := config.Check(&c, c.Loaded); err != nil { // as a Program does
		return nil, err
	}
	c.Trace.Exporters = exporters.All()
	app, err := standard.New(ctx, "test", "1", c.Config, o)
	if err != nil {
		return nil, err
	}
	if _, err := redisdb.Add(app, c.Redis); err != nil {
		return nil, errors.Join(err, app.Close())
	}
	grpcserver.Add(app, c.GRPC)
	a := &assembled{app, natsembedded.Add(app, c.NATS)}
	amqpserver.Add(app, c.AMQP)
	return a, nil
}

// defaults is a configuration as a program loads it, on free ports.
func defaults(t *testing.T, args ...string) Config {
	t.Helper()
	var c Config
	args = append([]string{"--http.addr=127.0.0.1:0", "--admin.addr=127.0.0.1:0", "--grpc.addr=127.0.0.1:0", "--nats.url=embedded", "--nats.embedded.addr=127.0.0.1:0", "--nats.embedded.credentials_dir=" + filepath.Join(t.TempDir(), "clients"), "--shutdown.drain=0s"}, args...)
	if _, err := config.Load(&c, config.Options{Name: "test", Args: args}); err != nil {
		t.Fatal(err)
	}
	return c
}

type greeting struct {
	Text string `json:"text"`
}

func greet(context.Context, *struct{}) (*greeting, error) { return &greeting{"hello"}, nil }

func fail(context.Context, *struct{}) (*greeting, error) { return nil, errors.New("a hidden cause") }

// running is an App that serves.
type running struct {
	*assembled
	log    *log
	cancel context.CancelFunc
	result chan error
}

func start(t *testing.T, c Config, more ...*chassi.Service) *running {
	t.Helper()
	return startWith(t, c, func(r *running) { r.Mount(more...) })
}

// startWith lets add put more into the App before it runs.
func startWith(t *testing.T, c Config, add func(*running)) *running {
	t.Helper()
	r := &running{log: new(log), result: make(chan error, 1)}
	var err error
	if r.assembled, err = assemble(t.Context(), c, standard.Options{Log: r.log}); err != nil {
		t.Fatal(err)
	}
	r.Mount(chassi.NewService("test.v1.Test",
		chassi.NewEndpoint("Greet", greet, chassi.Route("GET /greet"), chassi.Public),
		chassi.NewEndpoint("Fail", fail, chassi.Route("GET /fail"), chassi.Public),
		chassi.NewEndpoint("Closed", greet, chassi.Route("GET /closed")),
	))
	add(r)
	ctx, cancel := context.WithCancel(t.Context())
	r.cancel = cancel
	go func() { r.result <- r.Run(ctx) }()
	select {
	case <-r.Started():
	case err := <-r.result:
		t.Fatal(err)
	}
	t.Cleanup(func() { cancel() })
	return r
}

func (r *running) stop(t *testing.T) {
	t.Helper()
	r.cancel()
	if err := <-r.result; err != nil {
		t.Error(err)
	}
}

func get(t *testing.T, addr net.Addr, path string) (int, string) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 10 * time.Second}
	response, err := client.Get("http://" + addr.String() + path)
	if err != nil {
		t.Error(err)
		return 0, ""
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		t.Error(err)
	}
	return response.StatusCode, string(text)
}

func TestDefaultsServe(t *testing.T) {
	t.Parallel()
	r := start(t, defaults(t))
	for path, want := range map[string]int{"/greet": 200, "/fail": 500, "/closed": 401, "/nowhere": 404, "/metrics": 404} {
		if status, text := get(t, r.HTTP.Addr(), path); status != want || strings.Contains(text, "hidden") {
			t.Errorf("%s: %d %s, want %d", path, status, text, want)
		}
	}
	for path, want := range map[string]string{
		"/healthz": "", "/readyz": `"status":"serving"`, "/debug/pprof/": "goroutine",
		"/metrics": `http_requests_total{method="GET",route="/greet",server="http",status="200"} 1`,
	} {
		if status, text := get(t, r.Admin.Addr(), path); status != 200 || !strings.Contains(text, want) {
			t.Errorf("%s: %d, want %q in:\n%s", path, status, want, text)
		}
	}
	_, metrics := get(t, r.Admin.Addr(), "/metrics")
	for _, name := range []string{
		`route="/closed",server="http",status="401"`, `route="unmatched",server="http",status="404"`, `route="/readyz",server="admin"`, "http_request_duration_seconds_bucket", "go_goroutines",
		"process_cpu_seconds_total", "build_info", `connections_open{server="http"}`, `connections_refused_total{server="admin"}`,
	} {
		if !strings.Contains(metrics, name) {
			t.Errorf("no %s among the metrics", name)
		}
	}
	r.stop(t)

	calls := 0
	for line := range strings.Lines(r.log.String()) {
		var l struct {
			Msg       string
			RequestID string `json:"request_id"`
			TraceID   string `json:"trace_id"`
			Route     string
		}
		if err := json.Unmarshal([]byte(line), &l); err != nil {
			t.Errorf("%v: %s", err, line)
		}
		if l.Msg != "call" {
			continue
		}
		if calls++; l.RequestID == "" || l.TraceID == "" || l.Route == "/metrics" {
			t.Errorf("%s", line)
		}
	}
	if calls != 5 {
		t.Errorf("%d access lines, want 5 (the admin listener writes none):\n%s", calls, r.log)
	}
}

func TestReload(t *testing.T) {
	t.Parallel()
	r := start(t, defaults(t))
	c := defaults(t, "--log.level=error", "--rate_limit.peer=1/1h")
	if err := r.Reload(&c); err != nil {
		t.Fatal(err)
	}
	for i, want := range []int{200, 429} {
		if status, text := get(t, r.HTTP.Addr(), "/greet"); status != want {
			t.Errorf("call %d: %d %s, want %d", i, status, text, want)
		}
	}
	r.stop(t)
	if strings.Contains(r.log.String(), `"route":"/greet"`) {
		t.Errorf("an access line above the level:\n%s", r.log)
	}
	c.Log.Level = "loud"
	if err := r.Reload(&c); err == nil || !strings.Contains(err.Error(), "loud") {
		t.Errorf("%v, want the level named", err)
	}
}

// Fault 41: a collector and a tracker that take connections and never respond
// cost no call anything, and cannot hold up the end.
func TestFault41HangingCollectors(t *testing.T) {
	t.Parallel()
	hung, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer hung.Close()
	c := defaults(t, "--trace.exporter=otlp-http", "--trace.ratio=1", "--rate_limit.peer=off", "--timeout=2s")
	c.Trace.Endpoint = "http://" + hung.Addr().String()
	c.Sentry.DSN = "http://key@" + hung.Addr().String() + "/1"
	r := start(t, c)
	for range 100 { // more than any buffer in between holds at once
		if status, _ := get(t, r.HTTP.Addr(), "/fail"); status != 500 {
			t.Errorf("status %d", status)
		}
	}
	if status, text := get(t, r.HTTP.Addr(), "/greet"); status != 200 {
		t.Errorf("%d %s", status, text)
	}
	r.stop(t)
}

// Settings that cannot work are refused before anything listens.
func TestNewRefuses(t *testing.T) {
	t.Parallel()
	for name, breakIt := range map[string]func(*Config){
		"log.format": func(c *Config) { c.Log.Format = "xml" },
		"log.level":  func(c *Config) { c.Log.Level = "loud" },
		"origin":     func(c *Config) { c.HTTP.CORS.Origins = []string{"*.example.org/path"} },
	} {
		c := defaults(t)
		breakIt(&c)
		app, err := assemble(t.Context(), c, standard.Options{Log: io.Discard})
		if err == nil {
			err = app.Run(t.Context())
		}
		if err == nil {
			t.Errorf("%s: no error", name)
		}
	}
}
