package main

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/auth"
	"github.com/chassi-go/chassi/client"
	"github.com/chassi-go/chassi/internal/rabbittest"
	"github.com/chassi-go/chassi/middleware"
	"github.com/chassi-go/chassi/transport/amqpapi"
	"github.com/chassi-go/chassi/transport/grpcapi"
	"github.com/chassi-go/chassi/transport/httpapi"
	"github.com/chassi-go/chassi/transport/natsapi"
)

// rabbit returns flags for RabbitMQ with a prefix of the test's own, and a client
// configuration; "" without RabbitMQ.
func rabbit(t *testing.T) (url, prefix string) {
	t.Helper()
	url = rabbittest.URL(t)
	prefix = "test" + strconv.FormatUint(rand.Uint64(), 36)
	t.Cleanup(func() {
		conn, err := amqp.Dial(url)
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		if ch, err := conn.Channel(); err == nil {
			_, _ = ch.QueueDelete(prefix+"."+auth.ServiceName+".requests", false, false, false)
			_ = ch.ExchangeDelete(prefix+"."+auth.ServiceName, false, false)
		}
	})
	return url, prefix
}

// callers connect to n over every transport.
func callers(t *testing.T, n *node, rabbitURL, prefix string) map[string]client.Caller {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	overHTTP, err := httpapi.NewClient(httpapi.ClientConfig{URL: n.http})
	if err != nil {
		t.Fatal(err)
	}
	overGRPC, err := grpcapi.Dial(grpcapi.ClientConfig{Target: n.grpc})
	if err != nil {
		t.Fatal(err)
	}
	overNATS, err := natsapi.Dial(ctx, natsapi.ClientConfig{URL: n.nats, Login: natsapi.Login{NkeyFile: n.natsKey("default")}})
	if err != nil {
		t.Fatal(err)
	}
	overAMQP, err := amqpapi.Dial(ctx, amqpapi.ClientConfig{URL: rabbitURL, Prefix: prefix})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { overHTTP.Close(); overGRPC.Close(); overNATS.Close(); overAMQP.Close() })
	return map[string]client.Caller{"http": overHTTP, "grpc": overGRPC, "nats": overNATS, "amqp": overAMQP}
}

// The one service behind the one interface, whatever carries the call: accounts,
// tokens, and every error as itself.
func TestEveryTransportIsTheService(t *testing.T) {
	t.Parallel()
	url, prefix := rabbit(t)
	n := start(t, t.TempDir(), "--amqp.url="+url, "--amqp.prefix="+prefix, "--token.ttl=1h")
	for name, caller := range callers(t, n, url, prefix) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var token string
			service, err := auth.NewClient(caller, middleware.SendBearer(func(context.Context) (string, error) { return token, nil }))
			if err != nil {
				t.Fatal(err)
			}
			exercise(t, service, name, &token)
		})
	}
}

// exercise is written once, against the service's interface.
func exercise(t *testing.T, s auth.Service, name string, token *string) {
	t.Helper()
	ctx, email := t.Context(), name+"@example.org"
	if _, err := s.SignUp(ctx, &auth.SignUpRequest{Email: email, Password: "an analytical engine"}); err != nil {
		t.Fatal(err)
	}
	login, err := s.Authenticate(ctx, &auth.AuthenticateRequest{Email: email, Password: "an analytical engine"})
	if err != nil {
		t.Fatal(err)
	}
	valid, err := s.ValidateToken(ctx, &auth.ValidateTokenRequest{Token: login.Token})
	if err != nil || valid.Email != email {
		t.Errorf("%+v, %v", valid, err)
	}
	if keys, err := s.JWKS(ctx, &auth.JWKSRequest{}); err != nil || len(keys.Keys) != 1 || keys.Keys[0].KeyType != "OKP" {
		t.Errorf("%+v, %v", keys, err)
	}
	if _, err := s.Me(ctx, &auth.MeRequest{}); chassi.ErrorOf(err).Code != chassi.Unauthenticated {
		t.Errorf("nobody: %v", err)
	}
	*token = login.Token
	me, err := s.Me(ctx, &auth.MeRequest{})
	if err != nil || me.Email != email || time.Since(me.CreatedAt).Abs() > time.Minute {
		t.Errorf("%+v, %v", me, err)
	}
	changed, err := s.ChangePassword(ctx, &auth.ChangePasswordRequest{OldPassword: "an analytical engine", NewPassword: "a difference engine"})
	if err != nil {
		t.Fatal(err)
	}
	for want, call := range map[*chassi.Error]func() error{
		auth.ErrInvalidToken: func() error {
			_, err := s.ValidateToken(ctx, &auth.ValidateTokenRequest{Token: login.Token})
			return err
		},
		auth.ErrInvalidUser: func() error {
			_, err := s.Authenticate(ctx, &auth.AuthenticateRequest{Email: email, Password: "a guess"})
			return err
		},
		auth.ErrInvalidEmail: func() error {
			_, err := s.SignUp(ctx, &auth.SignUpRequest{Email: "no address", Password: "an analytical engine"})
			return err
		},
		auth.ErrWeakPassword: func() error {
			_, err := s.SignUp(ctx, &auth.SignUpRequest{Email: "b" + email, Password: "password"})
			return err
		},
		auth.ErrWrongPassword: func() error {
			*token = changed.Token
			_, err := s.ChangePassword(ctx, &auth.ChangePasswordRequest{OldPassword: "a guess", NewPassword: "another engine here"})
			return err
		},
	} {
		if err := call(); !errors.Is(err, want) || chassi.ErrorOf(err).Message != want.Message {
			t.Errorf("%v, want %v", err, want)
		}
	}
	_, err = s.Authenticate(ctx, &auth.AuthenticateRequest{})
	if e := chassi.ErrorOf(err); len(e.Violations) != 2 || e.Violations[0].Field != "email" {
		t.Errorf("an empty request: %+v", e)
	}
}

