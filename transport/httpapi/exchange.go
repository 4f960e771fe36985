package httpapi

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/transport"
)

// exchange is one request and its response. It contains the call and the metadata of the response,
// and implements the call's codec and, for mounted handlers, the response writer, so that one
// allocation per request is enough for all of them.
type exchange struct {
	call   chassi.Call
	server *Server
	route  *route
	w      http.ResponseWriter
	r      *http.Request
	body   *[]byte // the encoded response, from the pool
	held   int64   // number of bytes of a large body that bodies has counted
	failed error   // the argument of WriteError

	status  int16    // the status that was sent, 0 if none was sent
	chosen  int16    // the status in a field of the response, 0 for the endpoint's status
	read    bool     // whether the request's body was read to its end
	path    pathKind // how ambiguous the path is
	form    connectForm
	wrapped wrapped

	stream   *stream       // nil unless the response is a stream
	transfer *transfer     // nil unless the route has files
	hijacked *hijackedConn // nil unless the handler has taken over the connection
	out      responseMetadata
}

var (
	_ chassi.Codec        = (*exchange)(nil)
	_ chassi.Metadata     = requestMetadata(nil)
	_ chassi.Metadata     = (*responseMetadata)(nil)
	_ http.ResponseWriter = (*exchange)(nil)
	_ http.Flusher        = (*exchange)(nil)
)

// serve runs the call through the middleware and the handler of route, and sends the response.
func (x *exchange) serve(route *route) {
	x.route = route
	x.call.Binding = &route.binding
	x.call.Codec = x
	route.calls.Acquire()
	defer func() {
		if x.hijacked == nil { // otherwise the connection counts until it is closed
			route.calls.Release()
		}
	}()
	if route.deadline > 0 {
		x.extendDeadlines(route.deadline)
	}
	if route.files {
		x.transfer = &transfer{ends: time.Now().Add(route.binding.Endpoint.Timeout())}
	}

	ctx := x.r.Context()
	if _, ok := x.r.Header[transport.TimeoutKey]; ok {
		var cancel context.CancelFunc
		ctx, cancel = x.callerTimeout(ctx)
		defer cancel()
	}
	if route.connect != nil {
		x.form = connectFormOf(x.r.Header)
		if _, ok := x.r.Header[connectTimeoutKey]; ok {
			var cancel context.CancelFunc
			ctx, cancel = x.connectTimeout(ctx)
			defer cancel()
		}
	}
	err := route.handler(x.call.Context(ctx), &x.call)
	switch x.wrapped {
	case unwrapped:
		x.respond(err)
	case wrappedAborted:
		panic(http.ErrAbortHandler)
	}
	if x.body != nil {
		putBuffer(x.body)
		x.body = nil
	}
}

// respond sends the response to the call, which returned err, unless the response was already sent.
func (x *exchange) respond(err error) {
	switch {
	case x.stream != nil:
		x.stream.finish(err)
	case x.hijacked != nil:
		if err != nil {
			_ = x.hijacked.Close() // no response can say so
		}
	case x.status != 0 && x.transfer != nil && err != nil: // a part of a file was sent
		panic(http.ErrAbortHandler)
	case x.status != 0, errors.Is(err, errAborted): // a mounted handler has sent the response
		abortIf(err)
	case err != nil:
		x.writeError(err)
	default:
		x.writeResponse()
	}
}

func (x *exchange) callerTimeout(ctx context.Context) (context.Context, context.CancelFunc) {
	if d, ok := transport.CallerTimeout(x.call.In); ok {
		return context.WithTimeout(ctx, d)
	}
	return ctx, func() {}
}

// writeResponse sends the encoded response.
func (x *exchange) writeResponse() {
	status, h := cmp.Or(int(x.chosen), x.route.status()), x.w.Header()
	if x.route.cacheControl != nil { // a mounted handler sets its own
		h["Cache-Control"] = x.route.cacheControl
	}
	if x.transfer != nil {
		x.leaveUnread()
	}
	if x.body == nil || status == http.StatusNoContent {
		x.send(status, nil)
		return
	}
	if h["Content-Type"] = jsonType; x.form == protoForm {
		h["Content-Type"] = protoType
	}
	x.send(status, *x.body)
}

