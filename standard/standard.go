// Package standard puts the chassis together in its usual order: telemetry,
// the middleware, the transports that the configuration turns on, the admin
// listener, and the App that runs them.
//
//	std, err := standard.New(ctx, "greeter", version, cfg, standard.Options{})
//	std.Mount(greet.Endpoints(svc))
//	return std.Run(ctx)
package standard

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"slices"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/config"
	"github.com/chassi-go/chassi/middleware"
	"github.com/chassi-go/chassi/middleware/metrics"
	"github.com/chassi-go/chassi/middleware/tracing"
	"github.com/chassi-go/chassi/overload"
	"github.com/chassi-go/chassi/ratelimit"
	"github.com/chassi-go/chassi/ratelimit/shared"
	"github.com/chassi-go/chassi/redis"
	"github.com/chassi-go/chassi/schema"
	"github.com/chassi-go/chassi/telemetry"
	"github.com/chassi-go/chassi/transport/amqpapi"
	"github.com/chassi-go/chassi/transport/grpcapi"
	"github.com/chassi-go/chassi/transport/httpapi"
	"github.com/chassi-go/chassi/transport/natsapi"
	"github.com/chassi-go/chassi/transport/natsapi/embedded"
)

// Config is the part of a program's configuration that the chassis brings.
type Config struct {
	HTTP      httpapi.Config  `config:"http"`
	GRPC      grpcapi.Config  `config:"grpc"`
	NATS      NATS            `config:"nats"`
	AMQP      AMQP            `config:"amqp"`
	Admin     Admin           `config:"admin"`
	RateLimit RateLimit       `config:"rate_limit"`
	Overload  overload.Config `config:"overload"`
	Redis     redis.Config    `config:"redis"`
	Start     Start           `config:"start"`
	Shutdown  Shutdown        `config:"shutdown"`
	Exposure  Exposure        `config:"exposure"`
	Deadline  time.Duration   `config:"deadline" default:"10s" min:"1ms" help:"for a call whose endpoint has none of its own"`

	telemetry.Config

	// Loaded tells where the values came from, so that secrets on the command line and
	// files that are too open can be warned of. config.Load sets it.
	Loaded *config.Report
}

// NATS is where messages come from: a server or cluster, or one in the process.
type NATS struct {
	URL      string `config:"url" mask:"url" default:"off" help:"nats://[user:password@]host:port, several with commas between; embedded runs a server in this process, off is no NATS"`
	Required bool   `config:"required" default:"false" help:"not ready while NATS is away; otherwise degraded"`

	natsapi.Config
	Embedded embedded.Config `config:"embedded"`
}

// AMQP is RabbitMQ.
type AMQP struct {
	Required bool `config:"required" default:"false" help:"not ready while the broker is away; otherwise degraded"`

	amqpapi.Config
}

// off is the value of a setting that turns a transport off, embeddedNATS that of nats.url
// for the server in this process.
const (
	off          = "off"
	embeddedNATS = "embedded"
)

// RateLimit bounds what one client may do. Both can be changed at run time.
type RateLimit struct {
	Peer      ratelimit.Limit `config:"peer" default:"5000/1s" reload:"true" help:"calls of one client address (IPv6: /64), such as 100/1m; off for no limit"`
	Principal ratelimit.Limit `config:"principal" default:"1000/1s" reload:"true" help:"calls of one authenticated caller"`
	Shared    bool            `config:"shared" default:"true" help:"count over all nodes, if redis.url is set; while Redis is away each node counts for itself"`
}

// Shutdown has the times of an orderly end.
type Shutdown struct {
	Drain time.Duration `config:"drain" default:"12s" min:"0s" help:"from readiness' no to closed listeners, on SIGTERM: longer than load balancers take to notice, see docs/operations.md; none on SIGINT (Ctrl-C)"`
	Grace time.Duration `config:"grace" default:"15s" min:"1ms" help:"for calls in flight after that"`
}

// Start bounds how long dependencies may be away at the start.
type Start struct {
	Timeout time.Duration `config:"timeout" default:"0s" min:"0s" help:"for all required servers to start; 0s is as long as it takes, alive and not ready"`
}

// Options are what configuration cannot hold.
type Options struct {
	Log            io.Writer                  // default os.Stderr
	Authenticators []middleware.Authenticator // who calls the endpoints that are not public
}

