package standard_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/config"
	"github.com/chassi-go/chassi/middleware"
	"github.com/chassi-go/chassi/schema"
	"github.com/chassi-go/chassi/standard"
)

// orders is a program with commands of its own. Ran is set to the command that ran.
func orders(ran *string) standard.Program[Config] {
	run := func(name string, err error) func(context.Context, *standard.Invocation[Config]) error {
		return func(_ context.Context, i *standard.Invocation[Config]) error {
			*ran = strings.TrimSpace(name + " " + strings.Join(i.Args, " "))
			if i.Flags["--yes"] {
				*ran += " yes"
			}
			return err
		}
	}
	return standard.Program[Config]{
		Name: "orders", Version: "1.2.3", Help: "Orders keeps orders.", About: schema.Info{Description: "Orders."},
		Setup: func(_ context.Context, app *standard.App, _ *Config) error {
			app.Mount(chassi.NewService("orders.v1.Orders", chassi.NewEndpoint("Get", greet, chassi.Route("GET /v1/order"), chassi.Public)))
			return nil
		},
		Commands: []standard.Command[Config]{
			{Name: "serve", Help: "serve", Settings: "*", Run: run("serve", nil)},
			{Name: "call", Help: "call it", Settings: "http", Run: run("call", nil)},
			{Name: "fail", Help: "fail", Run: run("fail", os.ErrNotExist)},
			{Name: "order add", Args: "ID [NOTE] [--yes]", Help: "add an order", Run: run("order add", nil)},
			{Name: "order list", Help: "list the orders", Run: run("order list", nil)},
		},
	}
}

func TestProgram(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		args           string
		code           int
		stdout, stderr string
		ran            string
	}{
		{args: "", ran: "serve"},
		{args: "--log.level=debug", ran: "serve"},
		{args: "serve --log.level=debug", ran: "serve"},
		{args: "call", ran: "call"},
		{args: "order add 7", ran: "order add 7"},
		{args: "order add 7 gift --yes", ran: "order add 7 gift yes"},
		{args: "order list", ran: "order list"},
		{args: "help", stdout: "Orders keeps orders."},
		{args: "--help", stdout: "Usage: orders [COMMAND]"},
		{args: "help call", stdout: "--http.addr  ORDERS_HTTP_ADDR"},
		{args: "serve --help", stdout: "--http.addr"},
		{args: "call -h", stdout: "Usage: orders call"},
		{args: "order --help", stdout: "  order add ID [NOTE]"},
		{args: "order add --help", stdout: "Usage: orders order add ID [NOTE] [--yes]"},
		{args: "schema --help", stdout: "orders schema openapi|asyncapi|proto"},
		{args: "version", stdout: "orders 1.2.3"},
		{args: "--version", stdout: "orders 1.2.3"},
		{args: "config --http.addr=:1", stdout: "--http.addr"},
		{args: "schema openapi", stdout: `"/v1/order"`},
		{args: "schema asyncapi", stdout: `"asyncapi"`},
		{args: "schema proto", stdout: "package orders.v1;"},
		{args: "schema thrift", code: 2, stderr: `unknown schema "thrift"`},
		{args: "hlep", code: 2, stderr: `orders: unknown command "hlep"; did you mean help? orders --help lists the commands`},
		{args: "help xyzzy", code: 2, stderr: `unknown command "xyzzy"; orders --help lists the commands`},
		{args: "order", code: 2, stderr: "orders: order needs a command:\norders:   order add"},
		{args: "order ad", code: 2, stderr: `unknown command "order ad"`},
		{args: "order add", code: 2, stderr: "usage: orders order add ID [NOTE] [--yes] (add an order); got 0 arguments"},
		{args: "serve now", code: 2, stderr: "usage: orders serve (serve); got 1 argument\n"},
		{args: "call --yes", code: 2, stderr: "--yes"},
		{args: "--htp.addr=x --http.addr=nonsense", code: 2, stderr: "\norders: --http.addr: http.addr (\"nonsense\") must be"},
		{args: "call --amqp.url=amqp://canary@h:x", code: 2, stderr: "amqp.url"},
		{args: "fail", code: 1, stderr: "orders: file does not exist", ran: "fail"},
		{args: "healthcheck --admin.addr=127.0.0.1:1", code: 1, stderr: "not ready"},
		{args: "healthcheck --admin.addr=127.0.0.1:0", code: 2, stderr: "needs a fixed port"},
	} {
		var ran string
		var stdout, stderr strings.Builder
		code := orders(&ran).Run(t.Context(), strings.Fields(c.args), []string{"ORDERS_SERVICE_HOST=10.0.0.1"}, os.Stdin, &stdout, &stderr)
		if code != c.code || !strings.Contains(stdout.String(), c.stdout) || !strings.Contains(stderr.String(), c.stderr) || ran != c.ran {
			t.Errorf("orders %s: exit %d, ran %q\n%s%s", c.args, code, ran, stdout.String(), stderr.String())
		}
		if strings.Contains(stdout.String()+stderr.String(), "canary") || c.stderr == "" && stderr.Len() > 0 {
			t.Errorf("orders %s:\n%s", c.args, stderr.String())
		}
	}
}

