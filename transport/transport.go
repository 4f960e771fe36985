// Package transport contains what the transports in its subdirectories have in common, such as the
// metadata of messages, the limits for connections and streams, and the description of work queues.
package transport

import (
	"context"
	"encoding/binary"
	"encoding/hex"
	"math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/chassi-go/chassi"
)

// Metadata keys that are used with every transport, unless the transport has its own equivalent.
const (
	// RequestIDKey is the key of the ID that correlates the log lines of one request.
	RequestIDKey = "X-Request-Id"
	// TenantKey is the key of the tenant of the caller who published an event or started a job,
	// percent-encoded as in a query (url.QueryEscape). Servers ignore it in the requests of
	// clients.
	TenantKey = "X-Tenant"
	// TimeoutKey is the key of the time that remains until the client's deadline, in milliseconds.
	TimeoutKey = "X-Request-Timeout-Ms"
)

// Pairs is a [chassi.Metadata] that keeps its pairs in the order in which their keys were first
// set. It is used by clients, and by transports that encode the pairs. Keys are compared without
// regard to case. The zero value is empty.
type Pairs []Pair

// Pair is a key with its value. The key has the spelling with which it was first set.
type Pair struct{ Key, Value string }

// Get returns the value of key, or "" if key is not set.
func (p *Pairs) Get(key string) string {
	for i := range *p {
		if strings.EqualFold((*p)[i].Key, key) {
			return (*p)[i].Value
		}
	}
	return ""
}

// Set sets the value of key, replacing an earlier value.
func (p *Pairs) Set(key, value string) {
	for i := range *p {
		if strings.EqualFold((*p)[i].Key, key) {
			(*p)[i].Value = value
			return
		}
	}
	*p = append(*p, Pair{key, value})
}

// CallerTimeout returns the time that remains until the client's deadline, according to
// [TimeoutKey] in the metadata m of a request, and whether m has a valid value for that key.
func CallerTimeout(m chassi.Metadata) (time.Duration, bool) {
	ms, err := strconv.ParseUint(m.Get(TimeoutKey), 10, 32)
	return time.Duration(ms) * time.Millisecond, err == nil
}

// SetTimeout sets [TimeoutKey] in m to the time that remains until the deadline of ctx, if ctx has
// a deadline.
func SetTimeout(ctx context.Context, m chassi.Metadata) {
	if deadline, ok := ctx.Deadline(); ok {
		m.Set(TimeoutKey, strconv.FormatInt(max(time.Until(deadline).Milliseconds(), 0), 10))
	}
}

// CodeStatus returns 0 if err is nil, and otherwise the number of the code of err. Transports
// without statuses of their own use CodeStatus as the Status function of a [chassi.Binding].
func CodeStatus(_ *chassi.Call, err error) int {
	if err == nil {
		return 0
	}
	return int(chassi.ErrorOf(err).Code)
}

// RequestID returns given if it consists of 8 to 128 characters that are all safe in a header and
// in a log line. Otherwise, it returns a new ID, which is 128 random bits in hexadecimal and takes
// one allocation. The ID is not secret, so the generator of the runtime, which is ChaCha8 seeded by
// the system at startup, is sufficient. Package tracing generates trace IDs.
func RequestID(given string) string {
	if isRequestID(given) {
		return given
	}
	var raw [16]byte
	binary.LittleEndian.PutUint64(raw[:8], rand.Uint64())
	binary.LittleEndian.PutUint64(raw[8:], rand.Uint64())
	var text [32]byte
	hex.Encode(text[:], raw[:])
	return string(text[:])
}

func isRequestID(id string) bool {
	if len(id) < 8 || len(id) > 128 {
		return false
	}
	for i := range len(id) {
		switch c := id[i]; {
		case c >= 'a' && c <= 'z', c >= 'A' && c <= 'Z', c >= '0' && c <= '9':
		case c == '-', c == '_', c == '.', c == '~', c == ':', c == '+', c == '/', c == '=', c == '@':
		default:
			return false
		}
	}
	return true
}

// statusOf maps each code to its HTTP status. It is the only table of this kind. Status 499 is
// nginx's status for a client that has disconnected; it appears only in logs.
var statusOf = map[chassi.Code]int{
	chassi.Canceled:           499,
	chassi.Unknown:            http.StatusInternalServerError,
	chassi.InvalidArgument:    http.StatusBadRequest,
	chassi.DeadlineExceeded:   http.StatusGatewayTimeout,
	chassi.NotFound:           http.StatusNotFound,
	chassi.AlreadyExists:      http.StatusConflict,
	chassi.PermissionDenied:   http.StatusForbidden,
	chassi.ResourceExhausted:  http.StatusTooManyRequests,
	chassi.FailedPrecondition: http.StatusBadRequest, // 412 is for conditional requests
	chassi.Aborted:            http.StatusConflict,
	chassi.OutOfRange:         http.StatusBadRequest,
	chassi.Unimplemented:      http.StatusNotImplemented,
	chassi.Internal:           http.StatusInternalServerError,
	chassi.Unavailable:        http.StatusServiceUnavailable,
	chassi.DataLoss:           http.StatusInternalServerError,
	chassi.Unauthenticated:    http.StatusUnauthorized,
}

// HTTPStatus returns the HTTP status for code, or 500 if code is not a defined code.
func HTTPStatus(code chassi.Code) int {
	if status, ok := statusOf[code]; ok {
		return status
	}
	return http.StatusInternalServerError
}
