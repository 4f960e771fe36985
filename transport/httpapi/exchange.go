package httpapi

import (
	"context"
	"errors"
	"io"
	"net/http"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/transport"
)

// exchange is one request and its answer. It is the call's codec and metadata
// and, for mounted handlers, the response writer, so that a request costs one
// allocation for all of them.
type exchange struct {
	call      chassi.Call
	server    *Server
	route     *route
	w         http.ResponseWriter
	r         *http.Request
	status    int     // what was sent, 0 for nothing yet
	body      *[]byte // the encoded response, from the pool
	held      int64   // bytes of a large body that are counted
	read      bool    // whether the request's body was read to its end
	cleanPath bool    // whether the path has one spelling
	out       responseMetadata
}

var (
	_ chassi.Codec        = (*exchange)(nil)
	_ chassi.Metadata     = requestMetadata(nil)
	_ chassi.Metadata     = (*responseMetadata)(nil)
	_ http.ResponseWriter = (*exchange)(nil)
	_ http.Flusher        = (*exchange)(nil)
)

// serve runs the exchange through the route's middleware and answers it.
func (x *exchange) serve(route *route) {
	x.route = route
	x.call.Binding = &route.binding
	x.call.Codec = x
	route.inFlight.Add(1)
	defer route.inFlight.Add(-1)

	ctx := x.r.Context()
	if _, ok := x.r.Header[transport.TimeoutKey]; ok {
		var cancel context.CancelFunc
		ctx, cancel = x.callerTimeout(ctx)
		defer cancel()
	}
	err := route.handler(x.call.Context(ctx), &x.call)
	switch {
	case x.status != 0, errors.Is(err, errAborted): // a mounted handler has answered
		abortIf(err)
	case err != nil:
		x.writeError(err)
	default:
		x.writeResponse()
	}
	if x.body != nil {
		putBuffer(x.body)
		x.body = nil
	}
}

func (x *exchange) callerTimeout(ctx context.Context) (context.Context, context.CancelFunc) {
	if d, ok := transport.CallerTimeout(x.call.In); ok {
		return context.WithTimeout(ctx, d)
	}
	return ctx, func() {}
}

// writeResponse sends what Encode left.
func (x *exchange) writeResponse() {
	status := x.route.binding.Endpoint.Status()
	if x.body == nil {
		x.send(status, nil)
		return
	}
	h := x.w.Header()
	h["Content-Type"] = jsonType
	h["Cache-Control"] = x.route.cacheControl
	x.send(status, *x.body)
}

// send writes status and body, compressed if that pays.
func (x *exchange) send(status int, body []byte) {
	if len(body) >= x.server.config.CompressMinBytes {
		body = x.compress(body)
	}
	x.WriteHeader(status)
	if len(body) > 0 {
		_, _ = x.w.Write(body) // the client has gone: nothing to tell and nobody to tell it to
	}
}

// leaveBody deals with a body that nobody has read, when the error goes out. A
// short one that has arrived is thrown away, so that the connection can be kept;
// the rest of a long, endless or stalled one is not waited for: the connection
// is closed after the answer. Over HTTP/2 net/http ends the stream alone, which
// leaves the connection to its other calls.
func (x *exchange) leaveBody() {
	if x.read || x.r.Body == nil || x.r.Body == http.NoBody || x.r.ProtoMajor > 1 {
		return
	}
	if n := x.r.ContentLength; n >= 0 && n <= drainBytes {
		_ = http.NewResponseController(x.w).SetReadDeadline(time.Now().Add(drainTime))
		if _, err := io.CopyN(io.Discard, x.r.Body, n); err == nil || errors.Is(err, io.EOF) {
			return
		}
	}
	x.w.Header()["Connection"] = closeHeader
}

const (
	drainBytes = 64 << 10
	drainTime  = 20 * time.Millisecond
)

// abortIf cuts the connection if a mounted handler failed after it began to
// answer: a whole-looking half answer would be worse.
func abortIf(err error) {
	if err != nil && (isPanic(err) || errors.Is(err, errAborted)) {
		panic(http.ErrAbortHandler)
	}
}

// Header, Write, WriteHeader, Flush and Unwrap make the exchange the
// http.ResponseWriter of mounted handlers; http.ResponseController reaches the
// rest through Unwrap.
func (x *exchange) Header() http.Header { return x.w.Header() }

// WriteHeader records the status and passes it on.
func (x *exchange) WriteHeader(status int) {
	if x.status == 0 && status >= 200 {
		x.status = status
		if x.server.draining.Load() {
			x.w.Header()["Connection"] = closeHeader
		}
	}
	x.w.WriteHeader(status)
}

// Write answers 200 if nothing else was said.
func (x *exchange) Write(b []byte) (int, error) {
	if x.status == 0 {
		x.WriteHeader(http.StatusOK)
	}
	return x.w.Write(b)
}

// Flush sends what was written so far.
func (x *exchange) Flush() {
	if x.status == 0 {
		x.WriteHeader(http.StatusOK)
	}
	_ = http.NewResponseController(x.w).Flush()
}

// Unwrap returns net/http's writer, for http.ResponseController.
func (x *exchange) Unwrap() http.ResponseWriter { return x.w }

// requestMetadata are the request's headers.
type requestMetadata http.Header

func (m requestMetadata) Get(key string) string { return http.Header(m).Get(key) }
func (m requestMetadata) Set(key, value string) { http.Header(m).Set(key, value) }

// responseMetadata are the answer's headers, with room for the few values that
// most answers have.
type responseMetadata struct {
	header http.Header
	room   [4]string
	used   int
}

func (m *responseMetadata) Get(key string) string { return m.header.Get(key) }

// Set drops what would break out of a header line.
func (m *responseMetadata) Set(key, value string) {
	ok, canonical := checkHeaderKey(key)
	if !ok || !isHeaderValue(value) {
		return
	}
	if !canonical {
		key = http.CanonicalHeaderKey(key)
	}
	m.put(key, value)
}

// put sets what is known to be good; key is in canonical form.
func (m *responseMetadata) put(key, value string) {
	if m.used == len(m.room) {
		m.header[key] = []string{value}
		return
	}
	m.room[m.used] = value
	m.header[key] = m.room[m.used : m.used+1 : m.used+1]
	m.used++
}

// checkHeaderKey reports whether key can be the name of a header, and whether it is spelled as
// [http.CanonicalHeaderKey] does.
func checkHeaderKey(key string) (ok, canonical bool) {
	upper := true // the next letter is to be
	canonical = true
	for i := range len(key) {
		switch c := key[i]; {
		case c <= ' ' || c >= 0x7f || c == ':':
			return false, false
		case c >= 'a' && c <= 'z':
			canonical = canonical && !upper
			upper = false
		case c >= 'A' && c <= 'Z':
			canonical = canonical && upper
			upper = false
		default:
			upper = c == '-'
		}
	}
	return key != "", canonical
}

func isHeaderValue(value string) bool {
	for i := range len(value) {
		if c := value[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

// fromContext returns the exchange that ctx belongs to.
func fromContext(ctx context.Context) *exchange {
	if call := chassi.CallFrom(ctx); call != nil {
		x, _ := call.Codec.(*exchange)
		return x
	}
	return nil
}
