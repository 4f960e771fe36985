package middleware

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/chassi-go/chassi"
)

const (
	// failureInterval is the time between two summaries of failed calls.
	failureInterval = 10 * time.Second
	// maxFaultLines is the maximum number of lines at ERROR for one code per interval. It is
	// more than one, because the causes may differ.
	maxFaultLines = 10
)

// refusal is the cause of errors of deliberately refused calls, see [Logging].
type refusal string

func (r refusal) Error() string { return string(r) }

// Refused returns true, which marks the error as a deliberate refusal.
func (refusal) Refused() bool { return true }

func isRefusal(err error) bool {
	r, ok := errors.AsType[interface {
		error
		Refused() bool
	}](err)
	return ok && r.Refused()
}

// levelOf returns the log level of a call that ended with err: ERROR for a server error, WARN
// for a failed dependency or a timeout, INFO for all other calls. Ctx is that of the caller.
func levelOf(ctx context.Context, b *chassi.Binding, err error) slog.Level {
	if err == nil {
		return slog.LevelInfo
	}
	switch code := chassi.ErrorOf(err).Code; {
	case code.IsServerError():
		return slog.LevelError
	case code == chassi.Unavailable && !isRefusal(err):
		return slog.LevelWarn
	case code == chassi.DeadlineExceeded && (b.Client || ctx.Err() == nil):
		return slog.LevelWarn
	default:
		return slog.LevelInfo
	}
}

// failures limits the log lines above INFO for the failed calls of one binding. It is safe for
// concurrent use.
type failures struct {
	handler slog.Handler
	message string // of the calls
	byCode  [int(chassi.Unauthenticated) + 1]failureRun
}

// failureRun is a period in which calls fail with one code.
type failureRun struct {
	mu       sync.Mutex
	active   bool
	since    time.Time // when it began
	last     time.Time // of the last failure
	total    int       // failures since it began
	now      int       // in this interval
	lines    int       // at their own level in this interval
	omitted  int       // others in this interval
	summed   bool      // whether there was a summary
	lastSeen error
}

// level returns the level for the line of one failed call: its own level up to the limit per
// interval, then INFO. A summary line reports the number of failed calls.
func (f *failures) level(own slog.Level, err error) slog.Level {
	code := chassi.ErrorOf(err).Code
	r := &f.byCode[code]
	r.mu.Lock()
	defer r.mu.Unlock()
	r.last, r.lastSeen = time.Now(), err
	if !r.active {
		r.active, r.since, r.total, r.summed = true, r.last, 0, false
		time.AfterFunc(failureInterval, func() { f.sumUp(r, own) })
	}
	r.total++
	r.now++
	if own < slog.LevelError && r.total > 1 || r.lines >= maxFaultLines {
		r.omitted++
		return slog.LevelInfo
	}
	r.lines++
	return own
}

// sumUp ends an interval. It logs the number of failed calls if lines were omitted, and, after
// such a line, that the calls no longer fail.
func (f *failures) sumUp(r *failureRun, level slog.Level) {
	r.mu.Lock()
	message, attrs := "", []slog.Attr{slog.Int("failed", r.now), slog.Int("failed_in_all", r.total)}
	switch {
	case r.omitted > 0:
		message, r.summed = f.message+"s fail", true
		attrs = append(attrs, slog.String("interval", failureInterval.String()), slog.Any("last_error", chassi.ErrorOf(r.lastSeen)))
	case r.now == 0 && r.summed:
		message, level = f.message+"s fail no more", slog.LevelInfo
		attrs = append(attrs[1:], slog.String("code", chassi.ErrorOf(r.lastSeen).Code.String()),
			slog.String("lasted", r.last.Sub(r.since).Round(time.Millisecond).String()))
	}
	if r.active = r.now > 0; r.active {
		time.AfterFunc(failureInterval, func() { f.sumUp(r, level) })
	}
	r.now, r.lines, r.omitted = 0, 0, 0
	r.mu.Unlock()
	if message != "" && f.handler.Enabled(context.Background(), level) {
		line := slog.NewRecord(time.Now(), level, message, 0)
		line.AddAttrs(attrs...)
		_ = f.handler.Handle(context.Background(), line) // a sink that fails must not fail the call
	}
}
