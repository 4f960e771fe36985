package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/auth"
	"github.com/chassi-go/chassi/auth/service"
	"github.com/chassi-go/chassi/auth/store"
	"github.com/chassi-go/chassi/client"
	"github.com/chassi-go/chassi/database"
	"github.com/chassi-go/chassi/internal/dbtest"
	"github.com/chassi-go/chassi/middleware"
	"github.com/chassi-go/chassi/password"
	"github.com/chassi-go/chassi/token"
	"github.com/chassi-go/chassi/transport/grpcapi"
	"github.com/chassi-go/chassi/transport/localapi"
	"github.com/chassi-go/chassi/workpool"
)

// startAuth serves authd's service over gRPC, and returns its address and tokens for the
// accounts.
func startAuth(t *testing.T, emails ...string) (addr string, tokens []string) {
	t.Helper()
	return startAuthWith(t, authConfig, emails...)
}

func startAuthWith(t *testing.T, config service.Config, emails ...string) (addr string, tokens []string) {
	t.Helper()
	db, err := database.Open(t.Context(), database.Config{URL: dbtest.SQLite(t)})
	must(t, err)
	t.Cleanup(func() { _ = db.Close() })
	_, err = db.Migrate(t.Context(), store.Migrations())
	must(t, err)
	pool := workpool.New(workpool.Options{Workers: 1, Queue: 10})
	t.Cleanup(func() { _ = pool.Stop(context.Background()) })
	quiet := slog.New(slog.DiscardHandler)
	s, err := service.New(config, service.Options{Store: store.New(db), Pool: pool, Logger: quiet})
	must(t, err)
	server := grpcapi.New(grpcapi.Config{Addr: "127.0.0.1:0", Logger: quiet}, middleware.Validation())
	local := localapi.New(middleware.Validation())
	must(t, server.Mount(auth.Endpoints(s)))
	must(t, local.Mount(auth.Endpoints(s)))
	for _, c := range []chassi.Component{s, server} {
		must(t, c.Start(t.Context()))
		t.Cleanup(func() { _ = c.Stop(context.Background()) })
	}
	for _, email := range emails {
		tokens = append(tokens, tokenOf(t, local, email))
	}
	return server.Addr().String(), tokens
}

