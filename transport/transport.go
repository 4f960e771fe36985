// Package transport contains what the transports below it have in common, such as the metadata of
// messages, the limits of connections and streams, and the description of work queues.
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

// Metadata keys for every call, where the transport has no equivalent of its own.
const (
	// RequestIDKey is the key of the id that correlates the log lines of one request.
	RequestIDKey = "X-Request-Id"
	// TenantKey is the key of the tenant of the caller who published an event or started a job,
	// percent-encoded as in a query (url.QueryEscape). Servers do not read it from callers.
	TenantKey = "X-Tenant"
	// TimeoutKey is the key of the client's remaining time, in milliseconds.
	TimeoutKey = "X-Request-Timeout-Ms"
)

// Pairs is a [chassi.Metadata] that keeps its pairs in the order in which they were set. It is used
// by clients, and by transports that encode the pairs. Keys are compared without regard to case.
// The zero value is empty.
type Pairs []Pair

// Pair is a key with its value. The key is spelled as when it was first set.
type Pair struct{ Key, Value string }

// Get returns the value of key, or "".
func (p *Pairs) Get(key string) string {
	for i := range *p {
		if strings.EqualFold((*p)[i].Key, key) {
			return (*p)[i].Value
		}
	}
	return ""
}

// Set sets the value of key, and replaces an earlier value.
func (p *Pairs) Set(key, value string) {
	for i := range *p {
		if strings.EqualFold((*p)[i].Key, key) {
			(*p)[i].Value = value
			return
		}
	}
	*p = append(*p, Pair{key, value})
}

// CallerTimeout returns the remaining time of the client of a request with metadata m, according
// to [TimeoutKey], and whether m has a valid one.
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

// CodeStatus returns 0 if err is nil, and otherwise the number of its code. It is the value of
// [chassi.Binding].Status for transports without statuses of their own.
func CodeStatus(_ *chassi.Call, err error) int {
	if err == nil {
		return 0
	}
	return int(chassi.ErrorOf(err).Code)
}

// RequestID returns given if it has 8 to 128 characters that are all safe in a header and a log
// line. Otherwise it returns a new id, 128 random bits in hexadecimal, in one allocation. The id is
// not secret, so the runtime's generator is sufficient: ChaCha8, seeded by the system at start.
// Package tracing generates trace ids.
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

// statusOf maps each code to its HTTP status. It is the only such table. 499 is nginx's status for
// a client that has disconnected; it appears only in logs.
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

// HTTPStatus returns the HTTP status for code, which is 500 if code is unknown.
func HTTPStatus(code chassi.Code) int {
	if status, ok := statusOf[code]; ok {
		return status
	}
	return http.StatusInternalServerError
}
