// Package httpclient is a client for HTTP APIs of third parties. Its [Transport] is an
// [http.RoundTripper] with timeouts, retries, a circuit breaker for each host, spans and
// metrics, for any library that uses an [http.Client]:
//
//	client := &http.Client{Transport: httpclient.New(httpclient.Options{Name: "payments"})}
//
// # Timeouts
//
// An attempt must receive its response header within [Config.AttemptTimeout], and a call with all
// of its attempts within [Config.Timeout]. Each read of the body is limited by
// [Config.ReadTimeout]; the body as a whole has no limit, so that it can be streamed. Attempts and
// the reading of the body also end when the request's context is done and after the Timeout of the
// [http.Client].
//
// # Retries
//
// A request is sent again, within the limits of [Retry], if all of these conditions hold:
//
//   - its method is GET, HEAD, OPTIONS, PUT or DELETE, or it has an Idempotency-Key header;
//   - it has no body, or its body can be read again ([http.Request.GetBody], which
//     [http.NewRequest] sets for the usual readers);
//   - the response had the status 429, 502, 503 or 504, or there was no response for a reason
//     other than an untrusted certificate.
//
// The delay before the retry is random: at most [retry.Config.Backoff], which doubles with each
// attempt up to [retry.Config.MaxBackoff], but at least the Retry-After of the response. If the
// Retry-After exceeds [retry.Config.MaxRetryAfter] or the remaining time of the call, there is no
// retry: the response is returned. [Retry.Budget] limits the retries to one host to a share of its
// successful calls.
//
// # Circuit breakers
//
// Each pair of a host and a port has a breaker. A response with a status of 500 or above is a
// failure, and so is an attempt without a response, unless the context of the request is done. If
// the breaker refuses a call, RoundTrip at once returns an error that wraps a [*breaker.OpenError].
// If the breaker refuses a retry, RoundTrip returns the response or error of the previous attempt.
//
// # Confidentiality
//
// Only the hosts in [Config.TraceHosts] receive the trace context of the program. Errors of
// Transport contain no path, query, user or password of a URL. An [http.Client] adds the URL to the
// errors that it returns; [Redact] removes the confidential parts.
package httpclient

import (
	"cmp"
	"context"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/chassi-go/chassi/breaker"
	"github.com/chassi-go/chassi/retry"
)

// Config configures a [Transport]. The zero value of a field means the default in its tag.
type Config struct {
	Timeout        time.Duration `config:"timeout" default:"30s" min:"1ms" help:"maximum time of a call, all attempts included, until the response header"`
	AttemptTimeout time.Duration `config:"attempt_timeout" default:"10s" min:"1ms" help:"maximum time of one attempt, until the response header"`
	ReadTimeout    time.Duration `config:"read_timeout" default:"30s" min:"1ms" help:"maximum time of each read of the response body; a stream that sends nothing for longer fails"`
	ConnectTimeout time.Duration `config:"connect_timeout" default:"5s" min:"1ms" help:"maximum time to connect, and again for the TLS handshake"`
	IdleTimeout    time.Duration `config:"idle_timeout" default:"90s" min:"1ms" help:"time after which an idle connection is closed"`

	MaxConnections         int   `config:"max_connections" default:"100" min:"1" help:"maximum number of connections to one host; further calls wait"`
	MaxResponseHeaderBytes int64 `config:"max_response_header_bytes" default:"65536" min:"1024" help:"maximum size of a response header in bytes; a larger one is an error"`
	MaxHosts               int   `config:"max_hosts" default:"100" min:"1" help:"maximum number of hosts with a breaker and a retry budget; beyond it the least recently used one is removed"`

	// HostClasses maps a host, a host and port, or all hosts of a domain ("*.example.com") to the
	// value of the host label in metrics, so that the number of values is bounded.
	HostClasses map[string]string `config:"host_classes" help:"name in metrics of a host, given as HOST, HOST:PORT or *.DOMAIN; all other hosts are called other"`

	TraceHosts []string `config:"trace_hosts" help:"hosts, given as HOST, HOST:PORT or *.DOMAIN, that receive the trace context (traceparent, tracestate, baggage); others do not"`

	Retry   Retry          `config:"retry"`
	Breaker breaker.Config `config:"breaker"`
}

