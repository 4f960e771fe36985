package httpapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/transport"
)

// route is an endpoint that a server serves, with everything that can be determined before the
// first request.
type route struct {
	binding      chassi.Binding
	handler      chassi.Handler
	params       params
	hasBody      bool
	hasResponse  bool
	connect      ConnectMethod // nil unless the route is for the Connect protocol
	response     *responsePlan // nil if the whole response is JSON
	files        bool          // whether the request or the response has a file
	cacheControl []string
	paths        pathKind      // the most ambiguous kind of path that is served
	rest         int           // number of slashes before the multi-segment part of the path, or 0
	maxBody      int64         // maximum size of a request's body in bytes
	deadline     time.Duration // timeout of a call if above the read or write timeout, otherwise 0
	calls        *transport.RouteInFlight
	idField      []int // index of the field with the ID of an item, nil without such a field
}

// ServeHTTP implements [http.Handler]. The mux calls it with the exchange as the writer.
func (rt *route) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x, ok := w.(*exchange)
	if !ok {
		http.Error(w, "httpapi: a route outside of its server", http.StatusInternalServerError)
		return
	}
	x.r = r // contains the wildcards of the path
	if x.path > rt.paths || x.path == slashedPath && rt.rest > 0 && slashIn(r.URL.EscapedPath(), rt.rest) {
		x.path = ambiguousPath
		x.server.unmatched.ServeHTTP(x, r)
		return
	}
	x.serve(rt)
}

// slashIn reports whether path contains an escaped slash after its first n slashes. In that part of
// the path, an escaped slash would end a segment as a literal slash does.
func slashIn(path string, n int) bool {
	for ; n > 0; n-- {
		_, path, _ = strings.Cut(path, "/")
	}
	return strings.Contains(strings.ToUpper(path), "%2F")
}

// Mount adds the endpoints of service that have a route, at that route. With [Config].Connect, it
// also adds endpoints at their paths in the Connect protocol. It skips endpoints that
// [chassi.Transports] limits to other transports. Mount returns an error if service has an error or
// is already mounted, or if an endpoint cannot be served, for example because routes conflict.
func (s *Server) Mount(service *chassi.Service) error {
	if err := s.mounted.Add(service); err != nil {
		return fmt.Errorf("httpapi: %w", err)
	}
	var errs []error
	for _, e := range service.Endpoints() {
		if method, _ := e.Route(); method != "" && e.ServedOver("http") {
			errs = append(errs, s.mountEndpoint(e))
		}
	}
	if s.config.Connect {
		errs = append(errs, s.mountConnect(service))
	}
	return errors.Join(errs...)
}

func (s *Server) mountEndpoint(e *chassi.Endpoint) error {
	method, path := e.Route()
	if err := checkPath(path); err != nil {
		return fmt.Errorf("httpapi: %s: %w", e.FullName(), err)
	}
	rt := s.newRoute(e, method, path)
	if err := rt.refusal(); err != nil {
		return err
	}
	if e.RequestType() == nil { // of NewEndpoint
		return s.register(method+" "+path, rt)
	}
	var err error
	if rt.params, rt.hasBody, err = planParams(e.RequestType(), path); err != nil {
		return fmt.Errorf("httpapi: %s: %w", e.FullName(), err)
	}
	if rt.response, err = planResponse(e); err != nil {
		return fmt.Errorf("httpapi: %s: the response %v: %w", e.FullName(), e.ResponseType(), err)
	}
	if e.Streams() {
		if err := rt.planItems(); err != nil {
			return err
		}
	}
	rt.params.lax = e.IgnoresUnknownQuery()
	rt.files = rt.params.file != nil || rt.response != nil && rt.response.file != nil
	if (rt.hasBody || rt.params.file != nil) && !takesBody(method) {
		return fmt.Errorf("httpapi: %s: %s has no body: each field of %v needs a path, query or header tag, and a file needs POST, PUT or PATCH", e.FullName(), method, e.RequestType())
	}
	switch {
	case rt.params.file != nil:
		s.bodies.allow(maxForm)
	case rt.hasBody:
		s.bodies.allow(rt.maxBody)
	}
	rt.cacheControl = cacheControl(e)
	rt.paths = slashedPath
	if fixed, _, _ := strings.Cut(path, "...}"); fixed != path || strings.HasSuffix(path, "/") {
		rt.rest = strings.Count(fixed, "/")
	}
	rt.hasResponse = hasJSON(e, rt.response)
	if err := s.register(method+" "+path, rt); err != nil {
		return err
	}
	if !s.hosted && !strings.ContainsAny(path, "{}%") && !strings.HasSuffix(path, "/") && kindOf(path) == cleanPath {
		s.plain[plainRoute{method, path}] = rt
	}
	return nil
}