// Standard is the chassis, put together. Mount, Handle, Manage and Check come
// before Run.
type Standard struct {
	*chassi.App
	Telemetry *telemetry.Telemetry
	HTTP      *httpapi.Server
	GRPC      *grpcapi.Server // nil when it is off, and so are the next three
	NATS      *natsapi.Server
	Embedded  *embedded.Server // the NATS server in this process
	AMQP      *amqpapi.Server
	Admin     *httpapi.Server
	Redis     *redis.DB // nil without redis.url

	// Outgoing is the middleware for clients of other services: traces and metrics.
	Outgoing []chassi.Middleware

	// FellBack counts that something was done without Redis: "rate_limit", ... It is nil
	// without redis.url.
	FellBack func(what string)

	peer, principal *ratelimit.Limiter
	exposure        *exposure
	capacity        *capacity
	shareLimits     bool
}

// New puts the chassis together and listens to nothing yet.
func New(ctx context.Context, name, version string, c Config, o Options) (*Standard, error) {
	if o.Log == nil {
		o.Log = os.Stderr
	}
	if err := c.Exposure.validate(); err != nil {
		return nil, fmt.Errorf("standard: %w", err)
	}
	t, err := telemetry.New(ctx, name, version, c.Config, o.Log)
	if err != nil {
		return nil, fmt.Errorf("standard: %w", err)
	}
	limitMemory(t.Logger)
	s := &Standard{
		Telemetry: t,
		peer:      ratelimit.New(ratelimit.Options{Limit: c.RateLimit.Peer}),
		principal: ratelimit.New(ratelimit.Options{Limit: c.RateLimit.Principal}),
		exposure:  newExposure(c, t.Logger),
		capacity:  newCapacity(c, t.Logger),
	}
	s.App = chassi.NewApp(name, chassi.AppOptions{
		Logger: t.Logger, DrainDelay: c.Shutdown.Drain, Grace: c.Shutdown.Grace, StartTimeout: c.Start.Timeout,
	})
	err = errors.Join(s.openRedis(name, c.Redis), s.build(version, c, o))
	if err == nil {
		err = s.observe(c)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("standard: %w", err), t.Stop(ctx))
	}
	s.Manage(t, s.exposure.server(), s.capacity.server(), s.Admin)
	s.Serve(s.HTTP)
	if s.GRPC != nil {
		s.Serve(s.GRPC)
	}
	if s.Embedded != nil {
		s.Manage(s.Embedded)
	}
	if s.NATS != nil {
		s.serveBroker(s.NATS, c.NATS.Required || s.Embedded != nil)
	}
	if s.AMQP != nil {
		s.serveBroker(s.AMQP, c.AMQP.Required)
	}
	return s, nil
}

func (s *Standard) serveBroker(broker chassi.Server, required bool) {
	if !required {
		broker = chassi.Optional(broker)
	}
	s.Serve(broker)
}

func (s *Standard) build(version string, c Config, o Options) error {
	counted, err := metrics.New(s.Telemetry.Registry)
	if err != nil {
		return err //nolint:wrapcheck // says where
	}
	traced := tracing.New(s.Telemetry.Tracer, s.Telemetry.Propagator, tracing.TrustNetworks(c.Trace.Trusted...))
	s.Outgoing = []chassi.Middleware{traced, counted}
	watch := []chassi.Middleware{
		traced,
		middleware.Logging(s.Telemetry.Logger),
		counted,
		middleware.Exceptions(s.Telemetry.Report),
		middleware.Recover(),
	}
	s.shareLimits = s.Redis != nil && c.RateLimit.Shared
	guard := []chassi.Middleware{
		middleware.RateLimitPeer(s.Limiter("peer", s.peer), func(endpoint string, l ratelimit.Limit) middleware.Limiter {
			return s.Limiter(endpoint, ratelimit.New(ratelimit.Options{Limit: l}))
		}),
		middleware.Deadline(c.Deadline),
		middleware.Authentication(o.Authenticators...),
		middleware.RateLimitPrincipal(s.Limiter("principal", s.principal)),
		middleware.Validation(),
	}
	var errs []error
	around := func(server string) []chassi.Middleware {
		limiter := overload.New(c.Overload)
		errs = append(errs, s.Telemetry.RegisterOverload(server, func() telemetry.OverloadStats { return telemetry.OverloadStats(limiter.Stats()) }))
		return slices.Concat(watch, []chassi.Middleware{middleware.LimitConcurrency(limiter.PerClient(), limiter), middleware.Shedding(limiter)}, guard)
	}
	c.HTTP.Logger = s.Telemetry.Logger
	if s.HTTP, err = httpapi.New(c.HTTP, around("http")...); err != nil {
		return err //nolint:wrapcheck // says where
	}
	errs = append(errs, s.buildGRPC(c.GRPC, around))
	c.NATS.Deadline = c.Deadline
	errs = append(errs, s.buildNATS(version, c.NATS, around), s.buildAMQP(c.AMQP, around))
	errs = append(errs, s.buildAdmin(c, counted))
	return errors.Join(errs...)
}

