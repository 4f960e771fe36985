package chassi

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"sync/atomic"
	"time"
)

// Endpoint is one method of a service with its metadata. It does not depend on a transport. Once
// its [Service] is mounted, it is immutable and safe for concurrent use.
type Endpoint struct {
	name, service     string
	method, path      string
	status            int
	public            bool
	permissions       []string
	timeout           time.Duration
	maxBody           int64
	rate              Rate
	idempotent        bool
	priority          Level
	transports        []string // nil for all
	cacheFor          time.Duration
	doc               string
	errors            []*Error
	headers           map[string]string
	request, response reflect.Type
	middleware, own   []Middleware // of the service and of the endpoint
	serve             Handler
	err               error // all configuration errors
	raw               bool
	streams, finite   bool
	hasPolicy         bool
	anyQuery          bool
	bound             atomic.Bool // whether a transport serves the endpoint
}

// Rate is the rate limit of each client: a burst of Calls calls, then Calls calls in each period Per.
// The zero Rate means the default of the transport's middleware.
type Rate struct {
	Calls int
	Per   time.Duration
}

// EndpointOption configures an endpoint. Only the functions that create an endpoint, such as
// [NewEndpoint], can apply an option, so that no option changes an endpoint later.
type EndpointOption func(*endpointSettings)

// endpointSettings is an [Endpoint] under construction.
type endpointSettings Endpoint

// NewEndpoint returns an endpoint that calls method. Req and Res must be plain structs. An
// endpoint without a policy ([Public], [Authenticated], [Requires]) requires an authenticated
// client. Configuration errors are returned by [Service.Err] and when the service is mounted.
func NewEndpoint[Req, Res any](name string, method func(context.Context, *Req) (*Res, error), options ...EndpointOption) *Endpoint {
	e := newEndpoint[Req, Res](name, method != nil)
	e.serve = func(ctx context.Context, call *Call) error { return serve(ctx, call, method) }
	e.apply(options)
	e.require(!e.finite, "is declared finite, but is not a stream")
	e.expectFiles()
	return e
}

// RawEndpoint returns an endpoint without typed messages: handler replaces the decoding,
// the method and the encoding. Transports use it to pass other requests, such as those
// for an http.Handler or an unknown path, through the same middleware. The endpoints of
// httpapi.NewEndpoint are raw endpoints. For a raw endpoint that belongs to no service,
// the transport must check [Endpoint.Err].
func RawEndpoint(name string, handler Handler, options ...EndpointOption) *Endpoint {
	e := &Endpoint{name: name, headers: make(map[string]string), raw: true}
	e.serve = func(ctx context.Context, call *Call) error {
		err := handler(ctx, call)
		call.answered = err == nil
		return err
	}
	e.apply(options)
	e.require(handler != nil, "has no handler")
	return e
}

// Route sets the HTTP method and path, in the pattern syntax of net/http.ServeMux: "GET
// /v1/users/{id}".
func Route(pattern string) EndpointOption {
	return func(e *endpointSettings) {
		method, path, ok := strings.Cut(pattern, " ")
		e.require(ok && httpMethod.MatchString(method) && strings.HasPrefix(path, "/"), fmt.Sprintf("has route %q: want \"METHOD /path\"", pattern))
		e.method, e.path = method, path
	}
}

var httpMethod = regexp.MustCompile(`^[A-Z]+$`)

// Status sets the HTTP status of a successful call. The default is 200, or 204 for a response
// without fields.
func Status(code int) EndpointOption {
	return func(e *endpointSettings) {
		e.require(code >= 200 && code <= 299, fmt.Sprintf("has status %d: want 200 to 299", code))
		e.status = code
	}
}

// Public allows anyone to call the endpoint, without authentication.
func Public(e *endpointSettings) { e.setPolicy(true) }

// Authenticated allows any authenticated principal to call the endpoint. It is the default.
func Authenticated(e *endpointSettings) { e.setPolicy(false) }

// Requires allows only principals with all of the permissions to call the endpoint.
func Requires(permissions ...string) EndpointOption {
	return func(e *endpointSettings) {
		e.setPolicy(false, permissions...)
		e.require(len(permissions) > 0 && !slices.Contains(permissions, ""), fmt.Sprintf("requires permissions %q: want names", permissions))
	}
}