// The version and the help are printed whatever the configuration is.
func TestProgramWithInvalidConfiguration(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "orders.yaml")
	if err := os.WriteFile(file, []byte("log: ["), 0o600); err != nil {
		t.Fatal(err)
	}
	for args, want := range map[string]int{
		"version": standard.ExitOK, "--version": standard.ExitOK, "--help": standard.ExitOK, "help": standard.ExitOK, "serve --help": standard.ExitOK,
		"serve": standard.ExitUsage, "config": standard.ExitUsage, "version now": standard.ExitUsage,
	} {
		var ran string
		p := orders(&ran)
		p.File = file
		code := p.Run(t.Context(), strings.Fields(args), []string{"ORDERS_LOG_LEVEL=loud", "ORDERS_UNKNOWN=1"}, os.Stdin, io.Discard, io.Discard)
		if code != want || ran != "" {
			t.Errorf("orders %s: exit %d, want %d; ran %q", args, code, want, ran)
		}
	}
}

// A program without services, or a service without endpoints, has valid documents.
func TestSchemaWithoutEndpoints(t *testing.T) {
	t.Parallel()
	for _, services := range [][]*chassi.Service{nil, {chassi.NewService("orders.v1.Orders")}} {
		p := standard.Program[Config]{Name: "orders", Setup: func(_ context.Context, app *standard.App, _ *Config) error {
			app.Mount(services...)
			return nil
		}}
		for kind, want := range map[string]string{"openapi": `"paths": {}`, "asyncapi": `"channels": {}`, "proto": `syntax = "proto3";`} {
			var stdout, stderr strings.Builder
			if code := p.Run(t.Context(), []string{"schema", kind}, nil, os.Stdin, &stdout, &stderr); code != standard.ExitOK || !strings.Contains(stdout.String(), want) {
				t.Errorf("%d services, %s: exit %d\n%s%s", len(services), kind, code, stdout.String(), stderr.String())
			}
		}
	}
}

// The command with the most words is meant, in whatever order commands are registered.
func TestLongestCommandWins(t *testing.T) {
	t.Parallel()
	var ran string
	command := func(name, args string) standard.Command[Config] {
		return standard.Command[Config]{Name: name, Args: args, Help: "is " + name, Run: func(_ context.Context, i *standard.Invocation[Config]) error {
			ran = name + ":" + strings.Join(i.Args, ",")
			return nil
		}}
	}
	short, long := command("user", "[ID]"), command("user add", "ID")
	for _, commands := range [][]standard.Command[Config]{{short, long}, {long, short}} {
		p := standard.Program[Config]{Name: "orders", Commands: commands}
		for args, want := range map[string]string{"user": "user:", "user 7": "user:7", "user add 7": "user add:7"} {
			if code := p.Run(t.Context(), strings.Fields(args), nil, os.Stdin, io.Discard, io.Discard); code != standard.ExitOK || ran != want {
				t.Errorf("%s: exit %d, ran %q, want %q", args, code, ran, want)
			}
		}
		var help strings.Builder
		if p.Run(t.Context(), []string{"user", "add", "--help"}, nil, os.Stdin, &help, io.Discard); !strings.Contains(help.String(), "is user add") {
			t.Errorf("help:\n%s", help.String())
		}
	}
}

