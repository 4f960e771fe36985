package middleware

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/chassi-go/chassi"
)

// Logging writes one line per call, served or made: method, route, status, latency in
// microseconds, peer, the broker's name for it, and who called, if known. Request id and trace id are the
// logger's to add, from the context. The line is an info; a fault of ours is an
// error with its hidden cause and, for a panic, the stack. No message, no raw
// path and no credential is ever in it.
func Logging(logger *slog.Logger) chassi.Middleware {
	born := time.Now()
	return func(b *chassi.Binding, next chassi.Handler) chassi.Handler {
		message := "call"
		if b.Client {
			message = "outgoing call"
		}
		// The handler behind the logger: the logger would walk the stack for the
		// place of this line in the source, which is the same for every call.
		handler := logger.With(slog.String("transport", b.Transport), slog.String("method", b.Method), slog.String("route", b.Route)).Handler()
		return func(ctx context.Context, call *chassi.Call) error {
			began := time.Since(born) // reads one clock, where time.Now reads two
			err := next(ctx, call)
			level := levelOf(err)
			if !handler.Enabled(ctx, level) {
				return err
			}
			now := time.Now()
			line := slog.NewRecord(now, level, message, 0)
			line.AddAttrs(slog.Int("status", b.Status(call, err)), slog.Int64("latency_us", (now.Sub(born)-began).Microseconds()))
			if call.Peer.IsValid() {
				line.AddAttrs(slog.String("peer", call.Peer.Addr().String()))
			}
			if call.PeerName != "" {
				line.AddAttrs(slog.String("peer_name", call.PeerName))
			}
			if call.Principal != nil {
				line.AddAttrs(slog.String("subject", call.Principal.Subject))
			}
			addError(&line, err)
			_ = handler.Handle(ctx, line) // a sink that fails must not fail the call
			return err
		}
	}
}

func levelOf(err error) slog.Level {
	if err != nil && chassi.ErrorOf(err).Code.Fault() {
		return slog.LevelError
	}
	return slog.LevelInfo
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
