package chassi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"runtime/debug"
	"slices"
	"time"
)

// Error is the error type that clients see, on every transport. Code, Reason, Message,
// Violations, RetryAfter and Details are sent; Cause never leaves the process.
//
// [errors.Is] treats two Errors as equal if Code and Reason are equal, so a sentinel matches
// its copy from another process. An Error must be treated as immutable: the With methods return
// modified copies.
type Error struct {
	Code       Code
	Reason     string        // stable identifier in snake_case, for programs: "invalid_token"
	Message    string        // safe to show to anyone: "Invalid token"
	Violations []Violation   // the invalid fields of the request, if any
	RetryAfter time.Duration // delay after which a retry may succeed; 0 if unknown
	Details    []Detail      // data for the client's program; see WithDetails
	Cause      error         // for the log and the error tracker only
}

// Violation names one invalid field of a request and states what is required.
type Violation struct {
	Field   string `json:"field"`   // in the client's notation: "address.zip", "items[2].id"
	Message string `json:"message"` // the requirement: "must have at least 8 characters"
}

// NewError returns an Error with the given fields, for use as a sentinel or as a result.
func NewError(code Code, reason, message string) *Error {
	return &Error{Code: code, Reason: reason, Message: message}
}

// ErrorOf returns the [*Error] that clients see for err, or nil if err is nil. The first [*Error]
// in the tree of err is returned, if it is not nil and has one of the sixteen codes. Otherwise
// ErrorOf returns a new Error with the cause err; the first rule that applies determines its code:
//
//   - A method Unavailable() bool that returns true, as in packages database and redis, or, without
//     such a method, a failure to connect ([net.OpError]) that is neither a timeout nor a cancellation
//     means [Unavailable], with a RetryAfter of one second.
//   - A method InvalidArgument() bool that returns true means [InvalidArgument]: a value is refused.
//   - The errors of package context mean [Canceled] and [DeadlineExceeded].
//   - Any other error means [Internal], so that no transport reports success.
func ErrorOf(err error) *Error {
	if err == nil {
		return nil
	}
	if e, ok := err.(*Error); ok && e.valid() {
		return e
	}
	var e *Error
	var refused interface{ InvalidArgument() bool }
	switch {
	case errors.As(err, &e) && e.valid():
		return e
	case isUnavailable(err):
		return &Error{Code: Unavailable, Reason: "unavailable", Message: "Something that the service needs is unavailable", RetryAfter: time.Second, Cause: err}
	case errors.As(err, &refused) && refused.InvalidArgument():
		return &Error{Code: InvalidArgument, Reason: "invalid_argument", Message: "A value, such as a text with a NUL character, cannot be stored", Cause: err}
	case errors.Is(err, context.Canceled):
		return &Error{Code: Canceled, Reason: "canceled", Message: "The request was canceled", Cause: err}
	case errors.Is(err, context.DeadlineExceeded):
		return &Error{Code: DeadlineExceeded, Reason: "deadline_exceeded", Message: "The request took too long", Cause: err}
	default:
		return &Error{Code: Internal, Reason: "internal", Message: "Internal error", Cause: err}
	}
}

// isUnavailable reports whether err means that a dependency is unavailable and that a
// retry would not repeat a side effect.
func isUnavailable(err error) bool {
	var own interface{ Unavailable() bool }
	if errors.As(err, &own) {
		return own.Unavailable()
	}
	failed, ok := errors.AsType[*net.OpError](err)
	return ok && failed.Op == "dial" && !errors.Is(err, context.Canceled) && !errors.Is(err, context.DeadlineExceeded)
}

func (e *Error) valid() bool { return e != nil && e.Code >= Canceled && e.Code <= Unauthenticated }

// Error returns the code, reason, message and cause, for logs. Transports do not send this text.
func (e *Error) Error() string {
	if e == nil {
		return nilError
	}
	text := e.Code.String() + " (" + e.Reason + "): " + e.Message
	if e.Cause != nil {
		text += ": " + e.Cause.Error()
	}
	return text
}

// nilError is the text of a nil *Error in a non-nil error, so that logging it does not panic.
const nilError = "a nil *chassi.Error"

// Unwrap returns Cause.
func (e *Error) Unwrap() error {
	if e == nil {
		return nil
	}
	return e.Cause
}

// Is reports whether target is an [*Error] with the same code and reason.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error) // errors.Is calls Is for each error in the tree
	return ok && t != nil && e != nil && e.Code == t.Code && e.Reason == t.Reason
}

// WithCause returns a copy of e with the given cause.
func (e *Error) WithCause(cause error) *Error {
	c := *e
	c.Cause = cause
	return &c
}

// WithRetryAfter returns a copy of e with d as the delay after which a retry may succeed.
func (e *Error) WithRetryAfter(d time.Duration) *Error {
	c := *e
	c.RetryAfter = d
	return &c
}

// WithViolations returns a copy of e with the given violations.
func (e *Error) WithViolations(v ...Violation) *Error {
	c := *e
	c.Violations = slices.Clone(v)
	return &c
}

// LogValue returns a group of the fields other than RetryAfter and Details, without a stack.
func (e *Error) LogValue() slog.Value {
	if e == nil {
		return slog.StringValue(nilError)
	}
	attrs := []slog.Attr{slog.String("code", e.Code.String()), slog.String("reason", e.Reason), slog.String("message", e.Message)}
	for _, v := range e.Violations {
		attrs = append(attrs, slog.String("violation."+v.Field, v.Message))
	}
	if e.Cause != nil {
		attrs = append(attrs, slog.String("cause", e.Cause.Error()))
	}
	return slog.GroupValue(attrs...)
}

// PanicError is the cause of the [Internal] error of a recovered panic. It does not unwrap to
// Value, even if Value is an error, so that [errors.Is] does not match that error.
type PanicError struct {
	Value any
	Stack []byte // as returned by runtime/debug.Stack
}

// Recovered converts value, the result of recover, into an [Internal] error whose cause
// is a [*PanicError] with the stack. It must be called within the deferred function. It
// returns nil if value is nil.
func Recovered(value any) error {
	if value == nil {
		return nil
	}
	return NewError(Internal, "internal", "Internal error").WithCause(&PanicError{Value: value, Stack: debug.Stack()})
}

// stackOf returns the log attribute "stack" if err was caused by a panic, and nil otherwise.
func stackOf(err error) []any {
	if p, ok := errors.AsType[*PanicError](err); ok {
		return []any{"stack", string(p.Stack)}
	}
	return nil
}

// Error returns the value of the panic as text, without the stack.
func (p *PanicError) Error() string { return fmt.Sprintf("panic: %v", p.Value) }