// A program that cannot be set up says why, and leaves nothing open.
func TestProgramSetupFails(t *testing.T) {
	t.Parallel()
	var closed bool
	p := standard.Program[Config]{Name: "orders", Setup: func(_ context.Context, app *standard.App, _ *Config) error {
		app.Add(chassi.ComponentFunc("resource", nil, func(context.Context) error { closed = true; return nil }))
		return errors.New("no price list")
	}}
	var stderr bytes.Buffer
	if code := p.Run(t.Context(), nil, nil, os.Stdin, io.Discard, &stderr); code != standard.ExitFailed || !strings.Contains(stderr.String(), "orders: no price list") || !closed {
		t.Errorf("exit %d, closed %t: %s", code, closed, stderr.String())
	}
	other := standard.Program[struct{}]{Name: "other"}
	stderr.Reset()
	if code := other.Run(t.Context(), nil, nil, os.Stdin, io.Discard, &stderr); code == standard.ExitOK || !strings.Contains(stderr.String(), "want a pointer to a struct that embeds standard.Config") {
		t.Errorf("exit %d: %s", code, stderr.String())
	}
}

// A program whose Setup or command panics says where, leaves nothing open, and does not exit with
// the code for an invalid configuration, which is also that of the Go runtime.
func TestProgramPanics(t *testing.T) {
	t.Parallel()
	var closed bool
	p := standard.Program[Config]{
		Name: "orders",
		Setup: func(_ context.Context, app *standard.App, _ *Config) error {
			app.Add(chassi.ComponentFunc("resource", nil, func(context.Context) error { closed = true; return nil }))
			panic("no price list")
		},
		Commands: []standard.Command[Config]{{Name: "count", Run: func(context.Context, *standard.Invocation[Config]) error { panic("no orders") }}},
	}
	for command, want := range map[string]string{"serve": "no price list", "schema openapi": "no price list", "count": "no orders"} {
		var stderr bytes.Buffer
		closed = false
		code := p.Run(t.Context(), strings.Fields(command), nil, os.Stdin, io.Discard, &stderr)
		if code != standard.ExitFailed || !strings.Contains(stderr.String(), "orders: panic: "+want) || !strings.Contains(stderr.String(), "program_test.go") {
			t.Errorf("%s: exit %d: %s", command, code, stderr.String())
		}
		if closed != (command != "count") {
			t.Errorf("%s: closed is %t", command, closed)
		}
	}
}

// The errors of Fail are reported with the one of Setup.
func TestProgramReportsFailuresOfSetup(t *testing.T) {
	t.Parallel()
	p := standard.Program[Config]{Name: "orders", Setup: func(_ context.Context, app *standard.App, _ *Config) error {
		app.Fail(standard.UsageError{Err: errors.New("shop.url is missing")})
		return errors.New("no price list")
	}}
	var stderr bytes.Buffer
	if code := p.Run(t.Context(), nil, nil, os.Stdin, io.Discard, &stderr); code != standard.ExitUsage ||
		!strings.Contains(stderr.String(), "orders: no price list") || !strings.Contains(stderr.String(), "orders: shop.url is missing") {
		t.Errorf("exit %d: %s", code, stderr.String())
	}
	stderr.Reset()
	if code := p.Run(t.Context(), []string{"schema", "proto"}, nil, os.Stdin, io.Discard, &stderr); code != standard.ExitFailed || strings.Contains(stderr.String(), "shop.url") {
		t.Errorf("schema: exit %d: %s", code, stderr.String())
	}
}

