// Package standard assembles a service from the usual parts: HTTP, the admin listener,
// telemetry, limits, and a command line.
//
//	type Config struct {
//		standard.Config
//		GRPC grpcserver.Config `config:"grpc"`
//	}
//
//	func main() {
//		standard.Program[Config]{Name: "greeter", Setup: setup}.Main()
//	}
//
//	func setup(ctx context.Context, app *standard.App, c *Config) error {
//		grpcserver.Add(app, c.GRPC)
//		app.Mount(greet.Endpoints(greet.New()))
//		return nil
//	}
//
// Parts with large dependencies are in separate packages below this one, such as grpcserver,
// natsserver, natsembedded, amqpserver, redisdb and sqldb, whose functions add them to an [App]. A
// program links only the packages that it imports.
//
// The middleware of all transports is [App].Stack, which a program can print and change.
package standard

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/config"
	"github.com/chassi-go/chassi/internal/contain"
	"github.com/chassi-go/chassi/middleware"
	"github.com/chassi-go/chassi/overload"
	"github.com/chassi-go/chassi/ratelimit"
	"github.com/chassi-go/chassi/schema"
	"github.com/chassi-go/chassi/telemetry"
	"github.com/chassi-go/chassi/transport"
	"github.com/chassi-go/chassi/transport/certs"
	"github.com/chassi-go/chassi/transport/connectapi"
	"github.com/chassi-go/chassi/transport/httpapi"
)

// Config is the part of a program's configuration that package standard defines. A program
// embeds it in its own configuration.
type Config struct {
	HTTP      httpapi.Config         `config:"http"`
	Admin     Admin                  `config:"admin"`
	RateLimit RateLimit              `config:"rate_limit"`
	Overload  overload.Config        `config:"overload"`
	Stream    transport.StreamConfig `config:"stream"`
	Start     Start                  `config:"start"`
	Shutdown  Shutdown               `config:"shutdown"`
	Exposure  Exposure               `config:"exposure"`
	Timeout   time.Duration          `config:"timeout" default:"10s" min:"1ms" help:"maximum time of a call whose endpoint declares no timeout"`

	telemetry.Config

	// Loaded records the sources of the values, for warnings about secrets on the command line
	// and insecure file permissions. config.Load sets it.
	Loaded *config.Report
}

// base returns c. Every struct that embeds a Config has this method, with which package standard
// finds the Config.
func (c *Config) base() *Config { return c }

// RateLimit configures the limits on the rate of calls from each client. Peer and Principal can be
// changed at run time.
type RateLimit struct {
	Peer      ratelimit.Limit `config:"peer" default:"5000/1s" reload:"true" help:"rate of calls for each client address (IPv6: /64), such as 100/1m; off disables the limit"`
	Principal ratelimit.Limit `config:"principal" default:"1000/1s" reload:"true" help:"rate of calls for each authenticated principal"`
	Shared    bool            `config:"shared" default:"true" help:"count over all nodes, in a program that uses Redis; while Redis is unavailable each node counts separately"`
}

// Shutdown holds the timeouts of an orderly shutdown.
type Shutdown struct {
	Drain time.Duration `config:"drain" default:"12s" min:"0s" help:"time between the failure of readiness and the closing of the listeners, on SIGTERM: longer than load balancers take to notice, see docs/operations.md; skipped on SIGINT (Ctrl-C)"`
	Grace time.Duration `config:"grace" default:"15s" min:"1ms" help:"maximum time for calls in flight to finish after the drain"`
}

// Start configures how long required components may take to start, for example while a dependency
// is unavailable.
type Start struct {
	Timeout time.Duration `config:"timeout" default:"0s" min:"0s" help:"maximum time for all required components to start; 0s is no limit: until then the process is alive and not ready"`
}

// Options holds settings that are not part of the configuration.
type Options struct {
	Log io.Writer // destination of log lines; default os.Stderr
	// DescribeOnly means that the App only describes its services and does not run. The functions
	// that add parts to such an App create no files and make no connections.
	DescribeOnly bool
}

// App is a service that is assembled from parts. All parts are added before [App.Run], in any
// order, except where a method states an order. An App is not safe for concurrent use before Run.
type App struct {
	*chassi.App
	Name, Version string
	DescribeOnly  bool // the value of Options.DescribeOnly
	Telemetry     *telemetry.Telemetry
	Logger        *slog.Logger    // the logger of Telemetry
	Admin         *httpapi.Server // the admin listener

	// Stack is the middleware of every transport; the constants of this package name its
	// layers. Changes have no effect after [App.Build], which Run calls.
	Stack *middleware.Stack

	// Outgoing is the middleware for clients of other services: traces and metrics.
	Outgoing []chassi.Middleware

	// HTTP is the public HTTP server. It is nil before [App.Build].
	HTTP *httpapi.Server

	config          Config
	peer, principal *ratelimit.Limiter
	share           func(name string, l *ratelimit.Limiter) middleware.Limiter // nil for separate limits
	limiters        map[string]*overload.Limiter                               // by server
	limitersMu      sync.Mutex
	exposure        *exposure
	capacity        *capacity
	listeners       []Listener
	authenticators  []middleware.Authenticator
	transports      []Transport
	servers         []chassi.Transport // created by Build
	services        []*chassi.Service
	topics          []schema.Topic
	work            []work
	handlers        []mountedHandler
	wrappers        []wrapper
	onReload        []func(c any) error
	errs            []error
	build           func() error
	built           bool
	reported        int // number of errs that Build has returned
}

