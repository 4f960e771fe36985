// Command server is the server that represents chassi in a benchmark of Go frameworks. It serves
// GET /ping and POST /v1/validate-token at ADDR, and validates tokens with KEY:
//
//	ADDR=127.0.0.1:8080 KEY=secret FEATURES=full LOG=access.log server
//
// FEATURES=full adds the middleware and the telemetry of a real service, with a log in the file LOG
// and GET /metrics; LINES=single writes each line of that log separately. FEATURES=handwritten
// serves a baseline that uses only net/http. With KIND=grpc the server serves ValidateToken over
// gRPC instead, and with FEATURES=full /metrics over HTTP at METRICS_ADDR.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/middleware"
	"github.com/chassi-go/chassi/middleware/metrics"
	"github.com/chassi-go/chassi/middleware/tracing"
	"github.com/chassi-go/chassi/overload"
	"github.com/chassi-go/chassi/ratelimit"
	"github.com/chassi-go/chassi/telemetry"
	"github.com/chassi-go/chassi/telemetry/exporters"
	"github.com/chassi-go/chassi/transport/grpcapi"
	"github.com/chassi-go/chassi/transport/httpapi"
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
		app.Add(full)
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
	app.AddServer(server)
	app.Mount(chassi.NewService("bench.v1.Tokens",
		chassi.NewEndpoint("Ping", s.ping, chassi.Route("GET /ping"), chassi.Public),
		chassi.NewEndpoint("ValidateToken", s.validate, chassi.Route("POST /v1/validate-token"), chassi.Public),
	))
	return nil
}

func serveGRPC(app *chassi.App, s *tokens, full *telemetry.Telemetry, around []chassi.Middleware) error {
	app.AddServer(grpcapi.New(grpcapi.Config{Addr: os.Getenv("ADDR")}, around...))
	app.Mount(chassi.NewService("bench.v1.TokenService", chassi.NewEndpoint("ValidateToken", s.validate, chassi.Public)))
	if full == nil {
		return nil
	}
	admin, err := httpapi.New(httpapi.Config{Addr: os.Getenv("METRICS_ADDR")})
	if err == nil {
		err = admin.Handle("GET /metrics", full.Handler(), chassi.Public)
	}
	app.Add(admin)
	return err //nolint:wrapcheck // says where
}

// lineWriter writes each line with a separate call, so that the benchmark shows what writing
// several lines at once saves.
type lineWriter struct{ io.Writer }

func (w lineWriter) Write(b []byte) (n int, err error) {
	for line := range bytes.Lines(b) {
		written, err := w.Writer.Write(line)
		if n += written; err != nil {
			return n, err //nolint:wrapcheck // the file's
		}
	}
	return n, nil
}

// features returns the telemetry and the middleware of package standard, with limits that are never
// reached and without authentication, the rate limit for each principal, and validation.
func features(ctx context.Context) (*telemetry.Telemetry, []chassi.Middleware, error) {
	log, err := os.OpenFile(os.Getenv("LOG"), os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, nil, err //nolint:wrapcheck // says which file
	}
	traces := telemetry.TraceConfig{Exporter: "otlp-http", Exporters: exporters.All(), Ratio: 0.01}
	out := io.Writer(log)
	if os.Getenv("LINES") == "single" {
		out = lineWriter{log}
	}
	t, err := telemetry.New(ctx, "bench", "1", telemetry.Config{Trace: traces}, out)
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
		middleware.ErrorReporting(t.Report),
		middleware.Recover(),
		middleware.LimitConcurrency(load.PerClient(), load),
		middleware.LoadShedding(load),
		middleware.RateLimitPeer(limiter, func(_ string, l ratelimit.Limit) middleware.Limiter {
			return ratelimit.New(ratelimit.Options{Limit: l})
		}),
		middleware.Timeout(10 * time.Second),
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

// tokens validates tokens in the same way as the other programs of the benchmark: with
// golang-jwt, one parser and no cache.
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
		err = errors.New("the token has no e-mail address")
	}
	if err != nil {
		return nil, errInvalidToken.WithCause(err)
	}
	return &emailResponse{Email: c.Email}, nil
}
