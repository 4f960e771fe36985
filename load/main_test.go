package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"math/rand/v2"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/auth"
	"github.com/chassi-go/chassi/auth/service"
	"github.com/chassi-go/chassi/auth/store"
	"github.com/chassi-go/chassi/database"
	"github.com/chassi-go/chassi/internal/dbtest"
	"github.com/chassi-go/chassi/load/accounts"
	"github.com/chassi-go/chassi/load/openloop"
	"github.com/chassi-go/chassi/middleware"
	"github.com/chassi-go/chassi/password"
	"github.com/chassi-go/chassi/token"
	"github.com/chassi-go/chassi/transport/amqpapi"
	"github.com/chassi-go/chassi/transport/grpcapi"
	"github.com/chassi-go/chassi/transport/httpapi"
	"github.com/chassi-go/chassi/transport/natsapi"
	"github.com/chassi-go/chassi/transport/natsapi/embedded"
	"github.com/chassi-go/chassi/workpool"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	// The embedded server leaves these for the rest of the process.
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/nats-io/nats-server/v2/server.(*ipQueue[...]).push"),
		goleak.IgnoreAnyFunction("github.com/nats-io/nats-server/v2/server.(*Server).Start"))
}

const users = 20

var quiet = slog.New(slog.DiscardHandler)

// manage starts server and stops it with the test.
func manage(t *testing.T, server chassi.Component) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := server.Start(ctx); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
		defer cancel()
		if err := server.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
}

// newService is the auth service on accounts of this folder, with one worker that
// hashes and a queue for one login.
func newService(t *testing.T, params password.Params) *service.Service {
	t.Helper()
	db, err := database.Open(t.Context(), database.Config{URL: dbtest.SQLite(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = db.Close() })
	if _, err := accounts.Seed(t.Context(), db, accounts.Seeding{Users: users, Params: params}); err != nil {
		t.Fatal(err)
	}
	pool := workpool.New(workpool.Options{Name: "hashing", Workers: 1, Queue: 1})
	manage(t, chassi.ComponentFunc("hashing", nil, pool.Stop))
	s, err := service.New(service.Config{
		Password: params,
		Token:    service.TokenConfig{Algorithm: token.EdDSA, Issuer: "authd", Audience: "authd", TTL: time.Hour, CacheSize: 1000},
		Lockout:  service.Lockout{Pair: 5, Account: 50, Network: 1000, MaxDelay: time.Minute, Window: time.Hour, KnownFor: time.Hour},
	}, service.Options{Store: store.New(db), Pool: pool, Logger: quiet})
	if err != nil {
		t.Fatal(err)
	}
	manage(t, s)
	return s
}

var cheap = password.Params{Memory: 64, Time: 1, Parallelism: 1, SaltLen: 8, KeyLen: 16}

// serve serves the auth service over a transport, and returns the flags that lead
// to it.
func serve(t *testing.T, transport string, params password.Params) []string {
	t.Helper()
	s := newService(t, params)
	around := []chassi.Middleware{
		middleware.Recover(), middleware.Timeout(20 * time.Second), middleware.Authentication(middleware.Bearer(s.Principal)), middleware.Validation(),
	}
	mount := func(server chassi.Transport) {
		t.Helper()
		if err := server.Mount(auth.Endpoints(s)); err != nil {
			t.Fatal(err)
		}
		manage(t, server)
	}
	flags := []string{"--transport", transport, "--users", strconv.Itoa(users), "--tokens", "3", "--target"}
	switch transport {
	case "grpc":
		server := grpcapi.New(grpcapi.Config{Addr: "127.0.0.1:0", Logger: quiet}, around...)
		mount(server)
		return append(flags, server.Addr().String())
	case "nats":
		credentials := t.TempDir()
		key, err := embedded.Credentials(credentials).Add("load")
		if err != nil {
			t.Fatal(err)
		}
		broker := embedded.New(embedded.Config{Addr: "127.0.0.1:0", CredentialsDir: credentials, Logger: quiet})
		manage(t, broker)
		mount(natsapi.New(natsapi.Config{Broker: broker, MaxConcurrentPerClient: 128, MaxQueuedPerClient: 1024, Logger: quiet}, around...))
		return append(flags, broker.URL(), "--nats-key", key)
	case "amqp":
		url := rabbit(t)
		prefix := "test" + strconv.FormatUint(rand.Uint64(), 36)
		mount(amqpapi.New(amqpapi.Config{URL: url, Prefix: prefix, MaxConcurrent: 256, MaxConcurrentPerClient: 256, Expires: time.Minute, Logger: quiet}, around...))
		return append(flags, url, "--amqp-prefix", prefix)
	default:
		server, err := httpapi.New(httpapi.Config{Addr: "127.0.0.1:0", Logger: quiet}, around...)
		if err != nil {
			t.Fatal(err)
		}
		mount(server)
		return append(flags, "http://"+server.Addr().String())
	}
}

// rabbit returns the URL of a RabbitMQ, or skips the test.
func rabbit(t *testing.T) string {
	t.Helper()
	url := os.Getenv("CHASSI_TEST_AMQP")
	if url == "" {
		url = "amqp://guest:guest@127.0.0.1:5672/"
	}
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
	defer cancel()
	c, err := amqpapi.Dial(ctx, amqpapi.ClientConfig{URL: url, Logger: quiet})
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("RabbitMQ at CHASSI_TEST_AMQP: %v", err)
		}
		t.Skipf("RabbitMQ at CHASSI_TEST_AMQP: %v", err)
	}
	c.Close()
	return url
}