// New returns an App with the telemetry, the middleware and the admin listener that c configures.
// The App does not listen before [App.Run]. The error names every invalid setting.
func New(ctx context.Context, name, version string, c Config, o Options) (*App, error) {
	if o.Log == nil {
		o.Log = os.Stderr
	}
	t, err := telemetry.New(ctx, name, version, c.Config, o.Log)
	if err = errors.Join(c.check(), err); err != nil {
		if t != nil {
			err = errors.Join(err, t.Stop(ctx))
		}
		return nil, err
	}
	limitMemory(t.Logger)
	c.HTTP.Logger, c.HTTP.ConnectCodec = t.Logger, connectapi.New()
	a := &App{
		Name: name, Version: version, DescribeOnly: o.DescribeOnly, Telemetry: t, Logger: t.Logger, config: c,
		peer:      ratelimit.New(ratelimit.Options{Limit: c.RateLimit.Peer}),
		principal: ratelimit.New(ratelimit.Options{Limit: c.RateLimit.Principal}),
		limiters:  make(map[string]*overload.Limiter),
		exposure:  newExposure(c, t.Logger),
		capacity:  newCapacity(t.Logger),
	}
	a.build = sync.OnceValue(a.assemble)
	a.exposure.listeners = func() []Listener { return a.listeners }
	a.App = chassi.NewApp(name, chassi.AppOptions{
		Logger: t.Logger, DrainDelay: c.Shutdown.Drain, Grace: c.Shutdown.Grace, StartTimeout: c.Start.Timeout,
	})
	a.addHTTPListener()
	if err = a.newStack(); err == nil {
		err = errors.Join(a.newAdmin(), a.observe())
	}
	if err != nil {
		return nil, errors.Join(err, a.Close())
	}
	a.Add(t, chassi.ComponentFunc("listeners", a.tryListeners, nil), chassi.ComponentFunc("exposure", a.exposure.warn, nil),
		chassi.ComponentFunc("capacity", a.capacity.warn, nil), a.Admin)
	return a, nil
}

// Close closes all parts added so far and writes the buffered log lines. It is for a program that
// ends before Run.
func (a *App) Close() error {
	return errors.Join(a.App.Close(), a.Telemetry.Stop(context.Background()))
}

// check returns an error for each invalid setting. config.Load has already validated most settings;
// check also validates the files that they name, and structs that were not loaded.
func (c *Config) check() error {
	errs := []error{config.Check(c, c.Loaded)}
	if err := c.HTTP.TLS.Validate(); err != nil && errs[0] == nil { // it says more than that a file cannot be read
		errs = append(errs, fmt.Errorf("http.tls: %w", err))
	}
	return errors.Join(errs...)
}

// CheckTLS returns an error if the files of setting, such as "grpc.tls", are unusable.
func CheckTLS(setting string, files certs.Files) error {
	if err := files.Validate(); err != nil {
		return fmt.Errorf("%s: %w", setting, err)
	}
	return nil
}

// Limiter returns a limiter with the limit of l, for [middleware.RateLimitPeer] and
// [middleware.RateLimitPrincipal]. The returned limiter counts across all nodes if
// [App.ShareLimits] was called and rate_limit.shared is true; otherwise it is l. The name
// distinguishes the counts of the returned limiter from those of other limiters.
func (a *App) Limiter(name string, l *ratelimit.Limiter) middleware.Limiter {
	if a.share == nil || !a.config.RateLimit.Shared {
		return l
	}
	return a.share(name, l)
}

// ShareLimits makes rate limits count across all nodes, unless rate_limit.shared is false. The
// function share returns a limiter that all nodes share, with the given name and the limit of l.
// ShareLimits must be called before [App.Limiter].
func (a *App) ShareLimits(share func(name string, l *ratelimit.Limiter) middleware.Limiter) {
	a.share = share
}

// CallTimeout returns the timeout of calls whose endpoint declares no timeout.
func (a *App) CallTimeout() time.Duration { return a.config.Timeout }

// Streams returns the configuration of streams, which all servers use.
func (a *App) Streams() transport.StreamConfig { return a.config.Stream }

// OnReload registers f to be called after the configuration has been loaded again, on SIGHUP or
// because a file has changed. The argument c of f is a pointer to the program's new configuration.
// [App.Reload] returns the errors and panics of f, and the command serve logs them.
func (a *App) OnReload(f func(c any) error) { a.onReload = append(a.onReload, f) }

// Reload applies the settings of c that can change while the program runs: the log level and the
// two rate limits. It then calls the functions that were registered with [App.OnReload]. c must be
// a pointer to a struct that embeds [Config]. Reload returns the errors of all these steps.
func (a *App) Reload(c any) error {
	base, err := baseOf(c)
	if err != nil {
		return err
	}
	a.peer.SetLimit(base.RateLimit.Peer)
	a.principal.SetLimit(base.RateLimit.Principal)
	errs := []error{a.Telemetry.SetLevel(base.Log.Level)}
	for _, f := range a.onReload {
		errs = append(errs, contain.Call(func() error { return f(c) }))
	}
	return errors.Join(errs...)
}
