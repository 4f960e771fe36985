package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"sync"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/auth"
	"github.com/chassi-go/chassi/client"
	"github.com/chassi-go/chassi/load/accounts"
	"github.com/chassi-go/chassi/middleware"
	"github.com/chassi-go/chassi/transport/amqpapi"
	"github.com/chassi-go/chassi/transport/grpcapi"
	"github.com/chassi-go/chassi/transport/httpapi"
	"github.com/chassi-go/chassi/transport/natsapi"
)

// target contains the clients of the authd server under load. Logins use a separate connection, so
// that other calls do not wait behind them in the client.
type target struct {
	transport       string
	service, logins *auth.Client
	closers         []func()
}

// patience is the timeout of dial, from connecting to the first response. patientLogin retries for
// twice as long.
const patience = 5 * time.Second

type tokenKey struct{}

// dial connects to the server and makes one call. It returns a usage error if that fails, so that a
// wrong address is reported before the load begins.
func dial(ctx context.Context, o options) (t *target, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	t = &target{transport: o.transport}
	if t.service, err = t.client(ctx, o); err == nil {
		t.logins, err = t.client(ctx, o)
	}
	if err == nil {
		_, err = t.service.JWKS(ctx, &auth.JWKSRequest{})
	}
	if err != nil {
		t.close()
		return nil, unreachable(o, err)
	}
	return t, nil
}

func (t *target) close() {
	for _, c := range t.closers {
		c()
	}
}

func (t *target) client(ctx context.Context, o options) (*auth.Client, error) {
	caller, closer, err := connect(ctx, o)
	if err != nil {
		return nil, err
	}
	t.closers = append(t.closers, closer)
	return auth.NewClient(caller, middleware.SendBearer(func(ctx context.Context) (string, error) {
		token, _ := ctx.Value(tokenKey{}).(string)
		return token, nil
	}))
}

func unreachable(o options, err error) error {
	return usage("cannot call authd over %s at %s: start authd, or give its address with --target: %w", o.transport, redacted(o.target), err)
}

// redacted returns target. If target is a URL with a password, the password is masked.
func redacted(target string) string {
	if u, err := url.Parse(target); err == nil && u.User != nil {
		return u.Redacted()
	}
	return target
}

func connect(ctx context.Context, o options) (client.Caller, func(), error) {
	quiet := slog.New(slog.DiscardHandler)
	switch o.transport {
	case "grpc":
		c, err := grpcapi.Dial(grpcapi.ClientConfig{Target: o.target})
		if err != nil {
			return nil, nil, err
		}
		return c, func() { _ = c.Close() }, nil
	case "nats":
		c, err := natsapi.Dial(ctx, natsapi.ClientConfig{URL: o.target, Login: natsapi.Login{NkeyFile: o.natsKey}, Logger: quiet})
		if err != nil {
			return nil, nil, err
		}
		return c, c.Close, nil
	case "amqp":
		c, err := amqpapi.Dial(ctx, amqpapi.ClientConfig{URL: o.target, Prefix: o.amqpPrefix, MaxInFlight: max(o.workers, 1024), Logger: quiet})
		if err != nil {
			return nil, nil, err
		}
		return c, c.Close, nil
	default:
		c, err := httpapi.NewClient(httpapi.ClientConfig{URL: o.target, MaxIdle: o.workers, MaxConnections: o.workers})
		if err != nil {
			return nil, nil, err
		}
		return c, c.Close, nil
	}
}

// logIn logs in to o.tokens accounts, or to all accounts if there are fewer, and returns their
// tokens. The accounts are evenly distributed. At most four logins run concurrently, so that they
// do not overload the server.
func (t *target) logIn(ctx context.Context, o options) ([]string, error) {
	n := min(o.tokens, o.users)
	tokens, errs := make([]string, n), make([]error, n)
	next := make(chan int)
	var workers sync.WaitGroup
	for range 4 {
		workers.Go(func() {
			for i := range next {
				tokens[i], errs[i] = t.patientLogin(ctx, spread(i, n, o.users), o.password)
			}
		})
	}
	for i := range n {
		next <- i
	}
	close(next)
	workers.Wait()
	for i, err := range errs {
		if errors.Is(err, auth.ErrInvalidUser) {
			return nil, usage("%s cannot log in at %s: create the accounts with go run ./load/seed --users %d, give their --password, or fewer --users",
				accounts.Email(spread(i, n, o.users)), redacted(o.target), o.users)
		}
		if err != nil {
			return nil, fmt.Errorf("login of %s: %w", accounts.Email(spread(i, n, o.users)), err)
		}
	}
	return tokens, nil
}

// spread returns element i of a list of n numbers that are evenly distributed from 0 to total-1.
func spread(i, n, total int) int {
	if n == 1 {
		return 0
	}
	return i * (total - 1) / (n - 1)
}

// patientLogin logs in to account n and returns the token. It retries for ten seconds while the
// server sheds load.
func (t *target) patientLogin(ctx context.Context, n int, password string) (string, error) {
	for deadline := time.Now().Add(2 * patience); ; {
		response, err := t.logins.Authenticate(ctx, &auth.AuthenticateRequest{Email: accounts.Email(n), Password: password})
		if err == nil {
			return response.Token, nil
		}
		if !t.isRefusal(err) || time.Now().After(deadline) || ctx.Err() != nil {
			return "", err
		}
		select {
		case <-ctx.Done():
		case <-time.After(200 * time.Millisecond):
		}
	}
}

// isRefusal reports whether err means that the server sheds load (429, 503, RESOURCE_EXHAUSTED,
// UNAVAILABLE). It returns false if the server is unreachable. The clients report an unreachable
// server with the code Unavailable, too, but with the reason "unreachable" or, over gRPC, with the
// error of grpc-go as the cause.
func (t *target) isRefusal(err error) bool {
	e := chassi.ErrorOf(err)
	switch e.Code {
	case chassi.ResourceExhausted:
		return true
	case chassi.Unavailable:
		return e.Reason != "unreachable" && (t.transport != "grpc" || e.Cause == nil)
	default:
		return false
	}
}