// send sends a response with the given status and body. It compresses a body of at least
// [Config].CompressMinBytes if the client accepts that and the body becomes shorter.
func (x *exchange) send(status int, body []byte) {
	if len(body) >= x.server.config.CompressMinBytes {
		body = x.compress(body)
	}
	h := x.w.Header()
	if _, ok := h["Date"]; !ok {
		h["Date"] = dateHeader(time.Now())
	}
	x.WriteHeader(status)
	if len(body) > 0 {
		_, _ = x.w.Write(body) // the client has disconnected: nothing to report
	}
}

// leaveBody handles a request body that has not been read completely before the response is sent,
// and reports whether a part of the body is left. It discards a short body of known length that
// arrives within drainTime, so that the connection can be reused. Otherwise, the connection is
// closed after the response. Net/http would wait for up to 256 KiB of the body until the read
// deadline. Over HTTP/2, leaveBody does nothing and returns false, because net/http ends only the
// stream.
func (x *exchange) leaveBody() (left bool) {
	if x.read || x.r.Body == nil || x.r.Body == http.NoBody || x.r.ProtoMajor > 1 {
		return false
	}
	_ = http.NewResponseController(x.w).SetReadDeadline(time.Now().Add(drainTime))
	// A client that waits for "100 Continue" sends its body only if the server reads.
	if n := x.r.ContentLength; n >= 0 && n <= drainBytes && x.r.Header["Expect"] == nil {
		if _, err := io.CopyN(io.Discard, x.r.Body, n); err == nil || errors.Is(err, io.EOF) {
			return false
		}
	}
	x.w.Header()["Connection"] = closeHeader
	return true
}

// leaveUnread calls leaveBody before the response of an exchange with a file. The call continues
// during the response, so if no part of the body is left, leaveUnread sets the read deadline of an
// HTTP/1.1 connection to the end of the call.
func (x *exchange) leaveUnread() {
	if !x.leaveBody() && x.r.ProtoMajor == 1 { // net/http now reads to notice that the client disconnects
		_ = http.NewResponseController(x.w).SetReadDeadline(x.transfer.ends)
	}
}

const (
	drainBytes = 64 << 10
	drainTime  = 20 * time.Millisecond
)

// abortIf panics with [http.ErrAbortHandler], so that net/http aborts the response, if err means
// that a mounted handler panicked or aborted its response. Without the abort, the client would take
// a partial response for a complete one.
func abortIf(err error) {
	if err != nil && (isPanic(err) || errors.Is(err, errAborted)) {
		panic(http.ErrAbortHandler)
	}
}

// Header implements [http.ResponseWriter]. Mounted handlers use the exchange as their writer;
// [http.ResponseController] reaches the other methods of net/http's writer through Unwrap.
func (x *exchange) Header() http.Header { return x.w.Header() }

// WriteHeader sends the status to the client, and records the first one that is not informational.
// If the server is draining, the connection is closed after the response.
func (x *exchange) WriteHeader(status int) {
	if x.status == 0 && status >= 200 {
		x.status = int16(status)
		if x.server.draining.Load() {
			x.w.Header()["Connection"] = closeHeader
		}
	}
	x.w.WriteHeader(status)
}

// Write sends b. If no status was sent, Write first sends status 200.
func (x *exchange) Write(b []byte) (int, error) {
	if x.status == 0 {
		x.WriteHeader(http.StatusOK)
	}
	return x.w.Write(b)
}

// Flush sends the bytes written so far. If no status was sent, Flush first sends status 200.
func (x *exchange) Flush() {
	if x.status == 0 {
		x.WriteHeader(http.StatusOK)
	}
	_ = http.NewResponseController(x.w).Flush()
}

// Unwrap returns net/http's writer, for http.ResponseController.
func (x *exchange) Unwrap() http.ResponseWriter { return x.w }

// requestMetadata implements [chassi.Metadata] with the headers of a request.
type requestMetadata http.Header

func (m requestMetadata) Values(key string) []string { return http.Header(m).Values(key) }
func (m requestMetadata) Set(key, value string)      { http.Header(m).Set(key, value) }