// setPolicy sets the policy of an endpoint. A second policy is an error, because it would be
// unclear which one applies.
func (e *endpointSettings) setPolicy(public bool, permissions ...string) {
	e.require(!e.hasPolicy, "has two policies: want one of Public, Authenticated, Requires")
	e.hasPolicy, e.public, e.permissions = true, public, slices.Clone(permissions)
}

// Timeout sets the timeout of each call, or of the opening of a stream, in place of the default.
func Timeout(d time.Duration) EndpointOption {
	return func(e *endpointSettings) {
		e.require(d > 0, "has a timeout that is not positive")
		e.timeout = d
	}
}

// MaxBody sets the maximum size of a request body in bytes. It overrides the transport's
// default. On transports other than HTTP it can only lower the limit.
func MaxBody(bytes int64) EndpointOption {
	return func(e *endpointSettings) {
		e.require(bytes > 0, "has a maximum body size that is not positive")
		e.maxBody = bytes
	}
}

// RateLimit limits each client to a burst of the given number of calls, then to that number in each
// period of the length per; see [Rate]. It overrides the transport's default.
func RateLimit(calls int, per time.Duration) EndpointOption {
	return func(e *endpointSettings) {
		e.require(calls > 0 && per > 0, "has a rate limit that is not positive")
		e.rate = Rate{Calls: calls, Per: per}
	}
}

// Idempotent declares that a repeated call has no further effect, so that clients and brokers
// may retry it.
func Idempotent(e *endpointSettings) { e.idempotent = true }

// Level is the priority of an endpoint's calls under overload.
type Level int8

// The levels. Calls with Low are refused first, calls with High last. Normal is the default.
const (
	Low    Level = -1
	Normal Level = 0
	High   Level = 1
)

// Priority sets the priority of the endpoint's calls.
func Priority(l Level) EndpointOption {
	return func(e *endpointSettings) {
		e.require(l >= Low && l <= High, fmt.Sprintf("has priority %d: want Low, Normal or High", l))
		e.priority = l
	}
}

// With adds middleware to the endpoint, the first one outermost. The middleware runs inside that
// of the transport and of [Service.Use], and before the endpoint's policy check and the decoding.
func With(middleware ...Middleware) EndpointOption {
	return func(e *endpointSettings) {
		e.require(!hasNil(middleware), "has a nil middleware")
		e.own = append(e.own, middleware...)
	}
}

// Transports limits the endpoint to the named transports, such as "http" and "grpc" (see
// [Binding].Transport). Other transports do not serve the endpoint, and their schema documents do
// not describe it. A client of another transport can be created, but returns an error when the
// method is called. Without this option all transports serve the endpoint (HTTP if it has a [Route]),
// and a transport that cannot serve it refuses to mount its service.
func Transports(names ...string) EndpointOption {
	return func(e *endpointSettings) {
		valid := len(names) > 0 && !slices.ContainsFunc(names, func(name string) bool { return !transportName.MatchString(name) })
		e.require(valid, fmt.Sprintf("has transports %q: want names such as http, grpc, nats, amqp or local", names))
		e.transports = slices.Clone(names)
	}
}

var transportName = regexp.MustCompile(`^[a-z][a-z0-9]*$`)

// CacheFor permits caches to store a successful response for the duration d: any cache if the
// endpoint is [Public], otherwise only the private cache of the client. Without this option no
// cache may store a response.
func CacheFor(d time.Duration) EndpointOption {
	return func(e *endpointSettings) {
		e.require(d > 0, "may be cached for a time that is not positive")
		e.cacheFor = d
	}
}

// IgnoreUnknownQuery makes the endpoint ignore HTTP query parameters that match no field
// of its request, such as utm_source in a link. Without this option such a parameter is
// an error, so that a misspelled one is reported.
func IgnoreUnknownQuery(e *endpointSettings) { e.anyQuery = true }

// Doc sets the description of the endpoint in the schema documents.
func Doc(text string) EndpointOption { return func(e *endpointSettings) { e.doc = text } }

// Errors declares the domain errors that the method returns, for the schema documents.
func Errors(errs ...*Error) EndpointOption {
	return func(e *endpointSettings) {
		e.require(!slices.Contains(errs, nil), "has an error that is nil")
		e.errors = append(e.errors, errs...)
	}
}

// Name returns the method's name, such as "ValidateToken".
func (e *Endpoint) Name() string { return e.name }

// FullName returns the service's name, a slash and the method's name, such as
// "auth.v1.Auth/ValidateToken", or only the method's name if the endpoint belongs to no service.
func (e *Endpoint) FullName() string {
	if e.service == "" {
		return e.name
	}
	return e.service + "/" + e.name
}

