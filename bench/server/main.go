// Command server does the job of a side-by-side benchmark of Go frameworks on
// the chassis: GET /ping and POST /v1/validate-token, bare or with everything on.
//
//	ADDR=127.0.0.1:8080 KEY=secret FEATURES=full LOG=access.log server
//
// With KIND=grpc it does the job over gRPC instead, with /metrics at METRICS_ADDR.
package main

import (
	"context"
	"errors"
	"fmt"
	"net/netip"
	"os"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/middleware"
	"github.com/chassi-go/chassi/middleware/metrics"
	"github.com/chassi-go/chassi/middleware/tracing"
	"github.com/chassi-go/chassi/overload"
	"github.com/chassi-go/chassi/ratelimit"
	"github.com/chassi-go/chassi/telemetry"
	"github.com/chassi-go/chassi/transport/grpcapi"
	"github.com/chassi-go/chassi/transport/httpapi"
	"github.com/golang-jwt/jwt/v5"
)

func main() {
	if err := run(context.Background()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context) error {
	if os.Getenv("FEATURES") == "handwritten" {
		return serveHandwritten(ctx, os.Getenv("ADDR"), newTokens([]byte(os.Getenv("KEY"))))
	}
	var around []chassi.Middleware
	app := chassi.NewApp("bench", chassi.AppOptions{Grace: time.Second})
	var full *telemetry.Telemetry
	if os.Getenv("FEATURES") == "full" {
		var err error
		if full, around, err = features(ctx); err != nil {
			return err
		}
		app.Manage(full)
	}
	s := newTokens([]byte(os.Getenv("KEY")))
	var err error
	if os.Getenv("KIND") == "grpc" {
		err = serveGRPC(app, s, full, around)
	} else {
		err = serveHTTP(app, s, full, around)
	}
	if err != nil {
		return err
	}
	return app.Run(ctx) //nolint:wrapcheck // says where
}

func serveHTTP(app *chassi.App, s *tokens, full *telemetry.Telemetry, around []chassi.Middleware) error {
	server, err := httpapi.New(httpapi.Config{Addr: os.Getenv("ADDR")}, around...)
	if err == nil && full != nil {
		err = server.Handle("GET /metrics", full.Handler(), chassi.Public)
	}
	if err != nil {
		return err //nolint:wrapcheck // says where
	}
	app.Serve(server)
	app.Mount(chassi.NewService("bench.v1.Tokens",
		chassi.NewEndpoint("Ping", s.ping, chassi.Route("GET /ping"), chassi.Public),
		chassi.NewEndpoint("ValidateToken", s.validate, chassi.Route("POST /v1/validate-token"), chassi.Public),
	))
	return nil
}

func serveGRPC(app *chassi.App, s *tokens, full *telemetry.Telemetry, around []chassi.Middleware) error {
	app.Serve(grpcapi.New(grpcapi.Config{Addr: os.Getenv("ADDR")}, around...))
	app.Mount(chassi.NewService("bench.v1.TokenService", chassi.NewEndpoint("ValidateToken", s.validate, chassi.Public)))
	if full == nil {
		return nil
	}
	admin, err := httpapi.New(httpapi.Config{Addr: os.Getenv("METRICS_ADDR")})
	if err == nil {
		err = admin.Handle("GET /metrics", full.Handler(), chassi.Public)
	}
	app.Manage(admin)
	return err //nolint:wrapcheck // says where
}

// features are what package standard puts around every call, with a limit that
// cannot be reached.
func features(ctx context.Context) (*telemetry.Telemetry, []chassi.Middleware, error) {
	log, err := os.OpenFile(os.Getenv("LOG"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, nil, err //nolint:wrapcheck // says which file
	}
	t, err := telemetry.New(ctx, "bench", "1", telemetry.Config{Trace: telemetry.TraceConfig{Exporter: "otlp-http", Ratio: 0.01}}, log)
	if err != nil {
		return nil, nil, err //nolint:wrapcheck // says where
	}
	counted, err := metrics.New(t.Registry)
	if err != nil {
		return nil, nil, err //nolint:wrapcheck // says where
	}
	limiter, load := ratelimit.New(ratelimit.Options{Limit: ratelimit.Limit{Rate: 10_000_000, Burst: 10_000_000}}), overload.New(overload.Config{})
	return t, []chassi.Middleware{
		tracing.New(t.Tracer, t.Propagator, tracing.TrustNetworks(netip.MustParsePrefix("127.0.0.0/8"))),
		middleware.Logging(t.Logger),
		counted,
		middleware.Exceptions(t.Report),
		middleware.Recover(),
		middleware.LimitConcurrency(load.PerClient(), load),
		middleware.Shedding(load),
		middleware.RateLimitPeer(limiter, func(_ string, l ratelimit.Limit) middleware.Limiter {
			return ratelimit.New(ratelimit.Options{Limit: l})
		}),
		middleware.Deadline(10 * time.Second),
	}, nil
}

type (
	pingRequest  struct{}
	pingResponse struct {
		Message string `json:"message"`
	}
	validateRequest struct {
		Token string `json:"token"`
	}
	emailResponse struct {
		Email string `json:"email"`
	}
)

// tokens checks the benchmark's tokens the way every other peer does: with
// golang-jwt, its parser made once, and no memory of tokens seen.
type tokens struct {
	parser *jwt.Parser
	key    jwt.Keyfunc
}

type claims struct {
	Email string `json:"email"`
	jwt.RegisteredClaims
}

func newTokens(key []byte) *tokens {
	var k any = key
	return &tokens{
		parser: jwt.NewParser(jwt.WithValidMethods([]string{"HS256"}), jwt.WithExpirationRequired()),
		key:    func(*jwt.Token) (any, error) { return k, nil },
	}
}

var errInvalidToken = chassi.NewError(chassi.Unauthenticated, "invalid_token", "Invalid token")

func (*tokens) ping(context.Context, *pingRequest) (*pingResponse, error) {
	return &pingResponse{Message: "pong"}, nil
}

func (s *tokens) validate(_ context.Context, r *validateRequest) (*emailResponse, error) {
	var c claims
	_, err := s.parser.ParseWithClaims(r.Token, &c, s.key)
	if err == nil && c.Email == "" {
		err = errors.New("no e-mail address in it")
	}
	if err != nil {
		return nil, errInvalidToken.WithCause(err)
	}
	return &emailResponse{Email: c.Email}, nil
}