// command runs the program.
func command(t *testing.T, args ...string) (code int, out, errOut string) {
	t.Helper()
	var o, e bytes.Buffer
	code = run(t.Context(), args, &o, &e)
	return code, o.String(), e.String()
}

// measure runs the program and decodes its JSON.
func measure(t *testing.T, args ...string) report {
	t.Helper()
	code, out, errOut := command(t, append(args, "--json")...)
	if code != 0 {
		t.Fatalf("exit %d: %s", code, errOut)
	}
	var r report
	if err := json.Unmarshal([]byte(out), &r); err != nil {
		t.Fatalf("%v in %s", err, out)
	}
	return r
}

func TestMixedOverEveryTransport(t *testing.T) {
	t.Parallel()
	for transport := range targets {
		t.Run(transport, func(t *testing.T) {
			t.Parallel()
			r := measure(t, append(serve(t, transport, cheap), "--scenario", "mixed", "--rate", "200", "--duration", "1s", "--warmup", "100ms", "--arrivals", "even")...)
			want := map[string]int64{"validate": 160, "me": 30, "login": 10}
			if len(r.Phases) != 1 || len(r.Phases[0].Streams) != len(want) {
				t.Fatalf("%+v", r)
			}
			for _, s := range r.Phases[0].Streams {
				if s.Due != want[s.Name] || s.OK+s.Refused != s.Due || s.Name != "login" && s.Refused > 0 || s.Accepted.P50 <= 0 || s.Accepted.Max < s.Accepted.P999 {
					t.Errorf("%+v", s)
				}
			}
		})
	}
}

// More logins than can be hashed are refused, and are reported apart from the
// calls beside them.
func TestFlood(t *testing.T) {
	t.Parallel()
	dear := password.Params{Memory: 19456, Time: 2, Parallelism: 1, SaltLen: 8, KeyLen: 16}
	r := measure(t, append(serve(t, "http", dear), "--scenario", "flood", "--rate", "50", "--login-rate", "300", "--duration", "3s", "--warmup", "100ms")...)
	validate, login := r.Phases[0].Streams[0], r.Phases[0].Streams[1]
	if validate.Name != "validate" || validate.OK == 0 || validate.OK != validate.Due {
		t.Errorf("%+v", validate)
	}
	if login.Name != "login" || login.OK == 0 || login.Refused < login.Due/2 || login.Failed > 0 || login.RefusedIn.P50 <= 0 {
		t.Errorf("%+v", login)
	}
}

func TestStepsPrintALineEach(t *testing.T) {
	t.Parallel()
	code, out, errOut := command(t, append(serve(t, "http", cheap), "--steps", "20,40,80", "--duration", "300ms", "--warmup", "0s", "--arrivals", "even")...)
	if code != 0 {
		t.Fatalf("exit %d: %s", code, errOut)
	}
	var rates []string
	for line := range strings.Lines(out) {
		if words := strings.Fields(line); words[0] == "validate" && len(words) == 13 {
			rates = append(rates, words[1]+" "+words[3])
		}
	}
	if want := "20 6,40 12,80 24"; strings.Join(rates, ",") != want {
		t.Errorf("rates and calls %q, want %q in\n%s", rates, want, out)
	}
}

