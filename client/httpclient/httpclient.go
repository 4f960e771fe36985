// Package httpclient is a client for HTTP APIs of third parties. Its [Transport] is an
// [http.RoundTripper] with timeouts, retries, a circuit breaker for each host, spans and
// metrics, for any library that uses an [http.Client]:
//
//	client := &http.Client{Transport: httpclient.New(httpclient.Options{Name: "payments"})}
//
// # Timeouts
//
// An attempt must have its response header within [Config.AttemptTimeout], and a call with all
// of its attempts within [Config.Timeout]. The body has no limit as a whole, so that it can be
// streamed, but each of its reads has one, [Config.ReadTimeout]. The context of the request
// ends all of them, and so does the Timeout of the http.Client, body included.
//
// # Retries
//
// A request is sent again if its method is GET, HEAD, OPTIONS, PUT or DELETE or it has an
// Idempotency-Key header, if its body can be read again ([http.Request.GetBody], which
// [http.NewRequest] sets for the usual readers), and if it got no response or one with the
// status 429, 502, 503 or 504. The pause before it is random, at most [retry.Config.Backoff],
// which doubles with each attempt, and at least the Retry-After of the response. A Retry-After
// of more than [retry.Config.MaxRetryAfter], or beyond the end of the call, means no retry: the
// response is returned. The retries to one host are a share of the successes there.
//
// # Circuit breakers
//
// Each host and port has a breaker. Responses with a status from 500 on and attempts without
// a response are failures. Where a breaker is open, RoundTrip returns a [breaker.OpenError]
// at once.
//
// # Confidentiality
//
// No host gets the trace context of the program unless it is one of [Config.TraceHosts].
// Errors of Transport contain neither the path nor the query nor user and password of a URL.
// The error that [http.Client] makes of them does: see [Redact].
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

	// HostClasses are the values of the host label in metrics, so that their number is
	// bounded: of a host, a host and port, or all hosts of a domain ("*.example.com").
	HostClasses map[string]string `config:"host_classes" help:"name in metrics of a host, given as HOST, HOST:PORT or *.DOMAIN; all other hosts are called other"`

	TraceHosts []string `config:"trace_hosts" help:"hosts, given as HOST, HOST:PORT or *.DOMAIN, that receive the trace context (traceparent, tracestate, baggage); others do not"`

	Retry   Retry          `config:"retry"`
	Breaker breaker.Config `config:"breaker"`
}

// Retry configures the retries to one host.
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

	Name string // of the API, for the log

	// Base sends the requests. By default it is an [http.Transport] with the limits of
	// Config; those for connections and header do not apply to another one.
	Base http.RoundTripper

	// Trace begins a span for an attempt and returns the function that ends it, or nil. The
	// attempt is the number from 1. If header is not nil, the host may get the trace context:
	// Trace sets it there. Package middleware/tracing has such a function.
	Trace func(ctx context.Context, method, host string, attempt int, header http.Header) (context.Context, func(status int, failure string))

	// Observe is called after each attempt and each call that a breaker refuses. Class is
	// one of HostClasses or "other"; method is "_OTHER" if it is not a standard one. Status
	// is 0 without a response; failure is "timeout", "canceled", "breaker_open" or "error"
	// then. Took is the time until the response header. Package middleware/metrics has such a
	// function.
	Observe func(class, method string, status int, failure string, took time.Duration)

	Logger *slog.Logger // default slog.Default()
}

// Transport is an [http.RoundTripper]. It is safe for concurrent use and starts no goroutine.
type Transport struct {
	options Options
	base    http.RoundTripper
	hosts   hosts
}

var _ http.RoundTripper = (*Transport)(nil)

// New returns a transport. It does not connect yet.
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

// CloseIdleConnections closes idle connections.
func (t *Transport) CloseIdleConnections() {
	if c, ok := t.base.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}
