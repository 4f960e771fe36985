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

// Errors of the transport. An error of type statusError has its own status, which may differ from
// the status of its code.
var (
	errNotFound         = &statusError{http.StatusNotFound, chassi.NewError(chassi.NotFound, "no_such_path", "There is nothing at this path")}
	errMethodNotAllowed = &statusError{http.StatusMethodNotAllowed, chassi.NewError(chassi.Unimplemented, "method_not_allowed", "This path does not support this method")}
	errMediaType        = &statusError{http.StatusUnsupportedMediaType, chassi.NewError(chassi.InvalidArgument, "unsupported_media_type", "The body must be application/json in UTF-8, not compressed")}
	errBodyTooLarge     = &statusError{http.StatusRequestEntityTooLarge, chassi.NewError(chassi.ResourceExhausted, "body_too_large", "The body is too large")}
	errBodyTimeout      = &statusError{http.StatusRequestTimeout, chassi.NewError(chassi.DeadlineExceeded, "body_timeout", "The body took too long to arrive")}
	errAborted          = chassi.NewError(chassi.Canceled, "aborted", "The response was cut off")
	errMalformed        = chassi.NewError(chassi.InvalidArgument, "malformed_request", "The request is malformed")
)

// statusError is an error with an HTTP status that may differ from the status of its code.
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

// statusFor returns the HTTP status of the response for err.
func statusFor(err error) int {
	if own, ok := errors.AsType[*statusError](err); ok {
		return own.status
	}
	return transport.HTTPStatus(chassi.ErrorOf(err).Code)
}

// problem is a problem details object (RFC 9457) with additional members.
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

	RetryAfterMS int64 `json:"retry_after_ms,omitzero"` // only in the last message of a stream
}

var (
	problemType   = []string{"application/problem+json"}
	bearerScheme  = []string{"Bearer"}
	noStore       = []string{"no-store"}
	closeHeader   = []string{"close"}
	fallbackError = []byte(`{"type":"about:blank","title":"Internal Server Error","status":500,` +
		`"code":"internal","error":"internal","message":"Internal error"}`)
)

// writeError sends the response for err, without the cause of err.
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

// problem returns the status and the encoded problem object for e, or those of an internal error if
// e cannot be encoded.
func (x *exchange) problem(e *chassi.Error, status int) (int, []byte) {
	body, err := json.Marshal(problemFor(e, status, x.call.RequestID))
	if err != nil {
		return http.StatusInternalServerError, fallbackError
	}
	return status, body
}

// problemFor returns the problem object that describes e, without the cause of e.
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

// WriteError sends the response for err, in a handler given to [Server.Handle] or [NewEndpoint]. As
// for other endpoints, the response has the status and the body of the error that [chassi.ErrorOf]
// returns for err, without its cause. For an [http.MaxBytesError] the status is 413. A nil err is
// sent as an internal error. The access log and the error tracker receive err. W and r are the
// arguments of the handler, which must not have written a response, and must return afterward.
// Outside a [Server], WriteError only writes the response.
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

// retryAfter returns d as the value of a Retry-After header, which is a number of seconds (RFC
// 9110, section 10.2.3), rounded up.
func retryAfter(d time.Duration) string {
	return strconv.FormatInt(int64(math.Ceil(d.Seconds())), 10)
}
