package httpclient

import (
	"bytes"
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/chassi-go/chassi/breaker"
)

// RoundTrip sends the request, with retries, and returns the last response, whose body must be
// closed. If the last attempt received no response, RoundTrip returns an error. The error wraps
// a [*breaker.OpenError] if the breaker refused the first attempt, and a [*TimeoutError] after
// [Config.Timeout] or [Config.AttemptTimeout].
func (t *Transport) RoundTrip(r *http.Request) (*http.Response, error) {
	h := t.hosts.get(r.URL)
	ctx, cancel := context.WithTimeout(r.Context(), t.options.Timeout)
	defer cancel()
	var last *http.Response
	var lastErr error
	for n := 1; ; n++ {
		done, refused := h.breaker.Allow()
		if refused != nil {
			if n == 1 {
				return nil, t.refuse(r, h, refused)
			}
			return last, lastErr
		}
		closeBody(last)
		last, lastErr = t.attempt(ctx, r, h, n, done)
		failed := failure(last, lastErr, canRepeat(r))
		if failed == nil {
			h.retry.Budget.Succeeded()
			return last, lastErr
		}
		if !h.retry.Next(ctx, n, failed) {
			return last, lastErr
		}
	}
}

// refuse observes a call that the breaker refused, closes the body of its request, and returns the
// error of the call.
func (t *Transport) refuse(r *http.Request, h *host, err error) error {
	if r.Body != nil {
		r.Body.Close()
	}
	t.observe(h, r.Method, 0, "breaker_open", 0)
	return describe(r.Method, h.name, err)
}

// attempt sends the request once, passes the outcome to done and returns the response. The
// deadline of ctx limits the call of send, but not the reading of the body by the caller.
func (t *Transport) attempt(ctx context.Context, r *http.Request, h *host, n int, done func(error)) (resp *http.Response, err error) {
	verdict := errPanicked
	defer func() { done(verdict) }()
	try, err := t.newTry(ctx, r, h, n)
	if err != nil {
		verdict = context.Canceled // the attempt shows nothing about the host
		return nil, describe(r.Method, h.name, err)
	}
	defer func() {
		if resp == nil {
			try.release(0, failureOf(cmp.Or(err, errPanicked)))
		}
	}()
	began := time.Now()
	resp, err = t.send(try.request, n < h.retry.Attempts && canRepeat(r))
	if err != nil {
		err = describe(r.Method, h.name, try.cause(err))
		t.observe(h, r.Method, 0, failureOf(err), time.Since(began))
	} else {
		t.observe(h, r.Method, resp.StatusCode, "", time.Since(began))
		resp.Request = r
		try.stream(resp, t.options.ReadTimeout)
	}
	verdict = outcome(resp, err)
	if err != nil && r.Context().Err() != nil {
		verdict = context.Canceled // the caller gave up, which shows nothing about the host
	}
	return resp, err
}

// send sends the request once and returns the response. If again is true and the status
// is retryable, it also buffers the beginning of the body.
func (t *Transport) send(r *http.Request, again bool) (*http.Response, error) {
	resp, err := t.base.RoundTrip(r)
	if err == nil && again && isRetryableStatus(resp.StatusCode) {
		err = buffer(resp)
	}
	if err != nil {
		closeBody(resp)
		return nil, err //nolint:wrapcheck // the caller's
	}
	return resp, nil
}

var errPanicked = errors.New("httpclient: the attempt panicked")

// maxBuffer is the maximum number of bytes of a response body that are read before a retry, so that
// the connection can be used again during the delay.
const maxBuffer = 64 << 10

// buffer reads up to maxBuffer bytes of the body of a response that a retry may replace.
// Afterwards the body still delivers all of its bytes, including those that were read.
func buffer(resp *http.Response) error {
	data, err := io.ReadAll(io.LimitReader(resp.Body, maxBuffer))
	if err != nil {
		return err //nolint:wrapcheck // the caller's
	}
	if len(data) < maxBuffer {
		resp.Body.Close()
		resp.Body = io.NopCloser(bytes.NewReader(data))
		return nil
	}
	resp.Body = struct {
		io.Reader
		io.Closer
	}{io.MultiReader(bytes.NewReader(data), resp.Body), resp.Body}
	return nil
}