func TestErrorsHelp(t *testing.T) {
	t.Parallel()
	flags := serve(t, "http", cheap)
	for name, c := range map[string]struct {
		args []string
		want string
	}{
		"unknown flag":    {[]string{"--rat", "5"}, "unknown flag --rat; --help"},
		"no flag":         {[]string{"fast"}, `"fast" is not a flag`},
		"transport":       {[]string{"--transport", "smoke"}, `"smoke" must be one of http, grpc, nats, amqp`},
		"scenario":        {[]string{"--scenario", "all"}, `"all" must be one of validate`},
		"arrivals":        {[]string{"--arrivals", "late"}, "neither poisson nor even"},
		"no users":        {[]string{"--users", "0"}, "go run ./load/seed"},
		"no rate":         {[]string{"--rate", "0"}, "must be above 0"},
		"steps":           {[]string{"--steps", "1,x"}, `"x" is not a rate`},
		"nobody there":    {[]string{"--target", "http://127.0.0.1:1"}, "cannot call authd over http at http://127.0.0.1:1"},
		"no such account": {slices.Concat(flags, []string{"--users", "500"}), "user0000249@example.com cannot log in"},
		"wrong password":  {slices.Concat(flags, []string{"--password", "a guess"}), "user0000000@example.com cannot log in"},
	} {
		code, _, errOut := command(t, c.args...)
		if code != 2 || !strings.Contains(errOut, c.want) || strings.Count(errOut, "\n") != 1 {
			t.Errorf("%s: exit %d, %q, want %q", name, code, errOut, c.want)
		}
	}
	if code, _, errOut := command(t, "--help"); code != 0 || !strings.Contains(errOut, "-login-rate") {
		t.Errorf("--help: exit %d, %s", code, errOut)
	}
}

func TestRefusalsAreNotFailures(t *testing.T) {
	t.Parallel()
	unavailable := chassi.NewError(chassi.Unavailable, "unavailable", "no")
	for name, c := range map[string]struct {
		transport string
		err       error
		want      bool
	}{
		"busy":                     {"http", auth.ErrBusy, true},
		"rate limit":               {"grpc", chassi.NewError(chassi.ResourceExhausted, "rate_limited", "no"), true},
		"503 of a proxy":           {"http", unavailable.WithCause(errors.New("status 503 without a valid problem document")), true},
		"unavailable over gRPC":    {"grpc", unavailable, true},
		"connection lost, gRPC":    {"grpc", unavailable.WithCause(errors.New("connection reset")), false},
		"connection lost":          {"nats", chassi.NewError(chassi.Unavailable, "unreachable", "no"), false},
		"wrong":                    {"http", auth.ErrInvalidUser, false},
		"deadline":                 {"http", context.DeadlineExceeded, false},
		"not an error of a server": {"http", errors.New("the response contains no token"), false},
	} {
		if got := (&target{transport: c.transport}).isRefusal(c.err); got != c.want {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
	}
}

func TestNothingAcceptedIsAnError(t *testing.T) {
	t.Parallel()
	r := report{Phases: []*phase{{Streams: []*openloop.Result{{Name: "me", Due: 3, OK: 1}, {Name: "login", Due: 3, Refused: 3}}}}}
	if err := r.judge(); err == nil || !strings.Contains(err.Error(), "3 calls of login") {
		t.Errorf("%v", err)
	}
	r.Phases[0].Streams[1].OK = 1
	if err := r.judge(); err != nil {
		t.Error(err)
	}
}

func TestPasswordsAreNotPrinted(t *testing.T) {
	t.Parallel()
	for target, want := range map[string]string{
		"amqp://ann:secret@host:5672/": "amqp://ann:xxxxx@host:5672/", "127.0.0.1:9090": "127.0.0.1:9090", "http://host": "http://host",
	} {
		if got := redacted(target); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

func TestTokensAreSpread(t *testing.T) {
	t.Parallel()
	for _, c := range [][4]int{{0, 1, 9, 0}, {0, 3, 9, 0}, {1, 3, 9, 4}, {2, 3, 9, 8}, {31, 32, 1_000_000, 999_999}} {
		if got := spread(c[0], c[1], c[2]); got != c[3] {
			t.Errorf("%d of %d below %d: %d, want %d", c[0], c[1], c[2], got, c[3])
		}
	}
}