// Retry configures the retries of requests to one host.
type Retry struct {
	retry.Config

	Budget float64 `config:"budget" default:"0.1" min:"0.001" help:"retries allowed per successful call on average; set attempts to 1 to disable retries"`
	Burst  int     `config:"burst" default:"10" min:"1" help:"retries allowed in excess of the budget, until calls succeed again"`
}

func (c Config) withDefaults() Config {
	c.Timeout = cmp.Or(c.Timeout, 30*time.Second)
	c.AttemptTimeout = cmp.Or(c.AttemptTimeout, 10*time.Second)
	c.ReadTimeout = cmp.Or(c.ReadTimeout, 30*time.Second)
	c.ConnectTimeout = cmp.Or(c.ConnectTimeout, 5*time.Second)
	c.IdleTimeout = cmp.Or(c.IdleTimeout, 90*time.Second)
	c.MaxConnections = cmp.Or(c.MaxConnections, 100)
	c.MaxResponseHeaderBytes = cmp.Or(c.MaxResponseHeaderBytes, 64<<10)
	c.MaxHosts = cmp.Or(c.MaxHosts, 100)
	c.Retry.Attempts = cmp.Or(c.Retry.Attempts, 3)
	c.Retry.Budget = cmp.Or(c.Retry.Budget, 0.1)
	c.Retry.Burst = cmp.Or(c.Retry.Burst, 10)
	return c
}

// Options configures a [Transport].
type Options struct {
	Config

	Name string // name of the API in the log

	// Base sends the requests. The default is an [http.Transport] with the limits of
	// Config. ConnectTimeout, IdleTimeout, MaxConnections and MaxResponseHeaderBytes apply
	// only to the default.
	Base http.RoundTripper

	// Trace, if not nil, begins a span for an attempt. It returns the context of the
	// attempt and a function, possibly nil, that ends the span. The attempts of a call
	// are numbered from 1. If header is not nil, the host may receive the trace context,
	// which Trace then sets in header. Package middleware/tracing provides such a function.
	Trace func(ctx context.Context, method, host string, attempt int, header http.Header) (context.Context, func(status int, failure string))

	// Observe, if not nil, is called after each attempt and for each call that a breaker
	// refuses. Class is one of the values of HostClasses or "other"; method is "_OTHER" if
	// it is not a standard method. If there is no response, status is 0 and failure is
	// "timeout", "canceled", "breaker_open" or "error". Took is the time until the response
	// header. Package middleware/metrics provides such a function.
	Observe func(class, method string, status int, failure string, took time.Duration)

	Logger *slog.Logger // default slog.Default()
}

// Transport is an [http.RoundTripper] with timeouts, retries and a circuit breaker for
// each host. It is created by [New], is safe for concurrent use and starts no goroutine.
type Transport struct {
	options Options
	base    http.RoundTripper
	hosts   hosts
}

var _ http.RoundTripper = (*Transport)(nil)

// New returns a Transport with the given options. It does not connect yet.
func New(o Options) *Transport {
	o.Config = o.withDefaults()
	if o.Logger == nil {
		o.Logger = slog.Default()
	}
	t := &Transport{options: o, base: o.Base}
	if t.base == nil {
		t.base = newBase(o.Config)
	}
	t.hosts = newHosts(o.MaxHosts, t.newHost)
	return t
}

func newBase(c Config) *http.Transport {
	return &http.Transport{
		Proxy:       http.ProxyFromEnvironment,
		DialContext: (&net.Dialer{Timeout: c.ConnectTimeout}).DialContext, TLSHandshakeTimeout: c.ConnectTimeout, ForceAttemptHTTP2: true,
		MaxConnsPerHost: c.MaxConnections, MaxIdleConnsPerHost: c.MaxConnections, IdleConnTimeout: c.IdleTimeout,
		MaxResponseHeaderBytes: c.MaxResponseHeaderBytes, ExpectContinueTimeout: time.Second,
	}
}

// CloseIdleConnections closes the idle connections of Base, if Base has a method
// CloseIdleConnections.
func (t *Transport) CloseIdleConnections() {
	if c, ok := t.base.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}
