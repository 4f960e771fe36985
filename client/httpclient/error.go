package httpclient

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"time"
)

// TimeoutError means that a host did not respond in time. [errors.Is] reports that it
// matches [context.DeadlineExceeded].
type TimeoutError struct {
	Waited string        // "the response header" or "the response body"
	After  time.Duration // the limit
}

// Error returns what the client waited for, and for how long.
func (e *TimeoutError) Error() string {
	return fmt.Sprintf("timed out after %v waiting for %s", e.After.Round(time.Millisecond), e.Waited)
}

// Timeout returns true. It implements [net.Error].
func (*TimeoutError) Timeout() bool { return true }

// Temporary returns true. It implements [net.Error].
func (*TimeoutError) Temporary() bool { return true }

// Is reports whether target is context.DeadlineExceeded.
func (*TimeoutError) Is(target error) bool { return target == context.DeadlineExceeded }

// requestError is an error about a request, without the parts of its URL that may be secret.
type requestError struct {
	method, host string
	err          error
}

func describe(method, host string, err error) error {
	return &requestError{methodName(method), host, Redact(err)}
}

func (e *requestError) Error() string {
	return "httpclient: " + e.method + " " + e.host + ": " + e.err.Error()
}

func (e *requestError) Unwrap() error { return e.err }

// Timeout reports whether the request timed out, so that the error of an http.Client reports it
// too.
func (e *requestError) Timeout() bool { return errors.Is(e.err, context.DeadlineExceeded) }

// Redact returns a copy of the first [*url.Error] in the tree of err, such as the error
// of an [http.Client], with its URL reduced to scheme and host, because the paths and
// queries of many APIs contain keys. A URL that cannot be parsed is replaced by "***".
// If there is no such error, Redact returns err unchanged.
func Redact(err error) error {
	e, ok := errors.AsType[*url.Error](err)
	if !ok {
		return err
	}
	shown := "***"
	if u, bad := url.Parse(e.URL); bad == nil {
		shown = (&url.URL{Scheme: u.Scheme, Host: u.Host}).String()
	}
	return &url.Error{Op: e.Op, URL: shown, Err: Redact(e.Err)}
}