// Route returns the HTTP method and path. Both are "" if the endpoint has no route.
func (e *Endpoint) Route() (method, path string) { return e.method, e.path }

// Status returns the HTTP status of a successful call.
func (e *Endpoint) Status() int {
	switch {
	case e.status != 0:
		return e.status
	case !e.raw && e.response.Kind() == reflect.Struct && e.response.NumField() == 0:
		return 204
	default:
		return 200
	}
}

// Public reports whether anonymous calls are allowed.
func (e *Endpoint) Public() bool { return e.public }

// Permissions returns a copy of the permissions that a principal must have.
func (e *Endpoint) Permissions() []string { return slices.Clone(e.permissions) }

// Timeout returns the timeout of each call, or 0 for the transport's default.
func (e *Endpoint) Timeout() time.Duration { return e.timeout }

// MaxBody returns the maximum size of a request body in bytes, or 0 for the transport's default.
func (e *Endpoint) MaxBody() int64 { return e.maxBody }

// Priority returns the priority of the endpoint's calls.
func (e *Endpoint) Priority() Level { return e.priority }

// Transports returns a copy of the names given to [Transports], or nil for all transports.
func (e *Endpoint) Transports() []string { return slices.Clone(e.transports) }

// ServedOver reports whether the option [Transports] permits at least one of the named
// transports to serve the endpoint.
func (e *Endpoint) ServedOver(transports ...string) bool {
	return e.transports == nil || slices.ContainsFunc(transports, func(name string) bool { return slices.Contains(e.transports, name) })
}

// Rate returns the rate limit of each client, or the zero Rate for the transport's default.
func (e *Endpoint) Rate() Rate { return e.rate }

// Idempotent reports whether a repeated call has no further effect.
func (e *Endpoint) Idempotent() bool { return e.idempotent }

// CacheFor returns how long caches may store a response, or 0 if they must not store it.
func (e *Endpoint) CacheFor() time.Duration { return e.cacheFor }

// IgnoresUnknownQuery reports whether unknown HTTP query parameters are ignored.
func (e *Endpoint) IgnoresUnknownQuery() bool { return e.anyQuery }

// Doc returns the description of the endpoint, or "".
func (e *Endpoint) Doc() string { return e.doc }

// Errors returns the errors declared with [Errors] and [Service.Document], in a new slice.
func (e *Endpoint) Errors() []*Error { return slices.Clone(e.errors) }

// Headers returns the descriptions of the headers that [Service.Document] has added, by name.
func (e *Endpoint) Headers() map[string]string { return maps.Clone(e.headers) }

// RequestType returns the struct type of requests, or nil for a [RawEndpoint].
func (e *Endpoint) RequestType() reflect.Type { return e.request }

// ResponseType returns the struct type of responses or stream items, or nil for a [RawEndpoint].
func (e *Endpoint) ResponseType() reflect.Type { return e.response }

// Err returns all configuration errors of the endpoint, joined, or nil.
func (e *Endpoint) Err() error { return e.err }

var errNoResponse = errors.New("the method returned neither a response nor an error")

// serve is the innermost handler: it decodes and checks the request, calls method and encodes
// the response.
func serve[Req, Res any](ctx context.Context, call *Call, method func(context.Context, *Req) (*Res, error)) error {
	request := new(Req)
	if err := call.decode(ctx, request); err != nil {
		return err
	}
	response, err := method(ctx, request)
	if err != nil {
		return err
	}
	if response == nil {
		return errNoResponse
	}
	return call.Respond(response)
}

// decode decodes the message of the call into request and checks the request.
func (c *Call) decode(ctx context.Context, request any) error {
	if err := c.Codec.Decode(request); err != nil {
		return err
	}
	c.Request = request
	if err := c.Verify(request); err != nil {
		return err
	}
	return ctx.Err() // reading the body may have taken all the time there was
}

func (e *Endpoint) apply(options []EndpointOption) {
	for _, option := range options {
		if option == nil {
			e.require(false, "has an option that is nil")
			continue
		}
		option((*endpointSettings)(e))
	}
}

func (e *Endpoint) require(ok bool, complaint string) { (*endpointSettings)(e).require(ok, complaint) }

func (e *endpointSettings) require(ok bool, complaint string) {
	if !ok {
		e.err = errors.Join(e.err, fmt.Errorf("chassi: endpoint %s %s", e.name, complaint))
	}
}
