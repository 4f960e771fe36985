package httpclient

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"math"
	"net/http"
	"sync"
	"time"
)

// try is one attempt. It ends when the attempt fails, or when the body of the response has been
// read or is closed.
type try struct {
	host    string
	request *http.Request
	ctx     context.Context //nolint:containedctx // of the attempt
	cancel  context.CancelCauseFunc
	timer   *time.Timer // cancels the attempt
	end     func(status int, failure string)
	once    sync.Once
}

// newTry prepares attempt n. For a retry it gets a new body from GetBody of the request, and
// returns an error if GetBody fails; an earlier attempt has then already closed the request's body.
func (t *Transport) newTry(call context.Context, r *http.Request, h *host, n int) (*try, error) {
	a := &try{host: h.name, end: func(int, string) {}}
	var header http.Header
	if h.traced {
		header = make(http.Header)
	}
	ctx := r.Context()
	if t.options.Trace != nil {
		var end func(int, string)
		if ctx, end = t.options.Trace(ctx, methodName(r.Method), h.name, n, header); end != nil {
			a.end = end
		}
	}
	a.ctx, a.cancel = context.WithCancelCause(ctx)
	a.request = r.Clone(a.ctx)
	if len(header) > 0 && a.request.Header == nil {
		a.request.Header = make(http.Header)
	}
	maps.Copy(a.request.Header, header)
	if n > 1 && r.GetBody != nil {
		body, err := r.GetBody()
		if err != nil {
			a.release(0, "error")
			return nil, err //nolint:wrapcheck // the caller's
		}
		a.request.Body = body
	}
	limit := t.options.AttemptTimeout
	if end, ok := call.Deadline(); ok {
		limit = min(limit, time.Until(end))
	}
	a.timer = time.AfterFunc(limit, func() { a.cancel(&TimeoutError{Waited: "the response header", After: limit}) })
	return a, nil
}

// cause returns the [TimeoutError] that ended the attempt. If there is none, cause returns
// err, together with the error of the attempt's context if that context is done.
func (a *try) cause(err error) error {
	cause := context.Cause(a.ctx)
	if timeout, ok := errors.AsType[*TimeoutError](cause); ok {
		return timeout
	}
	if ended := a.ctx.Err(); ended != nil && !errors.Is(err, ended) {
		return fmt.Errorf("%w: %w", ended, err)
	}
	return err
}

// release ends the attempt and its span. Only the first call has an effect.
func (a *try) release(status int, failure string) {
	a.once.Do(func() {
		if a.timer != nil {
			a.timer.Stop()
		}
		a.cancel(context.Canceled)
		a.end(status, failure)
	})
}

// stream wraps the body of resp so that the end of the body ends the attempt. Each read of the
// body is limited by timeout, except on a connection that is switched to another protocol.
func (a *try) stream(resp *http.Response, timeout time.Duration) {
	a.timer.Stop()
	b := &body{ReadCloser: resp.Body, try: a, status: resp.StatusCode}
	if rw, ok := resp.Body.(io.ReadWriteCloser); ok && resp.StatusCode == http.StatusSwitchingProtocols {
		resp.Body = &connection{b, rw}
		return
	}
	b.timeout = timeout
	a.timer = time.AfterFunc(math.MaxInt64, func() { a.cancel(&TimeoutError{Waited: "the response body", After: timeout}) })
	a.timer.Stop() // until a read
	resp.Body = b
}

// body is the body of a response. The end of the body, an error of Read or a call of Close ends the
// attempt.
type body struct {
	io.ReadCloser

	try     *try
	status  int
	timeout time.Duration
}

// Read implements [io.Reader]. An error other than [io.EOF] contains the method and the
// host of the request.
func (b *body) Read(p []byte) (int, error) {
	if b.timeout > 0 {
		b.try.timer.Reset(b.timeout)
		defer b.try.timer.Stop()
	}
	n, err := b.ReadCloser.Read(p)
	switch {
	case err == nil:
		return n, nil
	case errors.Is(err, io.EOF):
		b.try.release(b.status, "")
		return n, io.EOF
	default:
		err = describe(b.try.request.Method, b.try.host, b.try.cause(err))
		b.try.release(b.status, failureOf(err))
		return n, err
	}
}

// Close implements [io.Closer]. It also ends the attempt.
func (b *body) Close() error {
	err := b.ReadCloser.Close()
	b.try.release(b.status, "")
	return err //nolint:wrapcheck // the body's
}

// connection is the body of a response that switches protocols. It can also be written to.
type connection struct {
	*body
	io.Writer
}