// A panic in a function of OnReload is the error of the reload, and the others are called.
func TestReloadPanics(t *testing.T) {
	t.Parallel()
	var c standard.Config
	if _, err := config.Load(&c, config.Options{Name: "orders"}); err != nil {
		t.Fatal(err)
	}
	app, err := standard.New(t.Context(), "orders", "1.0.0", c, standard.Options{Log: io.Discard})
	if err != nil {
		t.Fatal(err)
	}
	defer app.Close()
	var called bool
	app.OnReload(func(any) error { panic("no price list") })
	app.OnReload(func(any) error { called = true; return nil })
	if err := app.Reload(&c); err == nil || !strings.Contains(err.Error(), "no price list") || !called {
		t.Errorf("Reload = %v, the next function was called: %t", err, called)
	}
}

// A setting that is missing to serve does not keep schema from describing the service.
func TestProgramNeedsSettingsToServe(t *testing.T) {
	t.Parallel()
	p := standard.Program[standard.Config]{Name: "orders", Setup: func(_ context.Context, app *standard.App, _ *standard.Config) error {
		app.Fail(standard.UsageError{Err: errors.New("shop.url is missing")})
		app.Mount(chassi.NewService("orders.v1.Orders", chassi.NewEndpoint("Get", greet, chassi.Route("GET /v1/order"), chassi.Public)))
		return nil
	}}
	for args, want := range map[string]int{"schema openapi": standard.ExitOK, "config": standard.ExitOK, "serve --http.addr=127.0.0.1:0 --admin.addr=127.0.0.1:0": standard.ExitUsage} {
		var stderr strings.Builder
		if code := p.Run(t.Context(), strings.Fields(args), nil, os.Stdin, io.Discard, &stderr); code != want {
			t.Errorf("%s: exit %d, want %d\n%s", args, code, want, stderr.String())
		}
	}
}

// Serve reloads the configuration when its file changes, and keeps the old one while the new
// one is invalid.
func TestProgramReloads(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "orders.yaml")
	write := func(text string) {
		if err := os.WriteFile(file+".new", []byte(text), 0o600); err != nil {
			t.Error(err)
		}
		if err := os.Rename(file+".new", file); err != nil {
			t.Error(err)
		}
	}
	write("log: {level: info}\n")
	reloads := make(chan struct{}, 10)
	p := standard.Program[standard.Config]{Name: "orders", Setup: func(_ context.Context, app *standard.App, _ *standard.Config) error {
		app.OnReload(func(c any) error {
			if c.(*standard.Config).HTTP.MaxConnections == 7 {
				reloads <- struct{}{}
			}
			return nil
		})
		return nil
	}}
	out := new(log)
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan int, 1)
	args := []string{"--config=" + file, "--http.addr=127.0.0.1:0", "--admin.addr=127.0.0.1:0", "--shutdown.drain=0s"}
	go func() { result <- p.Run(ctx, args, nil, os.Stdin, io.Discard, out) }()
	await(t, "it serves", func() bool { return strings.Contains(out.String(), `"serving"`) })
	write("log: {level: loud}\n")
	await(t, "the invalid level is logged", func() bool { return strings.Contains(out.String(), "the old one stays") })
	write("log: {level: debug}\nhttp: {max_connections: 7}\n")
	<-reloads
	await(t, "the changes are logged", func() bool {
		return strings.Contains(out.String(), `"setting":"log.level","value":"debug"`) && strings.Contains(out.String(), "needs a restart")
	})
	cancel()
	if code := <-result; code != standard.ExitOK {
		t.Errorf("exit %d:\n%s", code, out)
	}
}

