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
// logger's to add, from the context. No message, no raw path and no credential is ever
// in it.
//
// Faults, which are [chassi.Internal], [chassi.Unknown] and [chassi.DataLoss], are logged
// at ERROR with their hidden cause and, for a panic, the stack. Failures of a dependency are
// logged at WARN: [chassi.Unavailable], and [chassi.DeadlineExceeded] while the caller still
// has time. All other calls are logged at INFO, as are those that this process declines on
// purpose: an Unavailable error whose tree has a method Refused() bool that returns true,
// such as that of [Shedding] or of a full worker pool.
//
// An outage does not fill the log: of the calls of an endpoint that fail with one code, the
// first has a line at WARN, and of faults ten in ten seconds have a line at ERROR. Further
// ones are logged at INFO, and every ten seconds a line at WARN or ERROR says how many
// there were, until one at INFO says that it is over.
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
		failed := &failures{handler: handler, message: message}
		return func(ctx context.Context, call *chassi.Call) error {
			began := time.Since(born) // reads one clock, where time.Now reads two
			err := next(ctx, call)
			level := levelOf(ctx, b, err)
			if level > slog.LevelInfo {
				level = failed.level(level, err)
			}
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

func addError(line *slog.Record, err error) {
	if err == nil {
		return
	}
	line.AddAttrs(slog.Any("error", chassi.ErrorOf(err)))
	if p, ok := errors.AsType[*chassi.PanicError](err); ok {
		line.AddAttrs(slog.String("stack", string(p.Stack)))
	}
}