// Fault 1 on every transport: SIGTERM under load, and not one call that was
// accepted goes without its response.
func TestFault01SigtermOnEveryTransport(t *testing.T) {
	t.Parallel()
	url, prefix := rabbit(t)
	dir := t.TempDir()
	n := start(t, dir, "--amqp.url="+url, "--amqp.prefix="+prefix, "--shutdown.drain=300ms", "--log.level=info")
	var calls, failed sync.Map
	var over, stopping atomic.Bool
	var wg sync.WaitGroup
	for name, caller := range callers(t, n, url, prefix) {
		service, err := auth.NewClient(caller)
		if err != nil {
			t.Fatal(err)
		}
		count := new(atomic.Int64)
		calls.Store(name, count)
		for range 4 {
			wg.Go(func() {
				for !over.Load() {
					ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
					_, err := service.ValidateToken(ctx, &auth.ValidateTokenRequest{Token: "none"})
					cancel()
					switch {
					case errors.Is(err, auth.ErrInvalidToken):
						count.Add(1)
					case chassi.ErrorOf(err).Code == chassi.Unavailable && stopping.Load():
						return // not accepted any more, which the log proves below
					case chassi.ErrorOf(err).Code == chassi.Unavailable: // the server has just started
					default:
						failed.Store(name, err)
						return
					}
				}
			})
		}
	}
	eventually(t, "calls on every transport", func() bool {
		busy := 0
		calls.Range(func(_, count any) bool {
			if count.(*atomic.Int64).Load() > 200 {
				busy++
			}
			return true
		})
		return busy == 4
	})
	stopping.Store(true)
	if err := n.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	<-n.ended
	state, err := n.cmd.Process.Wait()
	// The next instance processes the messages left in the AMQP queue.
	second := start(t, dir, "--amqp.url="+url, "--amqp.prefix="+prefix)
	over.Store(true)
	wg.Wait()
	if err := second.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	<-second.ended
	if err != nil || state.ExitCode() != 0 {
		t.Errorf("exit %v, %v\n%s", state, err, n.text())
	}
	failed.Range(func(name, err any) bool {
		t.Errorf("%s: a call that was accepted failed: %v", name, err)
		return true
	})
	calls.Range(func(name, count any) bool {
		// Every call that was accepted has a line, and every response was counted.
		accepted := 0
		for line := range strings.Lines(n.text() + second.text()) {
			isRefused := strings.Contains(line, `"status":503,`) || strings.Contains(line, `"status":14,`)
			if strings.Contains(line, `"msg":"call"`) && strings.Contains(line, fmt.Sprintf(`"transport":%q`, name)) && !isRefused {
				accepted++
			}
		}
		answered := int(count.(*atomic.Int64).Load())
		t.Logf("%s: %d calls accepted, %d answered", name, accepted, answered)
		if accepted != answered {
			t.Errorf("%s: %d calls were accepted and %d answered", name, accepted, answered)
		}
		return true
	})
}

// A disabled transport does not listen.
func TestTransportsOff(t *testing.T) {
	t.Parallel()
	n := start(t, t.TempDir(), "--grpc.addr=off", "--nats.url=off")
	if n.grpc != "" || n.nats != "" {
		t.Errorf("grpc %q, nats %q", n.grpc, n.nats)
	}
	if response, err := http.Get(n.http + "/.well-known/jwks.json"); err != nil || response.StatusCode != http.StatusOK {
		t.Errorf("%v, %v", response, err)
	}
}
