package chassi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"slices"
	"time"
)

// Error is the one error that a caller may see, on every transport. Code,
// Reason, Message, Violations, RetryAfter and Details cross the wire; Cause never
// leaves the process.
//
// Two Errors are the same to [errors.Is] when Code and Reason are the same, so
// a sentinel matches the copy of it that came back from another process.
// Treat an Error as immutable: the With methods return changed copies.
type Error struct {
	Code       Code
	Reason     string        // stable, snake_case, for machines: "invalid_token"
	Message    string        // safe to show to anybody: "Invalid token"
	Violations []Violation   // what is wrong with which field, if that is the trouble
	RetryAfter time.Duration // when a retry may help; 0 says nothing
	Details    []Detail      // more for the caller's program; see WithDetails
	Cause      error         // for the log and the exception tracker only
}

// Violation names one bad field of a request and says what would be right.
type Violation struct {
	Field   string `json:"field"`   // as the caller spells it: "address.zip", "items[2].id"
	Message string `json:"message"` // "must have at least 8 characters"
}

// NewError returns an Error to be kept as a sentinel or returned as it is.
func NewError(code Code, reason, message string) *Error {
	return &Error{Code: code, Reason: reason, Message: message}
}

// ErrorOf returns the [*Error] that callers see for err: the first one in err's
// tree; else [Canceled] and [DeadlineExceeded] for the context package's errors;
// else [Internal] with err as its hidden cause. An Error without one of the
// sixteen codes, or a nil one, is [Internal] too: a method that returns it has
// failed, and no transport may take it for success. It returns nil for nil.
func ErrorOf(err error) *Error {
	if err == nil {
		return nil
	}
	if e, ok := err.(*Error); ok && e.valid() {
		return e
	}
	var e *Error
	switch {
	case errors.As(err, &e) && e.valid():
		return e
	case errors.Is(err, context.Canceled):
		return &Error{Code: Canceled, Reason: "canceled", Message: "The request was canceled", Cause: err}
	case errors.Is(err, context.DeadlineExceeded):
		return &Error{Code: DeadlineExceeded, Reason: "deadline_exceeded", Message: "The request took too long", Cause: err}
	default:
		return &Error{Code: Internal, Reason: "internal", Message: "Internal error", Cause: err}
	}
}

func (e *Error) valid() bool { return e != nil && e.Code >= Canceled && e.Code <= Unauthenticated }

// Error returns code, reason, message and cause: it is for logs. Transports
// send the fields instead.
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

// nilError stands for a nil *Error that was returned as an error, which is not
// nil any more: a slip that must not bring down whoever logs it.
const nilError = "a nil *chassi.Error"

// Unwrap returns the hidden cause.
func (e *Error) Unwrap() error {
	if e == nil {
		return nil
	}
	return e.Cause
}

// Is reports whether target is an [*Error] of the same code and reason.
func (e *Error) Is(target error) bool {
	t, ok := target.(*Error) // Is is called for each link of the chain
	return ok && t != nil && e != nil && e.Code == t.Code && e.Reason == t.Reason
}

// WithCause returns a copy that hides cause.
func (e *Error) WithCause(cause error) *Error {
	c := *e
	c.Cause = cause
	return &c
}

// WithRetryAfter returns a copy that tells the caller when to try again.
func (e *Error) WithRetryAfter(d time.Duration) *Error {
	c := *e
	c.RetryAfter = d
	return &c
}

// WithViolations returns a copy that names the bad fields.
func (e *Error) WithViolations(v ...Violation) *Error {
	c := *e
	c.Violations = slices.Clone(v)
	return &c
}

// LogValue renders the error for slog with its hidden cause, without stack.
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

// PanicError is the cause of the [Internal] error that a contained panic
// becomes.
type PanicError struct {
	Value any
	Stack []byte // as runtime/debug.Stack gives it
}

// Recovered turns what recover returned into an [Internal] error that hides a
// [*PanicError] with the stack; call it inside the deferred function. It returns
// nil for nil.
func Recovered(value any) error {
	if value == nil {
		return nil
	}
	return NewError(Internal, "internal", "Internal error").WithCause(&PanicError{Value: value, Stack: debug.Stack()})
}

// Error returns the panic's value as text, without the stack.
func (p *PanicError) Error() string { return fmt.Sprintf("panic: %v", p.Value) }

// Unwrap returns the panic's value if it is an error.
func (p *PanicError) Unwrap() error {
	err, _ := p.Value.(error)
	return err
}
