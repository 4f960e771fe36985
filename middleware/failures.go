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
	// maxFaultLines is the maximum number of lines at ERROR for one code per interval. It is more
	// than 1 because the causes of the errors may differ.
	maxFaultLines = 10
)

// refusal is the cause of the error of a deliberately refused call, which [Logging] logs at INFO.
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

// levelOf returns the log level of a call that ended with err: ERROR for a server error; WARN if a
// dependency is unavailable, or if the call timed out on a client or before the caller's context
// ctx was done; and INFO for any other result, including a deliberate refusal ([isRefusal]).
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
	message string // of the log lines of the calls
	byCode  [int(chassi.Unauthenticated) + 1]failureRun
}

// failureRun is a period in which calls fail with the same code.
type failureRun struct {
	mu       sync.Mutex
	active   bool
	since    time.Time // start of the period
	last     time.Time // time of the last failure
	total    int       // failures in the period
	now      int       // failures in the current interval
	lines    int       // failures of the interval that were logged at their own level
	omitted  int       // failures of the interval that were logged at INFO instead
	summed   bool      // whether a summary was logged in the period
	lastSeen error     // error of the last failure
}

// level counts a failed call and returns the level for its line. It returns own for the first
// failure of a period and, if own is ERROR, for up to maxFaultLines failures per interval. It
// returns INFO for all other failures; a summary line then reports the number of failed calls.
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

// sumUp ends an interval of r. If failures of the interval were logged at INFO instead of
// their own level, it logs the number of failed calls at the given level. In the first
// interval without a failure after such a summary, it logs at INFO that the calls no longer fail.
func (f *failures) sumUp(r *failureRun, level slog.Level) {
	r.mu.Lock()
	message, attrs := "", []slog.Attr{slog.Int("failed", r.now), slog.Int("failed_in_all", r.total)}
	switch {
	case r.omitted > 0:
		message, r.summed = f.message+"s fail", true
		attrs = append(attrs, slog.String("interval", failureInterval.String()), slog.Any("last_error", chassi.ErrorOf(r.lastSeen)))
	case r.now == 0 && r.summed:
		message, level = f.message+"s no longer fail", slog.LevelInfo
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
