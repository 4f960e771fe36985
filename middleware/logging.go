package middleware

import (
	"context"
	"errors"
	"log/slog"
	"net/url"
	"time"

	"github.com/chassi-go/chassi"
)

// Logging returns middleware that logs one line per call, on servers and clients. The line
// contains the transport, HTTP method, route, status and latency in microseconds, and, if they are
// known, the peer's address, the peer's name at a broker, the principal and its tenant. For an
// event or a job it also contains the ID and the number of the attempt. The logger adds the
// request ID and the trace ID from the context. The line contains no request, response, raw path
// or credentials. The line of a stream is logged when the stream ends, and also contains the
// number of items, their encoded size in bytes, and the time to the first item in microseconds.
//
// Server errors, which are [chassi.Internal], [chassi.Unknown] and [chassi.DataLoss], are
// logged at ERROR with their cause and, for a panic, the stack. Failures of a dependency are
// logged at WARN: [chassi.Unavailable], and [chassi.DeadlineExceeded] on a client or, on a
// server, if the caller's own context is not done. All other calls are logged at INFO. They
// include deliberate refusals, such as those of [LoadShedding] or a full worker pool: their error
// is Unavailable and wraps an error with a method Refused() bool that returns true.
//
// If calls of an endpoint fail repeatedly with the same code, only the first failure is logged at
// WARN, and at most ten server errors per ten seconds are logged at ERROR. Further failures are
// logged at INFO. After every ten seconds with such further failures, a line at WARN or ERROR
// reports the number of failures. When the calls no longer fail after such a line, a line at INFO
// reports that.
func Logging(logger *slog.Logger) chassi.Middleware {
	born := time.Now()
	return func(b *chassi.Binding, next chassi.Handler) chassi.Handler {
		message := "call"
		if b.Client {
			message = "outgoing call"
		}
		// Records are passed to the logger's handler directly: the logger would determine the
		// source position for each line, which is always the same.
		attrs := []any{slog.String("transport", b.Transport)}
		if b.Method != "" {
			attrs = append(attrs, slog.String("method", b.Method))
		}
		attrs = append(attrs, slog.String("route", b.Route))
		handler := logger.With(attrs...).Handler()
		l := &callLog{binding: b, handler: handler, message: message, born: born, failed: &failures{handler: handler, message: message}}
		return func(ctx context.Context, call *chassi.Call) error {
			began := time.Since(born) // faster than time.Now: reads a single clock
			err := next(ctx, call)
			l.write(ctx, call, began, err)
			return err
		}
	}
}

// callLog logs the calls of one binding.
type callLog struct {
	binding *chassi.Binding
	handler slog.Handler
	message string
	born    time.Time // the times of calls are relative to it
	failed  *failures
}

// write logs the line of a call. It must not be inlined: the record would then take a
// kilobyte of the stack of every call in flight.
//
//go:noinline
func (l *callLog) write(ctx context.Context, call *chassi.Call, began time.Duration, err error) {
	level := levelOf(ctx, l.binding, err)
	if level > slog.LevelInfo {
		level = l.failed.level(level, err)
	}
	if !l.handler.Enabled(ctx, level) {
		return
	}
	now := time.Now()
	line := slog.NewRecord(now, level, l.message, 0)
	line.AddAttrs(slog.Int("status", l.binding.Status(call, err)), slog.Int64("latency_us", (now.Sub(l.born)-began).Microseconds()))
	addCaller(&line, call)
	addTask(&line, call)
	addStream(&line, call.Stream)
	addError(&line, err)
	_ = l.handler.Handle(ctx, line) // the error of a sink must not fail the call
}

func addCaller(line *slog.Record, call *chassi.Call) {
	if call.Peer.IsValid() {
		line.AddAttrs(slog.Any("peer", call.Peer.Addr()))
	}
	if call.PeerName != "" {
		line.AddAttrs(slog.String("peer_name", call.PeerName))
	}
	if call.Principal != nil {
		line.AddAttrs(slog.String("subject", call.Principal.Subject))
	}
	if tenant := tenantOf(call); tenant != "" {
		line.AddAttrs(slog.String("tenant", tenant))
	}
}

// tenantKey is the metadata key of the tenant of an event or a job. It is equal to
// transport.TenantKey.
const tenantKey = "X-Tenant"

// tenantOf returns the tenant of the principal or, for an event or a job without a principal, of
// the caller who published the event or started the job. It returns "" if there is no tenant.
func tenantOf(call *chassi.Call) string {
	switch {
	case call.Principal != nil:
		return call.Principal.Tenant
	case call.Transport == "event" || call.Transport == "job":
		tenant, _ := url.QueryUnescape(call.In.Get(tenantKey))
		return tenant
	}
	return ""
}

// addTask adds the ID of the event or of the job's run, and the number of the attempt,
// if an event or a job is being handled.
func addTask(line *slog.Record, call *chassi.Call) {
	if call.Client || call.Transport != "event" && call.Transport != "job" {
		return
	}
	key := "event_id"
	if call.Transport == "job" {
		key = "run_id"
	}
	line.AddAttrs(slog.String(key, call.In.Get("Idempotency-Key")), slog.String("try", call.In.Get("Attempts"))) // keys of package transport
}

func addStream(line *slog.Record, s *chassi.Stream) {
	if s != nil {
		line.AddAttrs(slog.Int64("items", s.Items), slog.Int64("bytes", s.Bytes), slog.Int64("first_item_us", s.First.Microseconds()))
	}
}

func addError(line *slog.Record, err error) {
	if err == nil {
		return
	}
	line.AddAttrs(slog.Any("error", chassi.ErrorOf(err)))
	if p, ok := errors.AsType[*chassi.PanicError](err); ok {
		line.AddAttrs(slog.String("stack", string(p.Stack)))
	}
}
