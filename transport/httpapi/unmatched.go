package httpapi

import (
	"context"
	"net/http"
	"slices"
	"strings"

	"github.com/chassi-go/chassi"
)

// knownMethods are the methods by which requests to unknown paths are counted. All other methods
// are counted as "other", so that clients cannot create new time series.
var knownMethods = []string{
	http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch,
	http.MethodDelete, http.MethodOptions, http.MethodTrace, http.MethodConnect,
}

// unmatched responds to requests that no pattern matches, whose path is ambiguous, or that a
// private listener refuses. The response is 404, 405 with the header Allow, the response to
// OPTIONS, or the error of the hostPolicy. These requests pass through the middleware like any
// call, with the single route name "unmatched".
type unmatched struct {
	server   *Server
	byMethod map[string]*route
	other    *route
}

func newUnmatched(s *Server) *unmatched {
	u := &unmatched{server: s, byMethod: make(map[string]*route)}
	for _, method := range knownMethods {
		u.byMethod[method] = u.route(method)
	}
	u.other = u.route("other")
	return u
}

func (u *unmatched) route(method string) *route {
	e := chassi.RawEndpoint("unmatched", u.respond, chassi.Public, chassi.Idempotent)
	rt := u.server.newRoute(e, method, "unmatched")
	rt.paths = ambiguousPath
	return rt
}

func (u *unmatched) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	rt := u.byMethod[r.Method]
	if rt == nil {
		rt = u.other
	}
	rt.ServeHTTP(w, r)
}

func (u *unmatched) respond(ctx context.Context, _ *chassi.Call) error {
	x := fromContext(ctx)
	if err := u.server.hosts.check(x.r); err != nil {
		return err
	}
	if x.path == ambiguousPath {
		return errNotFound
	}
	allow := u.server.allowed(x.r)
	switch {
	case len(allow) == 0:
		return errNotFound
	case x.r.Method == http.MethodOptions:
		x.Header().Set("Allow", strings.Join(allow, ", "))
		if u.server.setCORS(x, x.r); x.status == 0 {
			x.WriteHeader(http.StatusNoContent)
		}
		return nil
	default:
		x.Header().Set("Allow", strings.Join(allow, ", "))
		return errMethodNotAllowed
	}
}

// allowed returns the methods that the server supports for r's path, sorted and including OPTIONS.
// It returns nil if no pattern other than "/" matches the path.
func (s *Server) allowed(r *http.Request) []string {
	probe := &http.Request{URL: r.URL, Host: r.Host}
	var allow []string
	for _, method := range s.methods {
		probe.Method = method
		if _, pattern := s.mux.Handler(probe); pattern == "" || pattern == "/" {
			continue
		}
		allow = append(allow, method)
		if method == http.MethodGet && !slices.Contains(s.methods, http.MethodHead) {
			allow = append(allow, http.MethodHead)
		}
	}
	if allow == nil {
		return nil
	}
	if !slices.Contains(allow, http.MethodOptions) {
		allow = append(allow, http.MethodOptions)
	}
	slices.Sort(allow)
	return slices.Compact(allow)
}
