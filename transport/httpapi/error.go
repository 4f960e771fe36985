package httpapi

import (
	"cmp"
	"errors"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/internal/strictjson"
	"github.com/chassi-go/chassi/transport"
)

// Errors of the transport. Those of type statusError have an HTTP status of their own.
var (
	errNotFound         = &statusError{http.StatusNotFound, chassi.NewError(chassi.NotFound, "no_such_path", "There is nothing at this path")}
	errMethodNotAllowed = &statusError{http.StatusMethodNotAllowed, chassi.NewError(chassi.Unimplemented, "method_not_allowed", "This path does not support this method")}
	errMediaType        = &statusError{http.StatusUnsupportedMediaType, chassi.NewError(chassi.InvalidArgument, "unsupported_media_type", "The body must be application/json in UTF-8, not compressed")}
	errBodyTooLarge     = &statusError{http.StatusRequestEntityTooLarge, chassi.NewError(chassi.ResourceExhausted, "body_too_large", "The body is too large")}
	errBodyTimeout      = &statusError{http.StatusRequestTimeout, chassi.NewError(chassi.DeadlineExceeded, "body_timeout", "The body took too long to arrive")}
	errAborted          = chassi.NewError(chassi.Canceled, "aborted", "The response was cut off")
	errMalformed        = chassi.NewError(chassi.InvalidArgument, "malformed_request", "The request is malformed")
)

// statusError is an error whose status differs from that of its code.
type statusError struct {
	status int
	err    *chassi.Error
}

func (e *statusError) Error() string { return e.err.Error() }
func (e *statusError) Unwrap() error { return e.err }

func isPanic(err error) bool {
	var p *chassi.PanicError
	return errors.As(err, &p)
}

// statusFor returns the status that the client gets for err.
func statusFor(err error) int {
	if own, ok := errors.AsType[*statusError](err); ok {
		return own.status
	}
	return transport.HTTPStatus(chassi.ErrorOf(err).Code)
}

// problem is the object of RFC 9457 with additional members.
type problem struct {
	Type       string             `json:"type"`
	Title      string             `json:"title"`
	Status     int                `json:"status"`
	Detail     string             `json:"detail"`
	Instance   string             `json:"instance"`
	Code       string             `json:"code"`
	Error      string             `json:"error"`
	Message    string             `json:"message"`
	Violations []chassi.Violation `json:"violations,omitempty"`
	Details    jsontext.Value     `json:"details,omitzero"`

	RetryAfterMS int64 `json:"retry_after_ms,omitzero"` // at the end of a stream, where it cannot be a header
}

var (
	problemType   = []string{"application/problem+json"}
	bearerScheme  = []string{"Bearer"}
	noStore       = []string{"no-store"}
	closeHeader   = []string{"close"}
	fallbackError = []byte(`{"type":"about:blank","title":"Internal Server Error","status":500,` +
		`"code":"internal","error":"internal","message":"Internal error"}`)
)

// writeError responds with err, without its cause.
func (x *exchange) writeError(err error) {
	e, h := transport.BoundError(chassi.ErrorOf(err)), x.w.Header()
	var status int
	var body []byte
	if x.form != unknownForm {
		h["Content-Type"] = jsonType
		status, body = x.connectError(e)
	} else {
		h["Content-Type"] = problemType
		status, body = x.problem(e, statusFor(err))
	}
	h["Cache-Control"] = noStore
	if status == http.StatusUnauthorized {
		h["Www-Authenticate"] = bearerScheme // RFC 9110, section 11.6.1
	}
	if e.RetryAfter > 0 {
		h.Set("Retry-After", retryAfter(e.RetryAfter))
	}
	x.leaveBody()
	x.send(status, body)
}

// problem returns the status and the encoded problem object for e.
func (x *exchange) problem(e *chassi.Error, status int) (int, []byte) {
	body, err := json.Marshal(problemFor(e, status, x.call.RequestID))
	if err != nil {
		return http.StatusInternalServerError, fallbackError
	}
	return status, body
}

// problemFor returns the object that describes e, without its cause.
func problemFor(e *chassi.Error, status int, requestID string) problem {
	title := http.StatusText(status)
	if title == "" {
		title = e.Code.String()
	}
	return problem{
		Type: "about:blank", Title: title, Status: status, Detail: e.Message, Instance: "urn:request:" + requestID,
		Code: e.Code.String(), Error: cmp.Or(e.Reason, e.Code.String()), Message: e.Message, Violations: e.Violations,
		Details: strictjson.Details(e.Details),
	}
}

// WriteError responds with err in a handler given to [Server.Handle], as endpoints do: with the
// status and body of the error that [chassi.ErrorOf] returns for err, without its cause. For an
// [http.MaxBytesError] the status is 413. The access log and the error tracker receive err. W and r
// are the handler's arguments; the handler must not have written a response, and must return
// afterwards. Outside of a [Server], WriteError only writes the response.
func WriteError(w http.ResponseWriter, r *http.Request, err error) {
	if err == nil {
		err = errNoError
	}
	if tooLong, ok := errors.AsType[*http.MaxBytesError](err); ok {
		err = tooLarge(tooLong.Limit)
	}
	x := fromContext(r.Context())
	if x == nil {
		x = &exchange{server: &Server{config: Config{}.withDefaults()}, w: w, r: r}
	}
	x.failed = err
	if x.status == 0 {
		x.writeError(err)
	}
}

var errNoError = errors.New("httpapi: WriteError was called without an error")

// retryAfter returns d in whole seconds, rounded up (RFC 9110, section 10.2.3).
func retryAfter(d time.Duration) string {
	return strconv.FormatInt(int64(math.Ceil(d.Seconds())), 10)
}
