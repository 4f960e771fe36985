package schema

import (
	"fmt"
	"net/http"

	"github.com/chassi-go/chassi"
)

// failure is one error that an endpoint can return.
type failure struct {
	code            chassi.Code
	status          int
	reason, message string
}

// failures returns the errors that a call of e can return: the errors of e, of the transport, and
// of the middleware of package standard. The parameter hasInput reports whether a request can be
// malformed, and hasBody whether it has a body; the function statusOf returns the HTTP status for a
// code.
func failures(e *chassi.Endpoint, hasInput, hasBody bool, statusOf func(chassi.Code) int) []failure {
	var list []failure
	add := func(code chassi.Code, reason, message string) {
		list = append(list, failure{code, statusOf(code), reason, message})
	}
	if hasInput {
		add(chassi.InvalidArgument, "malformed_request", "The request is malformed")
		add(chassi.InvalidArgument, "invalid_request", "The request is invalid")
	}
	sent, answered := e.Files()
	if answered {
		list = append(list, failure{chassi.OutOfRange, http.StatusRequestedRangeNotSatisfiable, "range_not_satisfiable", "The file does not contain the requested range"},
			failure{chassi.FailedPrecondition, http.StatusPreconditionFailed, "precondition_failed", "The file does not match the conditions of the request"})
	}
	if hasBody {
		mediaType := "The body must be application/json in UTF-8, not compressed"
		if sent {
			mediaType = "The body must be the file, or multipart/form-data with a boundary and the file as its last part, without a content coding"
		}
		list = append(list, failure{chassi.ResourceExhausted, http.StatusRequestEntityTooLarge, "body_too_large", "The body is too large"},
			failure{chassi.InvalidArgument, http.StatusUnsupportedMediaType, "unsupported_media_type", mediaType},
			failure{chassi.DeadlineExceeded, http.StatusRequestTimeout, "body_timeout", "The body took too long to arrive"})
	}
	if !e.Public() {
		add(chassi.Unauthenticated, "unauthenticated", "This call needs credentials")
		add(chassi.Unauthenticated, "invalid_token", "Invalid token")
	}
	if len(e.Permissions()) > 0 {
		add(chassi.PermissionDenied, "permission_denied", "You may not make this call")
	}
	for _, err := range e.Errors() {
		add(err.Code, err.Reason, err.Message)
	}
	add(chassi.ResourceExhausted, "rate_limited", "Too many requests")
	add(chassi.ResourceExhausted, "too_many_concurrent_calls", "Too many calls of one client at once")
	add(chassi.Unavailable, "overloaded", "The service is overloaded")
	add(chassi.Unavailable, "unavailable", "A dependency of the call is unavailable")
	add(chassi.Internal, "internal", "Internal error")
	add(chassi.DeadlineExceeded, "deadline_exceeded", "The request took too long")
	seen := make(map[string]bool)
	distinct := list[:0]
	for _, f := range list {
		if key := fmt.Sprint(f.status, f.reason); !seen[key] {
			seen[key] = true
			distinct = append(distinct, f)
		}
	}
	return distinct
}
