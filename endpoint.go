package chassi

import (
	"context"
	"errors"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Endpoint is one method of a service with data about it. It knows no
// transport. It is immutable once its [Service] is made, and safe for
// concurrent use.
type Endpoint struct {
	name, service     string
	method, path      string
	status            int
	public            bool
	permissions       []string
	deadline          time.Duration
	rate              Rate
	idempotent        bool
	priority          int
	cacheFor          time.Duration
	doc               string
	errors            []*Error
	request, response reflect.Type
	middleware        []Middleware
	serve             Handler
	err               error // all that is wrong with it
	raw               bool
	hasPolicy         bool
}

// Rate is how many calls one client may make: Calls in each Per, all at once if
// it likes. The zero Rate leaves it to the transport's middleware.
type Rate struct {
	Calls int
	Per   time.Duration
}

// EndpointOption adds data to an endpoint.
type EndpointOption func(*Endpoint)

// NewEndpoint makes an endpoint of a method. Req and Res are plain structs. An
// endpoint that is given no policy ([Public], [Authenticated], [Requires])
// needs an authenticated caller. What is wrong with it is reported by
// [Service.Err], and so when the service is mounted.
func NewEndpoint[Req, Res any](name string, method func(context.Context, *Req) (*Res, error), options ...EndpointOption) *Endpoint {
	e := &Endpoint{name: name, request: reflect.TypeFor[Req](), response: reflect.TypeFor[Res]()}
	e.serve = func(ctx context.Context, call *Call) error { return serve(ctx, call, method) }
	e.apply(options)
	e.require(method != nil, "has no method")
	e.require(e.request.Kind() == reflect.Struct, "takes "+e.request.String()+", not a struct")
	e.require(e.response.Kind() == reflect.Struct, "returns "+e.response.String()+", not a struct")
	return e
}

// RawEndpoint makes an endpoint that has no typed messages: handler does the
// transport's work itself. Transports use it to pass what is not an endpoint, a
// mounted http.Handler or an unknown path, through the same middleware. It
// belongs to no service; the transport looks at [Endpoint.Err].
func RawEndpoint(name string, handler Handler, options ...EndpointOption) *Endpoint {
	e := &Endpoint{name: name, serve: handler, raw: true}
	e.apply(options)
	e.require(handler != nil, "has no handler")
	return e
}

// Route sets the HTTP method and path, in the pattern language of
// net/http.ServeMux: "GET /v1/users/{id}".
func Route(pattern string) EndpointOption {
	return func(e *Endpoint) {
		method, path, ok := strings.Cut(pattern, " ")
		e.require(ok && httpMethod.MatchString(method) && strings.HasPrefix(path, "/"), fmt.Sprintf("has route %q: want \"METHOD /path\"", pattern))
		e.method, e.path = method, path
	}
}

var httpMethod = regexp.MustCompile(`^[A-Z]+$`)

// Status sets the HTTP status of success; otherwise it is 200, or 204 for a
// response without fields.
func Status(code int) EndpointOption {
	return func(e *Endpoint) {
		e.require(code >= 200 && code <= 299, fmt.Sprintf("has status %d: want 200 to 299", code))
		e.status = code
	}
}

// Public lets anybody call the endpoint.
func Public(e *Endpoint) { e.setPolicy(true) }

// Authenticated lets any known principal call the endpoint. It is the default.
func Authenticated(e *Endpoint) { e.setPolicy(false) }

// Requires lets a principal call the endpoint that holds all of permissions.
func Requires(permissions ...string) EndpointOption {
	return func(e *Endpoint) {
		e.setPolicy(false, permissions...)
		e.require(len(permissions) > 0 && !slices.Contains(permissions, ""), fmt.Sprintf("requires permissions %q: want names", permissions))
	}
}

// setPolicy takes one policy for an endpoint: of two, a reader might believe the
// wrong one.
func (e *Endpoint) setPolicy(public bool, permissions ...string) {
	e.require(!e.hasPolicy, "has two policies: want one of Public, Authenticated, Requires")
	e.hasPolicy, e.public, e.permissions = true, public, permissions
}

// Deadline bounds each call, instead of the transport's default.
func Deadline(d time.Duration) EndpointOption {
	return func(e *Endpoint) {
		e.require(d > 0, "has a deadline that is not positive")
		e.deadline = d
	}
}

// RateLimit bounds the calls of one client, instead of the transport's default.
func RateLimit(calls int, per time.Duration) EndpointOption {
	return func(e *Endpoint) {
		e.require(calls > 0 && per > 0, "has a rate limit that is not positive")
		e.rate = Rate{Calls: calls, Per: per}
	}
}

// Idempotent says that a call may be repeated without further effect, so that
// clients and brokers may retry it.
func Idempotent(e *Endpoint) { e.idempotent = true }

// Important says that calls are served before those of other endpoints when there is
// too much to do.
func Important(e *Endpoint) { e.setPriority(1) }

// Deferrable says that calls give way to those of other endpoints when there is too
// much to do.
func Deferrable(e *Endpoint) { e.setPriority(-1) }

func (e *Endpoint) setPriority(p int) {
	e.require(e.priority == 0, "has two priorities: want one of Important, Deferrable")
	e.priority = p
}

// CacheFor says that anybody may keep an answer for that long. Otherwise nobody
// may keep it at all.
func CacheFor(d time.Duration) EndpointOption {
	return func(e *Endpoint) {
		e.require(d > 0, "may be cached for a time that is not positive")
		e.cacheFor = d
	}
}

// Doc says what the endpoint does, for the schema documents.
func Doc(text string) EndpointOption { return func(e *Endpoint) { e.doc = text } }

// Errors names the domain errors that the method returns, for the schema
// documents.
func Errors(errs ...*Error) EndpointOption {
	return func(e *Endpoint) {
		e.require(!slices.Contains(errs, nil), "has an error that is nil")
		e.errors = append(e.errors, errs...)
	}
}

// Name returns the method's name, such as "ValidateToken".
func (e *Endpoint) Name() string { return e.name }

// FullName returns the service's name, a slash and the method's name, such as
// "auth.v1.Auth/ValidateToken"; the name alone outside of a service.
func (e *Endpoint) FullName() string {
	if e.service == "" {
		return e.name
	}
	return e.service + "/" + e.name
}

// Route returns HTTP method and path, "" and "" if the endpoint has none.
func (e *Endpoint) Route() (method, path string) { return e.method, e.path }

// Status returns the HTTP status of success.
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

// Public reports whether anybody may call.
func (e *Endpoint) Public() bool { return e.public }

// Permissions returns what a caller must hold.
func (e *Endpoint) Permissions() []string { return e.permissions }

// Deadline returns the bound of each call, 0 for the transport's default.
func (e *Endpoint) Deadline() time.Duration { return e.deadline }

// Priority is above 0 for an [Important] endpoint, below 0 for a [Deferrable] one.
func (e *Endpoint) Priority() int { return e.priority }

// Rate returns the bound of one client's calls, zero for the default.
func (e *Endpoint) Rate() Rate { return e.rate }

// Idempotent reports whether a call may be repeated without further effect.
func (e *Endpoint) Idempotent() bool { return e.idempotent }

// CacheFor returns how long anybody may keep an answer, 0 for not at all.
func (e *Endpoint) CacheFor() time.Duration { return e.cacheFor }

// Doc returns what the endpoint does, "" for nothing said.
func (e *Endpoint) Doc() string { return e.doc }

// Errors returns the domain errors that the method returns.
func (e *Endpoint) Errors() []*Error { return e.errors }

// RequestType returns the struct that a call's request points to, nil for a
// [RawEndpoint].
func (e *Endpoint) RequestType() reflect.Type { return e.request }

// ResponseType returns the struct that a call's response points to, nil for a
// [RawEndpoint].
func (e *Endpoint) ResponseType() reflect.Type { return e.response }

// Err returns all that is wrong with the endpoint by itself.
func (e *Endpoint) Err() error { return e.err }

var errNoResponse = errors.New("the method returned neither a response nor an error")

// serve is the innermost handler: decode, check, call, encode.
func serve[Req, Res any](ctx context.Context, call *Call, method func(context.Context, *Req) (*Res, error)) error {
	request := new(Req)
	if err := call.Codec.Decode(request); err != nil {
		return err
	}
	call.Request = request
	if err := call.Verify(request); err != nil {
		return err
	}
	if err := ctx.Err(); err != nil {
		return err // reading the body took all the time there was
	}
	response, err := method(ctx, request)
	if err != nil {
		return err
	}
	if response == nil {
		return errNoResponse
	}
	call.Response = response
	return call.Codec.Encode(response)
}

func (e *Endpoint) apply(options []EndpointOption) {
	for _, option := range options {
		if option == nil {
			e.require(false, "has an option that is nil")
			continue
		}
		option(e)
	}
}

func (e *Endpoint) require(ok bool, complaint string) {
	if !ok {
		e.err = errors.Join(e.err, fmt.Errorf("chassi: endpoint %s %s", e.name, complaint))
	}
}
