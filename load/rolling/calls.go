package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/chassi-go/chassi/auth"
	"github.com/chassi-go/chassi/load/accounts"
	"github.com/chassi-go/chassi/load/balancer"
	"github.com/chassi-go/chassi/load/openloop"
	"github.com/chassi-go/chassi/middleware"
	"github.com/chassi-go/chassi/transport/grpcapi"
	"github.com/chassi-go/chassi/transport/httpapi"
	"google.golang.org/grpc"
	_ "google.golang.org/grpc/health" // lets clients follow the health service
	"google.golang.org/grpc/resolver"
	"google.golang.org/grpc/resolver/manual"
)

type count struct{ calls, failed int64 }

type result struct {
	restarts   int
	http, grpc count
	errors     map[string]int64
	took       time.Duration
}

// measure starts two nodes and restarts them alternately, o.rounds times each, under load. poll is
// the interval at which the load balancer polls the readiness of the nodes. measure returns the
// counts of restarts, calls and errors.
func measure(ctx context.Context, o options, poll time.Duration, database, dir string) (r *result, err error) {
	var nodes []*node
	var behind []balancer.Node
	defer func() {
		for _, n := range nodes {
			err = errors.Join(err, n.kill())
		}
	}()
	for i := range 2 {
		n, err := newNode(o, fmt.Sprintf("node%d", i+1), dir, database)
		if err != nil {
			return nil, err
		}
		nodes = append(nodes, n)
		if err := n.start(ctx); err != nil {
			return nil, err
		}
		behind = append(behind, balancer.Node{URL: "http://" + n.http, Readiness: "http://" + n.admin + "/readyz"})
	}
	b, err := balancer.New(poll, behind...)
	if err != nil {
		return nil, err
	}
	url, stop, err := serve(ctx, b)
	if err != nil {
		return nil, err
	}
	defer stop()
	for b.Ready() < len(nodes) {
		if !sleep(ctx, 50*time.Millisecond) {
			return nil, ctx.Err()
		}
	}
	l, err := newLoad(ctx, url, nodes)
	if err != nil {
		return nil, err
	}
	defer l.close()
	began := time.Now()
	wait := l.run(ctx, o)
	r = &result{}
	r.restarts, err = restart(ctx, nodes, o.rounds, max(o.pause, poll))
	r.http, r.grpc, r.errors = wait()
	r.took = time.Since(began)
	return r, err
}

// restart restarts all nodes, one after another, in each of the given number of rounds, with a pause
// after each restart. It returns the number of restarts.
func restart(ctx context.Context, nodes []*node, rounds int, pause time.Duration) (restarts int, err error) {
	for range rounds {
		for _, n := range nodes {
			if err := errors.Join(n.stop(), n.start(ctx)); err != nil {
				return restarts, err
			}
			restarts++
			if !sleep(ctx, pause) {
				return restarts, ctx.Err()
			}
		}
	}
	return restarts, nil
}

// serve starts the load balancer on a free port. It returns the URL of the load balancer and a
// function that stops it.
func serve(ctx context.Context, b *balancer.Balancer) (url string, stop func(), err error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0") //nolint:noctx // at once
	if err != nil {
		return "", nil, err
	}
	ctx, cancel := context.WithCancel(ctx)
	server := &http.Server{Handler: b, ReadHeaderTimeout: 5 * time.Second}
	var running sync.WaitGroup
	running.Go(func() { b.Run(ctx) })
	running.Go(func() { _ = server.Serve(listener) }) // until it is closed
	return "http://" + listener.Addr().String(), func() { cancel(); _ = server.Close(); running.Wait() }, nil
}

// load makes the calls to the nodes. It contains the clients and the tokens of the accounts.
type load struct {
	http *auth.Client
	grpc *auth.Client
	// closers close the clients.
	closers []func()
	tokens  []string
}

type tokenKey struct{}