// A change of the configuration file while the program waits for a dependency is applied.
func TestProgramReloadsAfterALongStart(t *testing.T) {
	t.Parallel()
	file := filepath.Join(t.TempDir(), "orders.yaml")
	write := func(text string) {
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Error(err)
		}
	}
	write("log: {level: info}\n")
	waiting, there, reloaded := make(chan struct{}), make(chan struct{}), make(chan string, 10)
	p := standard.Program[standard.Config]{Name: "orders", Setup: func(_ context.Context, app *standard.App, _ *standard.Config) error {
		app.OnReload(func(c any) error { reloaded <- c.(*standard.Config).Log.Level; return nil })
		app.Add(chassi.ComponentFunc("database", func(context.Context) error { close(waiting); <-there; return nil }, nil))
		return nil
	}}
	ctx, cancel := context.WithCancel(t.Context())
	result := make(chan int, 1)
	args := []string{"--config=" + file, "--http.addr=127.0.0.1:0", "--admin.addr=127.0.0.1:0", "--shutdown.drain=0s"}
	go func() { result <- p.Run(ctx, args, nil, os.Stdin, io.Discard, new(log)) }()
	<-waiting
	write("log: {level: debug}\n")
	close(there)
	select {
	case level := <-reloaded:
		if level != "debug" {
			t.Errorf("the level is %s, want debug", level)
		}
	case <-time.After(30 * time.Second):
		t.Error("the change was not applied")
	}
	cancel()
	if code := <-result; code != standard.ExitOK {
		t.Errorf("exit %d", code)
	}
}

// Authenticators, handlers, plain middleware and changes of the stack may be added in any
// order before Run.
func TestAppIsOpen(t *testing.T) {
	t.Parallel()
	c := defaults(t)
	app, err := standard.New(t.Context(), "test", "1", c.Config, standard.Options{Log: new(log)})
	if err != nil {
		t.Fatal(err)
	}
	defer app.Close()
	app.Mount(chassi.NewService("test.v1.Test", chassi.NewEndpoint("Closed", greet, chassi.Route("GET /closed"))))
	app.Handle("GET /plain", http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "plain") }), chassi.Public)
	app.UseHTTP(func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("X-Wrapped", "yes")
			next.ServeHTTP(w, r)
		})
	})
	var routes []string
	app.Stack.InsertAfter(standard.Authentication, middleware.Layer{Name: "audit", Middleware: func(b *chassi.Binding, next chassi.Handler) chassi.Handler {
		routes = append(routes, b.Route)
		return next
	}})
	app.Stack.Remove(standard.RateLimitPeer)
	app.AddAuthenticator(middleware.Bearer(func(_ context.Context, token string) (*chassi.Principal, error) {
		return &chassi.Principal{Subject: token}, nil
	}))
	if err := app.Build(); err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{"/closed", "/plain"} {
		if !strings.Contains(strings.Join(routes, " "), want) {
			t.Errorf("the new layer is not around %s: %q", want, routes)
		}
	}
	for path, want := range map[string]int{"/closed": http.StatusOK, "/plain": http.StatusOK, "/unknown": http.StatusNotFound} {
		r := httptest.NewRequestWithContext(t.Context(), http.MethodGet, path, nil)
		r.Header.Set("Authorization", "Bearer ada")
		w := httptest.NewRecorder()
		app.HTTP.ServeHTTP(w, r)
		if w.Code != want || w.Header().Get("X-Wrapped") != "yes" {
			t.Errorf("%s: %d %v", path, w.Code, w.Header())
		}
	}
	if names := app.Stack.String(); !strings.Contains(names, "authentication\naudit\nrate_limit_principal") || strings.Contains(names, "rate_limit_peer") {
		t.Error(names)
	}
}

// All mistakes are reported together, before anything listens.
func TestBuildReportsAllMistakes(t *testing.T) {
	t.Parallel()
	c := defaults(t)
	app, err := standard.New(t.Context(), "test", "1", c.Config, standard.Options{Log: new(log)})
	if err != nil {
		t.Fatal(err)
	}
	app.Stack.InsertAfter("authorisation", middleware.Layer{Name: "x"})
	app.Handle("no pattern", nil)
	app.Mount(chassi.NewService("bad name"))
	app.Fail(errors.New("a third one"))
	app.AddTransport(standard.Transport{New: func([]chassi.Middleware) (chassi.Transport, error) { return nil, errors.New("a fourth one") }})
	err = app.Run(t.Context())
	for _, want := range []string{`no layer "authorisation"`, "no pattern", "a third one", "a fourth one", "bad name"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in: %v", want, err)
		}
	}
}
