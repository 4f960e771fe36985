package httpapi

import (
	"context"
	"fmt"
	"net/http"
	"slices"

	"github.com/chassi-go/chassi"
)

// Wrap returns call middleware that applies the given HTTP middleware, the first one outermost. Use
// it for an endpoint with [chassi.With], for a service with [chassi.Service.Use], or for a server
// with [New]. It has no effect on other transports or on clients.
//
// The HTTP middleware surrounds the rest of the call: the middleware after it, decoding, the method
// and the response. It runs inside the middleware before it, so the requests that it handles are
// logged, measured and limited. The HTTP middleware gets the request with the context of the call,
// and the context that it passes on is the context of the method. If it responds itself, the status
// of its response is the result of the call. Otherwise, it must call the next handler, only once,
// before it returns and in the goroutine in which it was called. The writer that it passes on must
// unwrap to the writer that it received, so that [http.ResponseController] works. [Server.Use]
// applies HTTP middleware to all requests of a server, before everything else.
func Wrap(middleware ...func(http.Handler) http.Handler) chassi.Middleware {
	return func(b *chassi.Binding, next chassi.Handler) chassi.Handler {
		if b.Transport != "http" || b.Client {
			return next
		}
		var handler http.Handler = http.HandlerFunc(serveInside)
		for _, wrap := range slices.Backward(middleware) {
			handler = wrap(handler)
		}
		return func(ctx context.Context, call *chassi.Call) error {
			x, ok := call.Codec.(*exchange)
			if !ok || x.wrapped != unwrapped { // a response was sent
				return next(ctx, call)
			}
			in := &inside{x: x, next: next}
			w, r := x.w, x.r
			handler.ServeHTTP(&wrappedWriter{ResponseWriter: w, x: x}, r.WithContext(context.WithValue(ctx, insideKey{}, in)))
			x.w, x.r = w, r
			return in.result(ctx, call)
		}
	}
}

// inside is the part of one call that HTTP middleware surrounds.
type inside struct {
	x      *exchange
	next   chassi.Handler
	called bool
	err    error
}

type insideKey struct{}

// wrapped records what Wrap has done with the response to a call.
type wrapped uint8

const (
	unwrapped        wrapped = iota // there is no Wrap, or the response is not sent yet
	wrappedResponded                // the response is sent
	wrappedAborted                  // the response has ended too early
)

// serveInside is the innermost handler of Wrap. It runs the rest of the call and sends the
// response.
func serveInside(w http.ResponseWriter, r *http.Request) {
	in, ok := r.Context().Value(insideKey{}).(*inside)
	if !ok || in.called {
		http.Error(w, "httpapi: HTTP middleware has replaced the context of the request, or calls the next handler twice", http.StatusInternalServerError)
		return
	}
	x := in.x
	in.called, x.w, x.r = true, w, r
	in.err = in.next(r.Context(), &x.call)
	if x.wrapped != unwrapped { // by Wrap inside of this one
		return
	}
	x.wrapped = wrappedResponded
	defer func() {
		if v := recover(); v == http.ErrAbortHandler { //nolint:errorlint,err113 // net/http compares it so
			x.wrapped = wrappedAborted
		} else if v != nil {
			panic(v)
		}
	}()
	x.respond(in.err)
}

// result returns the result of the call, for the middleware outside Wrap. If HTTP middleware has
// responded itself, the result is the error given to WriteError, an error for a status of 400 or
// more, or otherwise nil.
func (in *inside) result(ctx context.Context, call *chassi.Call) error {
	x := in.x
	if in.called {
		return in.err
	}
	x.wrapped = wrappedResponded // by the middleware
	if x.failed != nil {
		return x.failed
	}
	if x.status >= http.StatusBadRequest {
		status := int(x.status)
		return &statusError{status, chassi.NewError(codeOf(status), "http_middleware", fmt.Sprintf("HTTP middleware has responded with status %d", status))}
	}
	return answered(ctx, call)
}

// answered marks call as answered, although it has no response message, and returns nil. Without
// this, the call would fail because a middleware returned no response.
func answered(ctx context.Context, call *chassi.Call) error {
	e := chassi.RawEndpoint("answered", func(context.Context, *chassi.Call) error { return nil }, chassi.Public)
	return (&chassi.Binding{Endpoint: e}).Handler()(ctx, call) //nolint:wrapcheck // nil
}

// wrappedWriter is the writer that HTTP middleware gets. It records the status that is sent.
type wrappedWriter struct {
	http.ResponseWriter

	x *exchange
}

// WriteHeader records the status, unless it is informational, and passes it on to the underlying
// writer. If the server is draining, the connection is closed after the response.
func (w *wrappedWriter) WriteHeader(status int) {
	if status >= http.StatusOK {
		w.x.status = int16(status)
		if w.x.server.draining.Load() {
			w.Header()["Connection"] = closeHeader
		}
	}
	w.ResponseWriter.WriteHeader(status)
}

// Write sends b. If no status was sent, Write first sends status 200.
func (w *wrappedWriter) Write(b []byte) (int, error) {
	if w.x.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	return w.ResponseWriter.Write(b) //nolint:wrapcheck // an implementation of it
}

// Unwrap returns the underlying writer, for [http.ResponseController].
func (w *wrappedWriter) Unwrap() http.ResponseWriter { return w.ResponseWriter }