// hasJSON reports whether a response of e, with the plan a, has a JSON body.
func hasJSON(e *chassi.Endpoint, a *responsePlan) bool {
	return e.Status() != http.StatusNoContent && (a == nil || a.hasBody)
}

// cacheControl returns the value of the header Cache-Control for responses of e. Only responses of
// public endpoints may be stored in shared caches, which must not store a response for a single
// client (RFC 9111, section 3.5).
func cacheControl(e *chassi.Endpoint) []string {
	d := e.CacheFor()
	switch {
	case d <= 0:
		return noStore
	case e.Public():
		return []string{"public, max-age=" + strconv.Itoa(int(d.Seconds()))}
	default:
		return []string{"private, max-age=" + strconv.Itoa(int(d.Seconds()))}
	}
}

// plainRoute is the method and path of a route without wildcards. Only a pattern with a host can be
// more specific than such a route. If no pattern has a host, the server finds the route without the
// mux.
type plainRoute struct{ method, path string }

func takesBody(method string) bool {
	return method == http.MethodPost || method == http.MethodPut || method == http.MethodPatch
}

// Handle serves handler at a pattern of [http.ServeMux], through the same middleware as the
// endpoints. With that of package standard, calls are logged, measured and traced, panics are
// recovered, and, unless the options include [chassi.Public], only authenticated clients are
// served. With a pattern for GET or HEAD, the calls are [chassi.Idempotent]. The handler gets the
// request and a writer that supports [http.ResponseController]; it calls [WriteError] to respond
// with an error as endpoints do. Handle returns an error if handler is nil, an option is invalid, a
// middleware cannot serve the handler, or pattern is malformed, has an ambiguous path or conflicts
// with another pattern.
//
// The limits of endpoints apply as well. A request whose body is longer than [Config].MaxBodyBytes,
// or than [chassi.MaxBody] if the options include it, gets 413 at once if the length is declared;
// otherwise reading the body fails with an [http.MaxBytesError]. The request's context expires
// after the timeout of calls (middleware.Timeout, the setting "timeout", 10 s by default), or after
// [chassi.Timeout] if the options include it. A chassi.Timeout that exceeds [Config].ReadTimeout or
// WriteTimeout extends these timeouts; an event stream needs a chassi.Timeout of hours.
//
// A handler that takes over its connection ([http.ResponseController].Hijack) must close the
// connection, at the latest when reads fail, which they do after [Server.Drain]; [NewEndpoint] has
// the details. If a connection is never closed, [Server.Stop] waits until the context of Stop is
// done, and returns an error.
func (s *Server) Handle(pattern string, handler http.Handler, options ...chassi.EndpointOption) error {
	method, path, ok := strings.Cut(pattern, " ")
	if !ok {
		method, path = "", pattern
	}
	if handler == nil {
		return fmt.Errorf("httpapi: %s has no handler", pattern)
	}
	if at := strings.IndexByte(path, '/'); at >= 0 { // after a host
		if err := checkPath(path[at:]); err != nil {
			return fmt.Errorf("httpapi: %w", err)
		}
	}
	if method == http.MethodGet || method == http.MethodHead {
		options = append([]chassi.EndpointOption{chassi.Idempotent}, options...) // RFC 9110, section 9.2.2
	}
	e := chassi.RawEndpoint(pattern, serveRaw(handler), options...)
	if err := e.Err(); err != nil {
		return err
	}
	if !strings.HasPrefix(path, "/") {
		s.hosted = true
		clear(s.plain)
	}
	rt := s.newRoute(e, method, path)
	if err := rt.refusal(); err != nil {
		return err
	}
	return s.register(pattern, rt)
}

func (s *Server) newRoute(e *chassi.Endpoint, method, path string) *route {
	rt := &route{binding: chassi.Binding{Endpoint: e, Transport: "http", Server: s.config.Name, Method: method, Route: path, Status: status}}
	rt.calls = s.calls.Route(method + " " + path)
	rt.handler = rt.binding.Handler(s.middleware...)
	if rt.maxBody = s.config.MaxBodyBytes; e.MaxBody() > 0 {
		rt.maxBody = e.MaxBody()
	}
	if d := e.Timeout(); d > min(s.config.ReadTimeout, s.config.WriteTimeout) {
		rt.deadline = d
	}
	return rt
}

