// Package outage logs what fails repeatedly without filling the log: an outage of a
// dependency has one line at its beginning and one at its end, and events that clients can
// cause at will have one line in an interval.
package outage

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// A dependency that comes and goes has the lines of this many outages in a minute.
const maxOutages, window = 6, time.Minute

// interval is the default of NewEvents.
const interval = 10 * time.Second

// Log logs the beginning and the end of the outages of one dependency. It is safe for
// concurrent use, and costs an atomic load while all is well.
type Log struct {
	logger       *slog.Logger
	level        slog.Level
	began, ended string

	down atomic.Bool

	mu       sync.Mutex
	since    time.Time // of the current outage
	failures int       // in it
	logged   bool      // whether its beginning was logged
	window   time.Time // when the minute began in which
	outages  int       // so many were logged
}

// New returns a Log that writes the message began at the given level and ended at INFO.
// Logger has the attributes that name the dependency.
func New(logger *slog.Logger, level slog.Level, began, ended string) *Log {
	return &Log{logger: logger, level: level, began: began, ended: ended}
}

// Down reports whether there is an outage now.
func (l *Log) Down() bool { return l.down.Load() }

// Failed notes a failure and logs the first one of an outage. If six outages have been
// logged within a minute, the first failure after that minute is logged instead. Callers
// report every failure.
func (l *Log) Failed(err error, args ...any) {
	l.mu.Lock()
	now := time.Now()
	if !l.down.Load() {
		l.since, l.failures, l.logged = now, 0, false
		l.down.Store(true)
	}
	l.failures++
	if now.Sub(l.window) >= window {
		l.window, l.outages = now, 0
	}
	due := !l.logged && l.outages < maxOutages
	if due {
		l.logged = true
		l.outages++
	}
	l.mu.Unlock()
	if due {
		l.logger.Log(context.Background(), l.level, l.began, append([]any{"error", err.Error()}, args...)...)
	}
}

// Succeeded notes the end of an outage, if there is one, and logs it if the beginning was
// logged.
func (l *Log) Succeeded(args ...any) {
	if !l.down.Load() {
		return
	}
	l.mu.Lock()
	due := l.down.Load() && l.logged
	lasted, failures := time.Since(l.since), l.failures
	l.down.Store(false)
	l.mu.Unlock()
	if due {
		l.logger.Info(l.ended, append([]any{"lasted", lasted.Round(time.Millisecond).String(), "failures", failures}, args...)...)
	}
}

// Events logs each message at most once in an interval, with how often it came since, so
// that what clients or a broken dependency can cause at will does not fill the log. Messages
// are constants. It is safe for concurrent use.
type Events struct {
	logger *slog.Logger
	every  time.Duration

	mu   sync.Mutex
	seen map[string]*event
}

type event struct {
	last    time.Time // when it was logged
	omitted int       // since then
}

// NewEvents returns Events that log each message once in every; 0 means ten seconds.
func NewEvents(logger *slog.Logger, every time.Duration) *Events {
	if every <= 0 {
		every = interval
	}
	return &Events{logger: logger, every: every, seen: make(map[string]*event)}
}

// Log logs msg with args and "omitted", the number of times that it was not logged before,
// unless it was logged within the interval.
func (e *Events) Log(level slog.Level, msg string, args ...any) {
	if !e.logger.Enabled(context.Background(), level) {
		return
	}
	if omitted, ok := e.due(msg); ok {
		e.logger.Log(context.Background(), level, msg, append(args, "omitted", omitted)...)
	}
}

func (e *Events) due(msg string) (omitted int, ok bool) {
	e.mu.Lock()
	defer e.mu.Unlock()
	one := e.seen[msg]
	if one == nil {
		one = new(event)
		e.seen[msg] = one
	}
	now := time.Now()
	if now.Sub(one.last) < e.every {
		one.omitted++
		return 0, false
	}
	omitted, one.omitted, one.last = one.omitted, 0, now
	return omitted, true
}
