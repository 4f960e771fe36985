package standard

import (
	"cmp"
	"sync"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/middleware"
	"github.com/chassi-go/chassi/middleware/metrics"
	"github.com/chassi-go/chassi/middleware/tracing"
	"github.com/chassi-go/chassi/overload"
	"github.com/chassi-go/chassi/ratelimit"
	"github.com/chassi-go/chassi/telemetry"
)

// The names of the layers of [App].Stack, from the outermost to the innermost.
const (
	Tracing            = "tracing"
	Logging            = "logging"
	Metrics            = "metrics"
	ErrorReporting     = "error_reporting"
	Recovery           = "recovery"
	Concurrency        = "concurrency"
	LoadShedding       = "load_shedding"
	RateLimitPeer      = "rate_limit_peer"
	Timeout            = "timeout"
	Authentication     = "authentication"
	RateLimitPrincipal = "rate_limit_principal"
	Validation         = "validation"
)

// newStack sets the fields Stack and Outgoing. Middleware that depends on later additions to the
// App is created when the first endpoint is mounted.
func (a *App) newStack() error {
	counted, err := metrics.New(a.Telemetry.Registry)
	if err != nil {
		return err //nolint:wrapcheck // says where
	}
	traced := tracing.New(a.Telemetry.Tracer, a.Telemetry.Propagator, tracing.TrustNetworks(a.config.Trace.Trusted...))
	a.Outgoing = []chassi.Middleware{traced, counted}
	a.Stack = middleware.NewStack(
		middleware.Layer{Name: Tracing, Middleware: traced},
		middleware.Layer{Name: Logging, Middleware: middleware.Logging(a.Logger)},
		middleware.Layer{Name: Metrics, Middleware: counted},
		middleware.Layer{Name: ErrorReporting, Middleware: middleware.ErrorReporting(a.Telemetry.Report)},
		middleware.Layer{Name: Recovery, Middleware: middleware.Recover()},
		middleware.Layer{Name: Concurrency, Middleware: perServer(func(server string) chassi.Middleware {
			l := a.overloadLimiter(server)
			return middleware.LimitConcurrency(l.PerClient(), l)
		})},
		middleware.Layer{Name: LoadShedding, Middleware: perServer(func(server string) chassi.Middleware {
			return middleware.LoadShedding(a.overloadLimiter(server))
		})},
		middleware.Layer{Name: RateLimitPeer, Middleware: once(func() chassi.Middleware {
			return middleware.RateLimitPeer(a.Limiter("peer", a.peer), func(endpoint string, l ratelimit.Limit) middleware.Limiter {
				return a.Limiter(endpoint, ratelimit.New(ratelimit.Options{Limit: l}))
			})
		})},
		middleware.Layer{Name: Timeout, Middleware: middleware.Timeout(a.config.Timeout)},
		middleware.Layer{Name: Authentication, Middleware: once(func() chassi.Middleware {
			return middleware.Authentication(a.authenticators...)
		})},
		middleware.Layer{Name: RateLimitPrincipal, Middleware: once(func() chassi.Middleware {
			return middleware.RateLimitPrincipal(a.Limiter("principal", a.principal))
		})},
		middleware.Layer{Name: Validation, Middleware: middleware.Validation()},
	)
	return a.Stack.Err() //nolint:wrapcheck // says where
}

// once returns a middleware that build creates when the first endpoint is mounted.
func once(build func() chassi.Middleware) chassi.Middleware {
	m := sync.OnceValue(build)
	return func(b *chassi.Binding, next chassi.Handler) chassi.Handler { return m()(b, next) }
}

// perServer returns a middleware that build creates separately for each server, when the first
// endpoint of the server is mounted.
func perServer(build func(server string) chassi.Middleware) chassi.Middleware {
	var mu sync.Mutex
	made := make(map[string]chassi.Middleware)
	of := func(server string) chassi.Middleware {
		mu.Lock()
		defer mu.Unlock()
		if made[server] == nil {
			made[server] = build(server)
		}
		return made[server]
	}
	return func(b *chassi.Binding, next chassi.Handler) chassi.Handler {
		return of(cmp.Or(b.Server, b.Transport))(b, next)
	}
}

// overloadLimiter returns the overload limiter of a server. The first call for a server creates the
// limiter and its metrics.
func (a *App) overloadLimiter(server string) *overload.Limiter {
	a.limitersMu.Lock()
	defer a.limitersMu.Unlock()
	l := a.limiters[server]
	if l == nil {
		l = overload.New(a.config.Overload)
		a.limiters[server] = l
		a.Fail(a.Telemetry.RegisterOverload(server, func() telemetry.OverloadStats { return telemetry.OverloadStats(l.Stats()) }))
	}
	return l
}