func newLoad(ctx context.Context, url string, nodes []*node) (l *load, err error) {
	l = &load{}
	defer func() {
		if err != nil {
			l.close()
		}
	}()
	over, err := httpapi.NewClient(httpapi.ClientConfig{URL: url, MaxIdle: 256})
	if err != nil {
		return nil, err
	}
	l.closers = append(l.closers, over.Close)
	token := middleware.SendBearer(func(ctx context.Context) (string, error) {
		token, _ := ctx.Value(tokenKey{}).(string)
		return token, nil
	})
	if l.http, err = auth.NewClient(over, token); err != nil {
		return nil, err
	}
	direct, err := dialBoth(nodes)
	if err != nil {
		return nil, err
	}
	l.closers = append(l.closers, func() { _ = direct.Close() })
	if l.grpc, err = auth.NewClient(direct); err != nil {
		return nil, err
	}
	for i := range users {
		response, err := l.http.Authenticate(ctx, credentials(i))
		if err != nil {
			return nil, fmt.Errorf("login of %s: %w", accounts.Email(i), err)
		}
		l.tokens = append(l.tokens, response.Token)
	}
	_, err = l.grpc.ValidateToken(ctx, &auth.ValidateTokenRequest{Token: l.tokens[0]})
	return l, err
}

// dialBoth returns a gRPC client that alternates between the nodes that the health service reports
// as serving.
func dialBoth(nodes []*node) (*grpcapi.Client, error) {
	addresses := manual.NewBuilderWithScheme("nodes")
	var state resolver.State
	for _, n := range nodes {
		state.Addresses = append(state.Addresses, resolver.Address{Addr: n.grpc})
	}
	addresses.InitialState(state)
	return grpcapi.Dial(grpcapi.ClientConfig{Target: "nodes:///authd", Options: []grpc.DialOption{
		grpc.WithResolvers(addresses),
		grpc.WithDefaultServiceConfig(`{"loadBalancingConfig": [{"round_robin": {}}], "healthCheckConfig": {"serviceName": ""}}`),
	}})
}

func (l *load) close() {
	for _, closer := range l.closers {
		closer()
	}
}

func credentials(n int) *auth.AuthenticateRequest {
	return &auth.AuthenticateRequest{Email: accounts.Email(n % users), Password: accounts.DefaultPassword}
}

func (l *load) overHTTP(ctx context.Context, n int) error {
	token := l.tokens[n%len(l.tokens)]
	switch kind := n % 50; {
	case kind < 40:
		_, err := l.http.ValidateToken(ctx, &auth.ValidateTokenRequest{Token: token})
		return err
	case kind < 49:
		_, err := l.http.Me(context.WithValue(ctx, tokenKey{}, token), &auth.MeRequest{})
		return err
	default:
		_, err := l.http.Authenticate(ctx, credentials(n/50)) // of all accounts in turn
		return err
	}
}

func (l *load) overGRPC(ctx context.Context, n int) error {
	_, err := l.grpc.ValidateToken(ctx, &auth.ValidateTokenRequest{Token: l.tokens[n%len(l.tokens)]})
	return err
}

// run starts to make calls at the configured rates and returns immediately. The returned function
// wait ends the scheduling of calls, waits until all of them have completed, and returns the counts
// for each transport and the number of failures by error text.
func (l *load) run(ctx context.Context, o options) (wait func() (overHTTP, overGRPC count, errs map[string]int64)) {
	ctx, stop := context.WithCancel(ctx)
	var running sync.WaitGroup
	var results [2]*openloop.Result
	for i, c := range []struct {
		rate float64
		call openloop.Call
	}{{o.rate, l.overHTTP}, {o.grpcRate, l.overGRPC}} {
		if c.rate <= 0 {
			continue
		}
		running.Go(func() {
			config := openloop.Config{Rate: c.rate, Duration: 24 * time.Hour, Poisson: true, Seed: uint64(i)}
			results[i], _ = openloop.Run(ctx, config, func(ctx context.Context, n int) error {
				ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), 10*time.Second) // the end of the run ends no call
				defer cancel()
				return c.call(ctx, n)
			}) // its error is that of ctx
		})
	}
	return func() (overHTTP, overGRPC count, errs map[string]int64) {
		stop()
		running.Wait()
		errs = make(map[string]int64)
		counts := [2]count{}
		for i, r := range results {
			if r == nil {
				continue
			}
			counts[i] = count{r.Due, r.Failed + r.Dropped}
			for text, n := range r.Errors {
				errs[text] += n
			}
		}
		return counts[0], counts[1], errs
	}
}
