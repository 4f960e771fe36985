package main

import (
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/auth"
	"github.com/chassi-go/chassi/client"
	"github.com/chassi-go/chassi/transport/grpcapi"
	"github.com/chassi-go/chassi/transport/httpapi"
)

// ways are how clients of several networks reach a node. Each returns the service as a
// client from the loopback address 127.0.0.number calls it, directly or by way of a proxy.
var ways = map[string]struct {
	args []string
	dial func(t *testing.T, n *node, network int) auth.Service
}{
	"HTTP": {nil, func(t *testing.T, n *node, network int) auth.Service {
		return overHTTP(t, "http://"+relay(t, strings.TrimPrefix(n.http, "http://"), network))
	}},
	"HTTP behind a proxy": {[]string{"--http.trusted_proxies=127.0.0.0/8"}, func(t *testing.T, n *node, network int) auth.Service {
		return overHTTP(t, n.http, forwardedFor(network))
	}},
	"gRPC": {nil, func(t *testing.T, n *node, network int) auth.Service {
		return overGRPC(t, relay(t, n.grpc, network))
	}},
	"gRPC behind a proxy": {[]string{"--grpc.trusted_proxies=127.0.0.0/8"}, func(t *testing.T, n *node, network int) auth.Service {
		return overGRPC(t, n.grpc, forwardedFor(network))
	}},
}

func forwardedFor(network int) chassi.Middleware {
	return func(_ *chassi.Binding, next chassi.Handler) chassi.Handler {
		return func(ctx context.Context, call *chassi.Call) error {
			call.In.Set("X-Forwarded-For", fmt.Sprint("192.0.2.", network))
			return next(ctx, call)
		}
	}
}

func overHTTP(t *testing.T, url string, around ...chassi.Middleware) auth.Service {
	t.Helper()
	caller, err := httpapi.NewClient(httpapi.ClientConfig{URL: url})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { caller.Close() })
	return serviceOver(t, caller, around)
}

func overGRPC(t *testing.T, addr string, around ...chassi.Middleware) auth.Service {
	t.Helper()
	caller, err := grpcapi.Dial(grpcapi.ClientConfig{Target: addr})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { caller.Close() })
	return serviceOver(t, caller, around)
}

func serviceOver(t *testing.T, caller client.Caller, around []chassi.Middleware) auth.Service {
	t.Helper()
	s, err := auth.NewClient(caller, around...)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// relay connects to an address from 127.0.0.network and returns where it listens.
func relay(t *testing.T, to string, network int) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var running sync.WaitGroup
	ctx, cancel := context.WithCancel(context.Background())
	t.Cleanup(func() { cancel(); l.Close(); running.Wait() })
	from := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, byte(network))}}
	running.Go(func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			far, err := from.DialContext(ctx, "tcp", to)
			if err != nil {
				near.Close()
				continue
			}
			closeBoth := sync.OnceFunc(func() { near.Close(); far.Close() })
			context.AfterFunc(ctx, closeBoth)
			for _, pipe := range [][2]net.Conn{{near, far}, {far, near}} {
				running.Go(func() { defer closeBoth(); _, _ = io.Copy(pipe[0], pipe[1]) })
			}
		}
	})
	return l.Addr().String()
}

func login(ctx context.Context, s auth.Service, email, password string) error {
	ctx, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	_, err := s.Authenticate(ctx, &auth.AuthenticateRequest{Email: email, Password: password})
	return err
}

// events returns how often something was counted in authd_events_total.
func (n *node) events(kind string) int {
	n.t.Helper()
	text := n.metric(fmt.Sprintf("authd_events_total{event=%q}", kind))
	if text == "" {
		return 0
	}
	count, err := strconv.Atoi(text)
	if err != nil {
		n.t.Fatal(err)
	}
	return count
}