// Get returns the first value of key, or "" if there is none. It returns the same value as
// [http.Header.Get], but is faster for a key in canonical form.
func (m requestMetadata) Get(key string) string {
	if _, canonical := checkHeaderKey(key); !canonical {
		key = http.CanonicalHeaderKey(key)
	}
	if values := m[key]; len(values) > 0 {
		return values[0]
	}
	return ""
}

// responseMetadata implements [chassi.Metadata] with the headers of a response. Its slots hold the
// few values of a usual response without an allocation.
type responseMetadata struct {
	header  http.Header
	slots   [3]string
	used    uint8
	size    int32 // total number of bytes of the pairs that were set
	invalid error // why the metadata cannot be sent, or nil
}

func (m *responseMetadata) Get(key string) string { return m.header.Get(key) }

// Set sets the value of key; a value of Vary is added to the values that are already set. If one of
// the transports could not carry the pair, or if all pairs together would exceed the maximum size
// of metadata, Set records an error, which Encode or Begin returns. Set drops a pair that would
// exceed the maximum size or break the header syntax.
func (m *responseMetadata) Set(key, value string) {
	err := transport.CheckPair(key, value)
	if err != nil {
		m.invalid = cmp.Or(m.invalid, err)
	}
	if size := int(m.size) + len(key) + len(value); size > transport.MaxMetadataBytes {
		m.invalid = fmt.Errorf("the metadata has %d bytes, more than the limit of %d", size, transport.MaxMetadataBytes)
		return // otherwise the client might not receive the error
	}
	m.size += int32(len(key) + len(value))
	ok, canonical := checkHeaderKey(key)
	if err != nil && (!ok || !isHeaderValue(value)) { // else CheckPair has found that they are
		return
	}
	if !canonical {
		key = http.CanonicalHeaderKey(key)
	}
	if key == "Vary" {
		addVary(m.header, []string{value}) // to that of CORS
		return
	}
	m.put(key, value)
}

// put sets the value of key. The pair must be valid, and key must be in canonical form.
func (m *responseMetadata) put(key, value string) {
	if int(m.used) == len(m.slots) {
		m.replace(key, value)
		return
	}
	m.slots[m.used] = value
	m.header[key] = m.slots[m.used : m.used+1 : m.used+1]
	m.used++
}

// replace sets the value of key when no slot is free. It reuses the slot of the previous value of
// key, if that value has a slot.
func (m *responseMetadata) replace(key, value string) {
	if last := m.header[key]; len(last) == 1 {
		for i := range m.slots {
			if &last[0] == &m.slots[i] {
				m.slots[i] = value
				return
			}
		}
	}
	m.header[key] = []string{value}
}

// checkHeaderKey reports whether key can be the name of a header, and whether it is in the
// canonical form of [http.CanonicalHeaderKey].
func checkHeaderKey(key string) (ok, canonical bool) {
	expected := upperLetter
	canonical = true
	for i := range len(key) {
		switch kind := keyCharacters[key[i]]; kind {
		case noKeyCharacter:
			return false, false
		case lowerLetter, upperLetter:
			canonical = canonical && kind == expected
			expected = lowerLetter
		case hyphen:
			expected = upperLetter
		default:
			expected = lowerLetter
		}
	}
	return key != "", canonical
}

// keyCharacter is the kind of a character in the name of a header.
type keyCharacter uint8

const (
	noKeyCharacter keyCharacter = iota
	lowerLetter
	upperLetter
	hyphen
	otherKeyCharacter
)

var keyCharacters = func() (kinds [256]keyCharacter) {
	for c := '!'; c < 0x7f; c++ {
		switch {
		case c >= 'a' && c <= 'z':
			kinds[c] = lowerLetter
		case c >= 'A' && c <= 'Z':
			kinds[c] = upperLetter
		case c == '-':
			kinds[c] = hyphen
		case c != ':':
			kinds[c] = otherKeyCharacter
		}
	}
	return kinds
}()

func isHeaderValue(value string) bool {
	for i := range len(value) {
		if c := value[i]; c < ' ' && c != '\t' || c == 0x7f {
			return false
		}
	}
	return true
}

// fromContext returns the exchange to which ctx belongs, or nil if ctx belongs to no exchange.
func fromContext(ctx context.Context) *exchange {
	if call := chassi.CallFrom(ctx); call != nil {
		x, _ := call.Codec.(*exchange)
		return x
	}
	return nil
}
