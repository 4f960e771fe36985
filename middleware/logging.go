package middleware

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/chassi-go/chassi"
)

// Logging writes one line per call: method, route, status, latency in
// microseconds, peer, and who called, if known. Request id and trace id are the
// logger's to add, from the context. The line is an info; a fault of ours is an
// error with its hidden cause and, for a panic, the stack. No message, no raw
// path and no credential is ever in it.
func Logging(logger *slog.Logger) chassi.Middleware {
	return func(b *chassi.Binding, next chassi.Handler) chassi.Handler {
		line := logger.With(slog.String("transport", b.Transport), slog.String("method", b.Method), slog.String("route", b.Route))
		return func(ctx context.Context, call *chassi.Call) error {
			began := time.Now()
			err := next(ctx, call)
			level := levelOf(err)
			if !line.Enabled(ctx, level) {
				return err
			}
			var room [8]slog.Attr
			attrs := append(room[:0],
				slog.Int("status", b.Status(call, err)),
				slog.Int64("latency_us", time.Since(began).Microseconds()))
			if call.Peer.IsValid() {
				attrs = append(attrs, slog.String("peer", call.Peer.Addr().String()))
			}
			if call.Principal != nil {
				attrs = append(attrs, slog.String("subject", call.Principal.Subject))
			}
			line.LogAttrs(ctx, level, "call", appendError(attrs, err)...)
			return err
		}
	}
}

func levelOf(err error) slog.Level {
	if err != nil && isFault(chassi.ErrorOf(err).Code) {
		return slog.LevelError
	}
	return slog.LevelInfo
}

func appendError(attrs []slog.Attr, err error) []slog.Attr {
	if err == nil {
		return attrs
	}
	attrs = append(attrs, slog.Any("error", chassi.ErrorOf(err)))
	if p, ok := errors.AsType[*chassi.PanicError](err); ok {
		attrs = append(attrs, slog.String("stack", string(p.Stack)))
	}
	return attrs
}