// One network that tries a password on many accounts is stopped, and no other one; an owner
// on a known network gets in while another network guesses at the account. It is the same
// over HTTP and gRPC, and behind a proxy of each.
func TestLockoutsAreOfNetworksOnEveryWay(t *testing.T) {
	t.Parallel()
	for name, way := range ways {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := start(t, t.TempDir(), append(way.args, "--lockout.network=5", "--lockout.pair=3", "--lockout.account=4")...)
			n.post("/v1/users", "", ada)
			owner, attacker, other := way.dial(t, n, 3), way.dial(t, n, 2), way.dial(t, n, 4)
			email, right := ada["email"].(string), ada["password"].(string)
			if err := login(t.Context(), owner, email, right); err != nil {
				t.Fatal(err)
			}

			began, sprayed := time.Now(), 20
			for i := range sprayed {
				if err := login(t.Context(), attacker, fmt.Sprint("nobody", i, "@example.org"), "a common password"); chassi.ErrorOf(err).Code != chassi.NotFound {
					t.Errorf("spraying: %v", err)
				}
			}
			failed, locked := n.events("login_failed"), n.events("login_locked")
			// After the fifth one more is evaluated after 1 s, 2 s, ...
			if most := 5 + int(time.Since(began)/time.Second); failed < 5 || failed > most || failed+locked != sprayed {
				t.Errorf("%d of %d sprayed accounts were evaluated, want 5 to %d; %d were not", failed, sprayed, most, locked)
			}
			if err := login(t.Context(), other, email, right); err != nil {
				t.Errorf("a login from another network: %v", err)
			}

			guesser := way.dial(t, n, 5)
			for range 9 {
				if err := login(t.Context(), guesser, email, "a guess"); chassi.ErrorOf(err).Code != chassi.NotFound {
					t.Errorf("a guess: %v", err)
				}
			}
			if err := login(t.Context(), owner, email, right); err != nil {
				t.Errorf("the owner is locked out by another network: %v", err)
			}
		})
	}
}

// One network's rate is its own on every way, and so is its rate of sign-ups.
func TestRatesAreOfNetworksOnEveryWay(t *testing.T) {
	t.Parallel()
	for name, way := range ways {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := start(t, t.TempDir(), append(way.args, "--rate_limit.peer=30/1h", "--rate_limit.sign_up=3/1h")...)
			greedy, other := way.dial(t, n, 2), way.dial(t, n, 3)
			signUp := func(s auth.Service, name string) error {
				_, err := s.SignUp(t.Context(), &auth.SignUpRequest{Email: name + "@example.org", Password: "an analytical engine"})
				return err
			}
			validate := func(s auth.Service) error {
				_, err := s.ValidateToken(t.Context(), &auth.ValidateTokenRequest{Token: "none"})
				return err
			}
			limited := func(err error) bool {
				e := chassi.ErrorOf(err)
				return e.Code == chassi.ResourceExhausted && e.Reason == "rate_limited" && e.RetryAfter > 0
			}
			for i := range 5 {
				if err := signUp(greedy, fmt.Sprint("greedy", i)); (i < 3) != (err == nil) || i >= 3 && !limited(err) {
					t.Errorf("sign-up %d of one network: %v", i, err)
				}
			}
			if err := signUp(other, "other"); err != nil {
				t.Errorf("a sign-up of another network: %v", err)
			}
			for i := range 30 {
				if err := validate(greedy); limited(err) != (i >= 25) {
					t.Errorf("call %d of one network: %v", i+5, err)
				}
			}
			if err := validate(other); chassi.ErrorOf(err).Reason != auth.ErrInvalidToken.Reason {
				t.Errorf("a call of another network: %v", err)
			}
		})
	}
}

// A client that makes keys without end has as many stored as it may sign up.
func TestIdempotencyKeysOfOneClientAreFew(t *testing.T) {
	t.Parallel()
	n := start(t, t.TempDir(), "--rate_limit.sign_up=3/1h")
	for i := range 10 {
		body := object{"email": fmt.Sprint("new", i, "@example.org"), "password": "an analytical engine"}
		got, err := n.withKey("/v1/users", fmt.Sprint("a-key-of-one-client-", i), body)
		if want := map[bool]int{true: http.StatusAccepted, false: http.StatusTooManyRequests}[i < 3]; err != nil || got.status != want {
			t.Errorf("sign-up %d: %d, %v, want %d", i, got.status, err, want)
		}
	}
	if begun := n.metric(`authd_idempotency_total{event="begun"}`); begun != "3" {
		t.Errorf("%s keys were stored, want 3", begun)
	}
}