// refusal returns an error if a middleware cannot serve the route.
func (rt *route) refusal() error {
	if err := rt.binding.Err(); err != nil {
		return fmt.Errorf("httpapi: %s: %w", rt.binding.Endpoint.FullName(), err)
	}
	return nil
}

// extendDeadlines extends the read and write deadlines of the connection that are too early for a
// call with the timeout d. Net/http resets them for the next request.
func (x *exchange) extendDeadlines(d time.Duration) {
	control, now := http.NewResponseController(x.w), time.Now()
	if c := x.server.config; d > c.ReadTimeout {
		_ = control.SetReadDeadline(now.Add(d)) // not supported by the writers of tests
	}
	if c := x.server.config; d > c.WriteTimeout {
		_ = control.SetWriteDeadline(now.Add(d + c.WriteTimeout))
	}
}

// checkPath returns an error if the path of a route has an invalid escape or is ambiguous, because
// no request would reach the route.
func checkPath(path string) error {
	if _, err := url.PathUnescape(path); err != nil {
		return fmt.Errorf("the route's path %q has an invalid escape: write %%25 for a percent sign", path)
	}
	if kindOf(path) == ambiguousPath {
		return fmt.Errorf("the route's path %q is never served, because it can be read in several ways: leave out empty segments, the segments . and .., the characters ; and \\ and NUL, and the escapes %%2E and %%00", path)
	}
	return nil
}

// register adds rt to the mux at pattern. It converts the mux's panic about an invalid or
// conflicting pattern into an error.
func (s *Server) register(pattern string, rt *route) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = s.conflict(pattern, rt, v)
		}
	}()
	s.mux.Handle(pattern, rt)
	s.patterns[pattern] = rt
	s.rooted = s.rooted || pattern == "/"
	if m := rt.binding.Method; m != "" && !slices.Contains(s.methods, m) {
		s.methods = append(s.methods, m)
	}
	return nil
}

// conflict returns the error for a pattern that the mux refused by panicking with the value reason,
// because the pattern is malformed or conflicts with another pattern.
func (s *Server) conflict(pattern string, rt *route, reason any) error {
	text := fmt.Sprint(reason)
	for other, there := range s.patterns {
		if strings.Contains(text, strconv.Quote(other)) {
			return fmt.Errorf("httpapi: the route %q of %s conflicts with %q of %s; neither is more specific: change one of them",
				pattern, rt.binding.Endpoint.FullName(), other, there.binding.Endpoint.FullName())
		}
	}
	return fmt.Errorf("httpapi: the route %q of %s: %s", pattern, rt.binding.Endpoint.FullName(), text)
}

// status returns the HTTP status of the response to call, which returned err. It is the function
// Status of the bindings of a server.
func status(call *chassi.Call, err error) int {
	x, ok := call.Codec.(*exchange)
	switch {
	case ok && x.status != 0:
		return int(x.status)
	case err != nil && ok && x.form != unknownForm:
		return transport.HTTPStatus(chassi.ErrorOf(err).Code)
	case err != nil:
		return statusFor(err)
	case ok && x.chosen != 0:
		return int(x.chosen)
	case ok:
		return x.route.status()
	default:
		return call.Endpoint.Status()
	}
}

// status returns the HTTP status of a successful call whose response does not choose one.
func (rt *route) status() int {
	if rt.connect != nil {
		return http.StatusOK
	}
	return rt.binding.Endpoint.Status()
}

func serveRaw(handler http.Handler) chassi.Handler {
	return func(ctx context.Context, _ *chassi.Call) (err error) {
		x := fromContext(ctx)
		if x.r.ContentLength > x.route.maxBody {
			return tooLarge(x.route.maxBody)
		}
		r := x.r.WithContext(ctx)
		if r.Body != nil && r.Body != http.NoBody {
			r.Body = http.MaxBytesReader(x.w, r.Body, x.route.maxBody)
		}
		defer func() {
			if v := recover(); v == http.ErrAbortHandler { //nolint:errorlint,err113 // net/http compares it so
				err = errAborted
			} else if v != nil {
				panic(v)
			}
		}()
		w := x.compressed()
		handler.ServeHTTP(w, r)
		w.close()
		return x.failed
	}
}
