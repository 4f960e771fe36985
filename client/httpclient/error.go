package httpclient

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"time"
)

// TimeoutError means that a host did not respond in time. It is a [context.DeadlineExceeded]
// for [errors.Is].
type TimeoutError struct {
	Waited string        // "the response header" or "the response body"
	After  time.Duration // the limit
}

// Error returns what the client waited for, and for how long.
func (e *TimeoutError) Error() string {
	return fmt.Sprintf("no part of %s within %v", e.Waited, e.After.Round(time.Millisecond))
}

// Timeout implements the interface of [net.Error].
func (*TimeoutError) Timeout() bool { return true }

// Temporary implements [net.Error].
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

// Timeout lets the error of an http.Client report a timeout.
func (e *requestError) Timeout() bool { return errors.Is(e.err, context.DeadlineExceeded) }

// Redact returns the error of an [http.Client] with scheme and host alone of the URL that it
// contains. Paths and queries of many APIs hold keys. Other errors are returned as they are.
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
