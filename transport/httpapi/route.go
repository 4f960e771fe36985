package httpapi

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/chassi-go/chassi"
)

// route is one endpoint as it is served here, with all that can be known before
// the first request.
type route struct {
	binding      chassi.Binding
	handler      chassi.Handler
	params       params
	hasBody      bool
	hasResponse  bool
	cacheControl []string
	inFlight     atomic.Int64
}

// ServeHTTP is called by the mux with the exchange as its writer.
func (rt *route) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x, ok := w.(*exchange)
	if !ok {
		http.Error(w, "httpapi: a route outside of its server", http.StatusInternalServerError)
		return
	}
	x.r = r // the mux has put the path's values in
	x.serve(rt)
}

// Mount serves the endpoints of service that have a route.
func (s *Server) Mount(service *chassi.Service) error {
	errs := []error{service.Err()}
	if errs[0] != nil {
		return errs[0]
	}
	for _, e := range service.Endpoints() {
		if method, _ := e.Route(); method != "" {
			errs = append(errs, s.mountEndpoint(e))
		}
	}
	return errors.Join(errs...)
}

func (s *Server) mountEndpoint(e *chassi.Endpoint) error {
	method, path := e.Route()
	rt := s.newRoute(e, method, path)
	var err error
	if rt.params, rt.hasBody, err = planParams(e.RequestType(), path); err != nil {
		return fmt.Errorf("httpapi: %s: %w", e.FullName(), err)
	}
	if rt.hasBody && !takesBody(method) {
		return fmt.Errorf("httpapi: %s: %s has no body: each field of %v needs a path, query or header tag", e.FullName(), method, e.RequestType())
	}
	rt.cacheControl = noStore
	if d := e.CacheFor(); d > 0 {
		rt.cacheControl = []string{"public, max-age=" + strconv.Itoa(int(d.Seconds()))}
	}
	rt.hasResponse = e.Status() != http.StatusNoContent
	if err := s.register(method+" "+path, rt); err != nil {
		return err
	}
	if !s.hosted && !strings.ContainsAny(path, "{}") && !strings.HasSuffix(path, "/") {
		s.plain[plainRoute{method, path}] = rt
	}
	return nil
}

// plainRoute is the route of an endpoint without wildcards. No pattern of the mux
// is closer to a request with that method and path, unless one names the host: so
// without such patterns the mux need not be asked.
type plainRoute struct{ method, path string }

func takesBody(method string) bool {
	return method == http.MethodPost || method == http.MethodPut || method == http.MethodPatch
}

// Handle serves handler at a ServeMux pattern, through the same middleware as
// the endpoints: logged, measured, traced, recovered, and closed to strangers
// unless options say otherwise ([chassi.Public]). The handler sees the request
// and a writer that net/http's http.ResponseController works with.
func (s *Server) Handle(pattern string, handler http.Handler, options ...chassi.EndpointOption) error {
	method, path, ok := strings.Cut(pattern, " ")
	if !ok {
		method, path = "", pattern
	}
	e := chassi.RawEndpoint(pattern, serveRaw(handler), options...)
	if err := e.Err(); err != nil {
		return err
	}
	if !strings.HasPrefix(path, "/") {
		s.hosted = true
		clear(s.plain)
	}
	return s.register(pattern, s.newRoute(e, method, path))
}

func (s *Server) newRoute(e *chassi.Endpoint, method, path string) *route {
	rt := &route{binding: chassi.Binding{Endpoint: e, Transport: "http", Method: method, Route: path, Status: status}}
	rt.handler = rt.binding.Handler(s.middleware...)
	s.routes = append(s.routes, rt)
	return rt
}

// register turns the mux's panic about a bad or taken pattern into an error.
func (s *Server) register(pattern string, rt *route) (err error) {
	defer func() {
		if v := recover(); v != nil {
			err = fmt.Errorf("httpapi: pattern %q: %v", pattern, v)
		}
	}()
	s.mux.Handle(pattern, rt)
	s.rooted = s.rooted || pattern == "/"
	if m := rt.binding.Method; m != "" && !slices.Contains(s.methods, m) {
		s.methods = append(s.methods, m)
	}
	return nil
}

// status tells the middleware what the client gets.
func status(call *chassi.Call, err error) int {
	if x, ok := call.Codec.(*exchange); ok && x.status != 0 {
		return x.status
	}
	if err != nil {
		return statusFor(err)
	}
	return call.Endpoint.Status()
}

func serveRaw(handler http.Handler) chassi.Handler {
	return func(ctx context.Context, _ *chassi.Call) (err error) {
		x := fromContext(ctx)
		defer func() {
			if v := recover(); v == http.ErrAbortHandler { //nolint:errorlint,err113 // net/http compares it so
				err = errAborted
			} else if v != nil {
				panic(v)
			}
		}()
		w := x.compressed()
		handler.ServeHTTP(w, x.r.WithContext(ctx))
		w.close()
		return nil
	}
}
