package httpapi

import (
	"cmp"
	"errors"
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/schema/strictjson"
	"github.com/chassi-go/chassi/transport"
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Errors that HTTP has a status of its own for.
var (
	errNotFound         = &statusError{http.StatusNotFound, chassi.NewError(chassi.NotFound, "no_such_path", "There is nothing at this path")}
	errMethodNotAllowed = &statusError{http.StatusMethodNotAllowed, chassi.NewError(chassi.Unimplemented, "method_not_allowed", "This path does not take this method")}
	errMediaType        = &statusError{http.StatusUnsupportedMediaType, chassi.NewError(chassi.InvalidArgument, "unsupported_media_type", "The body must be application/json in UTF-8, not compressed")}
	errBodyTooLarge     = &statusError{http.StatusRequestEntityTooLarge, chassi.NewError(chassi.ResourceExhausted, "body_too_large", "The body is too large")}
	errBodyTimeout      = &statusError{http.StatusRequestTimeout, chassi.NewError(chassi.DeadlineExceeded, "body_timeout", "The body took too long to arrive")}
	errAborted          = chassi.NewError(chassi.Canceled, "aborted", "The answer was cut off")
	errMalformed        = chassi.NewError(chassi.InvalidArgument, "malformed_request", "The request is malformed")
)

// statusError is an error whose status is not that of its code.
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

// problem is RFC 9457's object with our members besides.
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
}

var (
	problemType   = []string{"application/problem+json"}
	bearerScheme  = []string{"Bearer"}
	noStore       = []string{"no-store"}
	closeHeader   = []string{"close"}
	fallbackError = []byte(`{"type":"about:blank","title":"Internal Server Error","status":500,` +
		`"code":"internal","error":"internal","message":"Internal error"}`)
)

// writeError answers err, hiding what it hides.
func (x *exchange) writeError(err error) {
	e, status := chassi.ErrorOf(err), statusFor(err)
	title := http.StatusText(status)
	if title == "" {
		title = e.Code.String()
	}
	body, failed := json.Marshal(problem{
		Type: "about:blank", Title: title, Status: status, Detail: e.Message, Instance: "urn:request:" + x.call.RequestID,
		Code: e.Code.String(), Error: cmp.Or(e.Reason, e.Code.String()), Message: e.Message, Violations: e.Violations,
		Details: strictjson.Details(e.Details),
	})
	if failed != nil {
		status, body = http.StatusInternalServerError, fallbackError
	}
	h := x.w.Header()
	h["Content-Type"] = problemType
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

// retryAfter rounds up to whole seconds (RFC 9110, section 10.2.3).
func retryAfter(d time.Duration) string {
	return strconv.FormatInt(int64(math.Ceil(d.Seconds())), 10)
}
