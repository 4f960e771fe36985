package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/auth"
	"github.com/chassi-go/chassi/transport/natsapi"
)

// natsKey is the file of the key of one of n's clients over NATS.
func (n *node) natsKey(name string) string {
	return filepath.Join(n.dir, "nats-clients", name+".nk")
}

// natsClient is the service over NATS, as the client called name calls it.
func (n *node) natsClient(name string, middleware ...chassi.Middleware) auth.Service {
	n.t.Helper()
	if _, err := os.Stat(n.natsKey(name)); err != nil {
		if out, err := authd(n.dir, "nats", "add", name).CombinedOutput(); err != nil {
			n.t.Fatalf("%v: %s", err, out)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	caller, err := natsapi.Dial(ctx, natsapi.ClientConfig{URL: n.nats, Login: natsapi.Login{NkeyFile: n.natsKey(name)}})
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(caller.Close)
	service, err := auth.NewClient(caller, middleware...)
	if err != nil {
		n.t.Fatal(err)
	}
	return service
}

// NATS listens only if it is enabled.
func TestNATSIsOffByDefault(t *testing.T) {
	t.Parallel()
	out, err := authd(t.TempDir(), "config").Output()
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(out)) {
		if words := strings.Fields(line); len(words) > 1 && words[0] == "nats.url" && words[1] == "off" {
			return
		}
	}
	t.Errorf("nats.url is not off:\n%s", out)
}

// Clients are added, listed and removed on the command line while authd runs.
func TestNATSClientsOnTheCommandLine(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	n := start(t, dir)
	n.awaitLog("--nkey nats-clients/default.nk")
	run := func(want string, args ...string) {
		t.Helper()
		out, _ := authd(dir, args...).CombinedOutput()
		if !strings.Contains(string(out), want) {
			t.Errorf("authd %s: want %q in:\n%s", strings.Join(args, " "), want, out)
		}
	}
	run("--nkey nats-clients/gateway.nk", "nats", "add", "gateway")
	run("the client already exists", "nats", "add", "gateway")
	run("want 1 to 64 lower-case letters", "nats", "add", "../gateway")
	run("no such client", "nats", "remove", "reports")
	run("gateway  U", "nats", "list")
	run("default  U", "nats", "list")

	service := n.natsClient("gateway")
	if _, err := service.JWKS(t.Context(), &auth.JWKSRequest{}); err != nil {
		t.Error(err)
	}
	key, err := nats.NkeyOptionFromSeed(n.natsKey("gateway"))
	if err != nil {
		t.Fatal(err)
	}
	conn, err := nats.Connect(n.nats, key, nats.NoReconnect())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	run("removed gateway", "nats", "remove", "gateway")
	eventually(t, "the client is disconnected", conn.IsClosed)
	if _, err := nats.Connect(n.nats); !errors.Is(err, nats.ErrAuthorization) {
		t.Errorf("without a key: %v", err)
	}
}

// One client that sprays passwords over many accounts is a network like any other: the
// lockout evaluates about lockout.network of them, over NATS as over HTTP.
func TestSprayedAccountsAreBounded(t *testing.T) {
	t.Parallel()
	const accounts, limit = 300, 100
	guesses := map[string]func(n *node) func(email string){
		"http": func(n *node) func(string) {
			return func(email string) {
				if status, response := n.post("/v1/auth", "", object{"email": email, "password": "a guess"}); status != http.StatusNotFound {
					t.Errorf("%d %v", status, response)
				}
			}
		},
		"nats": func(n *node) func(string) {
			service := n.natsClient("default")
			return func(email string) {
				if _, err := service.Authenticate(context.Background(), &auth.AuthenticateRequest{Email: email, Password: "a guess"}); !errors.Is(err, auth.ErrInvalidUser) {
					t.Errorf("%v", err)
				}
			}
		},
	}
	for name, prepare := range guesses {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			n := start(t, t.TempDir(), "--hash.max_queued=1000")
			guess := prepare(n)
			var wg sync.WaitGroup
			for worker := range 4 {
				wg.Go(func() {
					for i := worker; i < accounts; i += 4 {
						guess(fmt.Sprintf("user%d@example.org", i))
					}
				})
			}
			wg.Wait()
			evaluated := n.events("login_failed")
			t.Logf("%d of %d accounts were evaluated", evaluated, accounts)
			if evaluated < limit || evaluated > limit+20 {
				t.Errorf("%d of %d accounts were evaluated, want about %d", evaluated, accounts, limit)
			}
		})
	}
}