// tokenOf creates an account and returns a token for it.
func tokenOf(t *testing.T, authd client.Caller, email string) string {
	t.Helper()
	accounts, err := auth.NewClient(authd)
	must(t, err)
	_, err = accounts.SignUp(t.Context(), &auth.SignUpRequest{Email: email, Password: "an analytical engine"})
	must(t, err)
	r, err := accounts.Authenticate(t.Context(), &auth.AuthenticateRequest{Email: email, Password: "an analytical engine"})
	must(t, err)
	return r.Token
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// running is the program that serves.
type running struct {
	t           *testing.T
	http, admin string
	lines       chan string
	stop        func() // and waits for its end
}

// start runs the program until the end of the test, or until it is stopped.
func start(t *testing.T, args ...string) *running {
	t.Helper()
	dir := t.TempDir()
	args = append([]string{
		"serve", "--http.addr=127.0.0.1:0", "--admin.addr=127.0.0.1:0", "--grpc.addr=127.0.0.1:0", "--nats.embedded.addr=127.0.0.1:0",
		"--nats.embedded.store_dir=" + filepath.Join(dir, "jetstream"), "--nats.embedded.credentials_dir=" + filepath.Join(dir, "clients"),
		"--shutdown.drain=0s", "--staff=staff@example.org",
	}, args...)
	ctx, cancel := context.WithCancel(t.Context())
	r, w := io.Pipe()
	p := program()
	p.File = filepath.Join(dir, "orders.yaml")
	code := make(chan int, 1)
	go func() {
		code <- p.Run(ctx, args, []string{"ORDERS_IDEMPOTENCY_SECRET=" + strings.Repeat("s", 32)}, os.Stdin, io.Discard, w)
		w.Close()
	}()
	stop := sync.OnceFunc(func() {
		cancel()
		if c := <-code; c != 0 {
			t.Errorf("exit code %d", c)
		}
	})
	t.Cleanup(stop)
	p2 := &running{t: t, lines: make(chan string, 1000), stop: stop}
	serving := make(chan struct{})
	go p2.read(r, serving)
	select {
	case <-serving:
	case <-time.After(time.Minute):
		t.Fatal("the program does not serve")
	}
	return p2
}

// read reads the log until the program ends.
func (r *running) read(from io.Reader, serving chan struct{}) {
	lines := bufio.NewScanner(from)
	for lines.Scan() {
		var line struct{ Msg, Server, Addr string }
		_ = json.Unmarshal(lines.Bytes(), &line)
		switch {
		case line.Msg == "listening" && line.Server == "http":
			r.http = "http://" + line.Addr
		case line.Msg == "listening" && line.Server == "admin":
			r.admin = "http://" + line.Addr
		case line.Msg == "serving":
			close(serving)
		case line.Msg == "audit":
			r.lines <- lines.Text()
		}
	}
}

// call makes a request and decodes the response, an order.
func (r *running) call(method, path, token string, body any) (o Order, response *http.Response) {
	r.t.Helper()
	text, err := json.Marshal(body)
	must(r.t, err)
	request, err := http.NewRequestWithContext(r.t.Context(), method, r.http+path, bytes.NewReader(text))
	must(r.t, err)
	request.Header.Set("Authorization", "Bearer "+token)
	request.Header.Set("Content-Type", "application/json")
	if body == nil {
		request.Body, request.ContentLength = nil, 0
	} else {
		request.Header.Set("Idempotency-Key", string(text))
	}
	response, err = http.DefaultClient.Do(request)
	must(r.t, err)
	defer response.Body.Close()
	_ = json.NewDecoder(response.Body).Decode(&o)
	return o, response
}

func (r *running) await(what string, condition func() bool) {
	r.t.Helper()
	tick, end := time.NewTicker(20*time.Millisecond), time.After(time.Minute)
	defer tick.Stop()
	for !condition() {
		select {
		case <-tick.C:
		case <-end:
			r.t.Fatalf("not within a minute: %s", what)
		}
	}
}

// The whole program: an account of authd orders, the worker confirms, the staff ships, which
// is audited, and the figures show it. While the warehouse is down, orders are refused.
func TestProgram(t *testing.T) {
	t.Parallel()
	dbtest.Engines(t, func(t *testing.T, url string) {
		authd, tokens := startAuth(t, "ada@example.org", "staff@example.org")
		w := newWarehouse(t)
		defer http.DefaultClient.CloseIdleConnections()
		p := start(t, "--database.url="+url, "--auth.target="+authd, "--warehouse.url="+w.URL)
		ada, staff := tokens[0], tokens[1]
		tea := CreateOrderRequest{Product: "tea", Quantity: 2}
		order, response := p.call(http.MethodPost, "/v1/orders", ada, tea)
		if response.StatusCode != http.StatusCreated || order.Customer != "ada@example.org" {
			t.Fatalf("%d, %+v", response.StatusCode, order)
		}
		if again, response := p.call(http.MethodPost, "/v1/orders", ada, tea); response.Header.Get("Idempotency-Replayed") != "true" || again != order {
			t.Errorf("%v, %+v", response.Header, again)
		}
		p.await("the order is confirmed", func() bool {
			o, _ := p.call(http.MethodGet, "/v1/orders/"+order.ID, ada, nil)
			return o.Status == confirmed
		})
		if _, response := p.call(http.MethodPost, "/v1/orders/"+order.ID+"/ship", ada, nil); response.StatusCode != http.StatusForbidden {
			t.Errorf("%d, want 403", response.StatusCode)
		}
		if o, response := p.call(http.MethodPost, "/v1/orders/"+order.ID+"/ship", staff, nil); o.Status != shipped {
			t.Errorf("%d, %+v", response.StatusCode, o)
		}
		for _, want := range [][]string{{"permission_denied", "ada@example.org"}, {`"outcome":"ok"`, "staff@example.org", order.ID}} {
			line := <-p.lines
			for _, part := range want {
				if !strings.Contains(line, part) {
					t.Errorf("no %q in the audit: %s", part, line)
				}
			}
		}
		w.setDown(true)
		_, response = p.call(http.MethodPost, "/v1/orders", ada, CreateOrderRequest{Product: "tea", Quantity: 1})
		if response.StatusCode != http.StatusServiceUnavailable || response.Header.Get("Retry-After") == "" {
			t.Errorf("%d, %v", response.StatusCode, response.Header)
		}
		p.checkMetrics(`orders_total{event="created"} 1`, `orders_total{event="confirmed"} 1`, `orders_total{event="shipped"} 1`,
			`idempotency_keys_total{event="replayed"} 1`)
	})
}

func (r *running) checkMetrics(want ...string) {
	r.t.Helper()
	response, err := http.Get(r.admin + "/metrics")
	must(r.t, err)
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	must(r.t, err)
	for _, series := range want {
		if !strings.Contains(string(text), series) {
			r.t.Errorf("no %s in the metrics", series)
		}
	}
}

// All settings that are missing are named at once.
func TestMissingSettings(t *testing.T) {
	t.Parallel()
	out := new(bytes.Buffer)
	dir := t.TempDir()
	args := []string{"serve", "--database.url=sqlite:" + filepath.Join(dir, "db"), "--nats.embedded.credentials_dir=" + dir, "--nats.embedded.store_dir=" + dir}
	if code := program().Run(t.Context(), args, nil, os.Stdin, out, out); code == 0 {
		t.Error("exit code 0")
	}
	for _, setting := range []string{"auth.target", "warehouse.url", "idempotency.secret"} {
		if !strings.Contains(out.String(), setting+" is missing") {
			t.Errorf("no %s in:\n%s", setting, out)
		}
	}
}

// The contract is printed without anything being there.
func TestSchema(t *testing.T) {
	t.Parallel()
	out := new(bytes.Buffer)
	if code := program().Run(t.Context(), []string{"schema", "openapi"}, nil, os.Stdin, out, out); code != 0 || !strings.Contains(out.String(), "/v1/orders/{id}/ship") {
		t.Errorf("exit code %d: %s", code, out)
	}
}

// authConfig hashes cheaply.
var authConfig = service.Config{
	SignUp:   true,
	Password: password.Params{Memory: 64, Time: 1, Parallelism: 1, SaltLen: 8, KeyLen: 16},
	Token:    service.TokenConfig{Algorithm: token.EdDSA, Issuer: "authd", Audience: "authd", TTL: time.Hour, Leeway: 5 * time.Second, CacheSize: 100},
	Lockout:  service.Lockout{Pair: 5, Account: 50, Network: 1000, MaxDelay: time.Minute, Window: time.Hour, KnownFor: time.Hour},
}