// Limiter returns l for [middleware.RateLimitPeer] and its like, counting over all nodes
// if rate_limit.shared and Redis say so. Name tells its counts from those of others there.
func (s *Standard) Limiter(name string, l *ratelimit.Limiter) middleware.Limiter {
	if !s.shareLimits {
		return l
	}
	return shared.New(name, l, s.Redis, func() { s.FellBack("rate_limit") })
}

// openRedis makes the client of Redis, if there is one. It is optional: all that is done
// with it is done without it as well.
func (s *Standard) openRedis(name string, c redis.Config) (err error) {
	if c.URL == "" {
		return nil
	}
	c.Logger = s.Telemetry.Logger
	if c.Prefix == "" {
		c.Prefix = name + ":"
	}
	if s.Redis, err = redis.Open(c); err != nil {
		return err //nolint:wrapcheck // says what
	}
	s.Manage(chassi.Optional(s.Redis))
	s.FellBack, err = s.Telemetry.RegisterEvents("redis_fallbacks_total", "What was done without Redis because it could not be used.")
	return err //nolint:wrapcheck // says where
}

func (s *Standard) buildGRPC(c grpcapi.Config, around func(string) []chassi.Middleware) error {
	if c.Addr == off {
		return nil
	}
	c.Logger = s.Telemetry.Logger
	c.Ready = func(ctx context.Context) bool { return s.RecentHealth(ctx, time.Second).Ready }
	s.GRPC = grpcapi.New(c, around("grpc")...)
	return errors.Join(
		s.Telemetry.RegisterConnections(s.GRPC.Name(), s.GRPC.Connections),
		s.Telemetry.RegisterRefusedClients(s.GRPC.Name(), s.GRPC.RefusedClients))
}

func (s *Standard) buildNATS(version string, c NATS, around func(string) []chassi.Middleware) error {
	if c.URL == off {
		return nil
	}
	if len(c.TrustedClients) > 0 && c.URL != embeddedNATS && !c.NamedClients {
		return errors.New("nats.trusted_clients: needs nats.named_clients, without which clients have no names to be trusted by")
	}
	n := c.Config
	n.URL, n.Version, n.Logger = c.URL, version, s.Telemetry.Logger
	if c.URL == embeddedNATS {
		c.Embedded.Logger = s.Telemetry.Logger
		s.Embedded = embedded.New(c.Embedded)
		n.URL, n.Broker = "", s.Embedded
	}
	if err := n.Validate(); err != nil {
		return err //nolint:wrapcheck // names the settings
	}
	var err error
	n.Observe, err = s.Telemetry.RegisterEvents("nats_events_total", "Requests over NATS that were dropped, by the reason.")
	s.NATS = natsapi.New(n, around("nats")...)
	return err //nolint:wrapcheck // says where
}

func (s *Standard) buildAMQP(settings AMQP, around func(string) []chassi.Middleware) (err error) {
	c := settings.Config
	if c.URL == "" || c.URL == off {
		return nil
	}
	if err = c.Validate(); err != nil {
		return err //nolint:wrapcheck // names the settings
	}
	c.Logger = s.Telemetry.Logger
	c.Observe, err = s.Telemetry.RegisterEvents("amqp_events_total", "Requests over AMQP that were not carried out, and answers that were not sent.")
	s.AMQP = amqpapi.New(c, around("amqp")...)
	return err //nolint:wrapcheck // says where
}

// Describe serves the contract of services over HTTP: /openapi.json, and /docs for
// people.
func (s *Standard) Describe(info schema.Info, services ...*chassi.Service) error {
	document, err := schema.OpenAPI(info, services...)
	if err != nil {
		return err //nolint:wrapcheck // says where
	}
	page, err := schema.Page(info, services...)
	if err != nil {
		return err //nolint:wrapcheck // says where
	}
	serve := func(kind, policy string, content []byte) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Type", kind)
			w.Header().Set("Cache-Control", "public, max-age=300")
			if policy != "" {
				w.Header().Set("Content-Security-Policy", policy)
			}
			_, _ = w.Write(content)
		})
	}
	return errors.Join(
		s.HTTP.Handle("GET /openapi.json", serve("application/json", "", document), chassi.Public),
		s.HTTP.Handle("GET /docs", serve("text/html; charset=utf-8", schema.PagePolicy, page), chassi.Public),
	)
}

// Reload applies what can change while the program runs: the log level and the
// two rate limits.
func (s *Standard) Reload(c Config) error {
	s.peer.SetLimit(c.RateLimit.Peer)
	s.principal.SetLimit(c.RateLimit.Principal)
	return s.Telemetry.SetLevel(c.Log.Level) //nolint:wrapcheck // says what
}