// Wrong guesses of one client keep the owner of the account out on no other way: not as
// another client, not over HTTP.
func TestOneNATSClientLocksOutNoOther(t *testing.T) {
	t.Parallel()
	n := start(t, t.TempDir())
	n.post("/v1/users", "", ada)
	login := func(s auth.Service, password string) error {
		_, err := s.Authenticate(t.Context(), &auth.AuthenticateRequest{Email: "ada@example.org", Password: password})
		return err
	}
	reports, gateway := n.natsClient("reports"), n.natsClient("gateway")
	eventually(t, "the client that guessed is locked", func() bool { // for a second, which a busy machine may miss
		for range 9 {
			if err := login(reports, "a guess"); !errors.Is(err, auth.ErrInvalidUser) {
				t.Errorf("%v", err)
			}
		}
		return errors.Is(login(reports, "an analytical engine"), auth.ErrInvalidUser)
	})
	if err := login(gateway, "an analytical engine"); err != nil {
		t.Errorf("another client is locked: %v", err)
	}
	n.login(ada)
}

// A trusted gateway is not locked out together with its clients.
func TestTrustedNATSClientForwardsAddresses(t *testing.T) {
	t.Parallel()
	n := start(t, t.TempDir(), "--nats.trusted_clients=gateway")
	n.post("/v1/users", "", ada)
	forward := func(addr *string) chassi.Middleware {
		return func(_ *chassi.Binding, next chassi.Handler) chassi.Handler {
			return func(ctx context.Context, call *chassi.Call) error {
				call.In.Set("X-Forwarded-For", *addr)
				return next(ctx, call)
			}
		}
	}
	addr := "192.0.2.1"
	login := func(s auth.Service, password string) error {
		_, err := s.Authenticate(t.Context(), &auth.AuthenticateRequest{Email: "ada@example.org", Password: password})
		return err
	}
	gateway, reports := n.natsClient("gateway", forward(&addr)), n.natsClient("reports", forward(&addr))
	eventually(t, "the address that guessed is locked", func() bool { // for a second, which a busy machine may miss
		for range 9 {
			_ = login(gateway, "a guess")
		}
		return errors.Is(login(gateway, "an analytical engine"), auth.ErrInvalidUser)
	})
	addr = "198.51.100.1"
	if err := login(gateway, "an analytical engine"); err != nil {
		t.Errorf("another address is locked: %v", err)
	}
	// What a client that is not trusted states moves it to no other bucket.
	eventually(t, "the client that guessed is locked", func() bool {
		for i := range 9 {
			addr = fmt.Sprintf("203.0.113.%d", i)
			_ = login(reports, "a guess")
		}
		return errors.Is(login(reports, "an analytical engine"), auth.ErrInvalidUser)
	})
}

// The service's responses reach no endpoint, whatever reply subject a client states.
func TestNATSResponsesCallNothing(t *testing.T) {
	t.Parallel()
	n := start(t, t.TempDir())
	n.natsClient("reports")
	key, err := nats.NkeyOptionFromSeed(n.natsKey("reports"))
	if err != nil {
		t.Fatal(err)
	}
	conn, err := nats.Connect(n.nats, key)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	for _, reply := range []string{"auth.v1.Auth.SignUp", "from.gateway.auth.v1.Auth.SignUp", "_R_.x.y", "$SRV.PING", "work.mail"} {
		if err := conn.PublishRequest("auth.v1.Auth.JWKS", reply, []byte(`{}`)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := conn.Request("auth.v1.Auth.JWKS", []byte(`{}`), 20*time.Second); err != nil {
		t.Error(err)
	}
	n.awaitLog(`"route":"auth.v1.Auth/JWKS"`)
	if strings.Contains(n.text(), `"route":"auth.v1.Auth/SignUp"`) {
		t.Errorf("a response was taken for a call:\n%s", n.text())
	}
}