func closeBody(resp *http.Response) {
	if resp != nil {
		resp.Body.Close()
	}
}

// canRepeat reports whether the request may be sent more than once.
func canRepeat(r *http.Request) bool {
	if r.Body != nil && r.Body != http.NoBody && r.GetBody == nil {
		return false
	}
	switch r.Method {
	case "", http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodPut, http.MethodDelete:
		return true
	default:
		return r.Header.Get("Idempotency-Key") != ""
	}
}

func isRetryableStatus(status int) bool {
	switch status {
	case http.StatusTooManyRequests, http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	default:
		return false
	}
}

// outcome returns the error of an attempt for the breaker: err, or an error for a status of 500 or
// above.
func outcome(resp *http.Response, err error) error {
	switch {
	case err == nil && resp.StatusCode >= http.StatusInternalServerError:
		return errors.New(resp.Status)
	default:
		return err // the breaker ignores context.Canceled
	}
}

// retryError is the error of an attempt that may be retried, after the given delay at the earliest.
type retryError struct{ after time.Duration }

func (*retryError) Error() string { return "httpclient: the attempt failed and can be retried" }

var errFinal = errors.New("httpclient: the attempt failed and cannot be retried")

func retryable(err error) (time.Duration, bool) {
	if e, ok := errors.AsType[*retryError](err); ok {
		return e.after, true
	}
	return 0, false
}

// failure returns a [retryError] if the request should be retried, errFinal if it failed and should
// not be retried, and nil if the response has a status below 500 other than 429. Other 4xx statuses
// are not failures of the host.
func failure(resp *http.Response, err error, repeat bool) error {
	var untrusted *tls.CertificateVerificationError
	switch {
	case err == nil && !isRetryableStatus(resp.StatusCode) && resp.StatusCode < http.StatusInternalServerError:
		return nil
	case !repeat, errors.As(err, &untrusted):
		return errFinal
	case err != nil:
		return &retryError{}
	case !isRetryableStatus(resp.StatusCode):
		return errFinal
	}
	return &retryError{retryAfter(resp.Header.Get("Retry-After"))}
}

// retryAfter returns the delay in a Retry-After header, or 0 if the header is empty or invalid.
func retryAfter(header string) time.Duration {
	seconds, err := strconv.ParseInt(header, 10, 64)
	tooLarge := errors.Is(err, strconv.ErrRange) && strings.Trim(header, "0123456789") == "" // seconds is the maximum
	if err == nil || tooLarge {
		return time.Duration(min(max(seconds, 0), 1<<32)) * time.Second
	}
	at, err := http.ParseTime(header)
	if err != nil {
		return 0
	}
	return max(time.Until(at), 0)
}

var methods = []string{
	http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch,
	http.MethodDelete, http.MethodConnect, http.MethodOptions, http.MethodTrace,
}

// methodName returns the method if it is a standard one, GET for an empty method, and otherwise
// "_OTHER".
func methodName(method string) string {
	switch {
	case method == "":
		return http.MethodGet
	case slices.Contains(methods, method):
		return method
	default:
		return "_OTHER"
	}
}

func (t *Transport) observe(h *host, method string, status int, failure string, took time.Duration) {
	if t.options.Observe != nil {
		t.options.Observe(h.class, methodName(method), status, failure, took)
	}
}

// failureOf returns the kind of an error for spans and metrics: "breaker_open",
// "timeout", "canceled" or "error".
func failureOf(err error) string {
	var open *breaker.OpenError
	switch {
	case errors.As(err, &open):
		return "breaker_open"
	case errors.Is(err, context.DeadlineExceeded):
		return "timeout"
	case errors.Is(err, context.Canceled):
		return "canceled"
	default:
		return "error"
	}
}
