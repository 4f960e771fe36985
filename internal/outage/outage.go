// Package outage limits log lines about repeated failures. [Log] writes at most one line at the
// beginning and one at the end of an outage of a dependency. [Events] writes each message at most
// once per interval.
package outage

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// maxOutages is the maximum number of outages that a [Log] logs within each period of the length
// window.
const maxOutages, window = 6, time.Minute

// interval is the default interval of [NewEvents].
const interval = 10 * time.Second

// Log logs the beginning and the end of the outages of one dependency. It is safe for
// concurrent use. Without an outage, a call of Succeeded costs one atomic load.
type Log struct {
	logger       *slog.Logger
	level        slog.Level
	began, ended string

	down atomic.Bool

	mu       sync.Mutex
	since    time.Time // start of the current outage
	failures int       // failures in the current outage
	logged   bool      // whether the start of the current outage was logged
	window   time.Time // start of the current window
	outages  int       // outages logged in the current window
	broken   int       // parts that currently fail
}

// New returns a Log that logs the beginning of an outage at the given level, with the argument
// began as the message, and the end at level INFO, with the argument ended as the message. The
// attributes of logger should name the dependency.
func New(logger *slog.Logger, level slog.Level, began, ended string) *Log {
	return &Log{logger: logger, level: level, began: began, ended: ended}
}

// Down reports whether an outage is in progress.
func (l *Log) Down() bool { return l.down.Load() }

// Failed records a failure, which begins an outage unless one is in progress. The first failure of
// an outage is logged with err and the attributes args. At most six outages are logged in each
// minute, which begins with the first failure after the previous minute has passed. A further
// outage is logged at its first failure after that minute, if it still lasts. Failed must be called
// for every failure.
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

// Succeeded records a success, which ends the outage in progress, if there is one. If the beginning
// of the outage was logged, Succeeded logs the end with the duration, the number of failures and
// the attributes args.
func (l *Log) Succeeded(args ...any) {
	if !l.down.Load() {
		return
	}
	l.mu.Lock()
	l.end(args)
}

// end ends the outage as Succeeded does. The caller holds l.mu, which end releases.
func (l *Log) end(args []any) {
	due := l.down.Load() && l.logged
	lasted, failures := time.Since(l.since), l.failures
	l.down.Store(false)
	l.mu.Unlock()
	if due {
		l.logger.Info(l.ended, append([]any{"lasted", lasted.Round(time.Millisecond).String(), "failures", failures}, args...)...)
	}
}

// Part records the failures and successes of one of several parts of a dependency, such as one of
// two connections. An outage of the dependency begins when the first part fails, and ends when no
// part fails.
type Part struct {
	log    *Log
	broken bool
}

// Part returns a new Part of l.
func (l *Log) Part() *Part { return &Part{log: l} }

// Failed records a failure of the part and logs it under the conditions of [Log.Failed].
func (p *Part) Failed(err error, args ...any) {
	p.log.mu.Lock()
	if !p.broken {
		p.broken = true
		p.log.broken++
	}
	p.log.mu.Unlock()
	p.log.Failed(err, args...)
}

// Succeeded records a success of the part. If no other part fails, it ends the outage as
// [Log.Succeeded] does.
func (p *Part) Succeeded(args ...any) {
	p.log.mu.Lock()
	if p.broken {
		p.broken = false
		p.log.broken--
	}
	if p.log.broken > 0 {
		p.log.mu.Unlock()
		return
	}
	p.log.end(args) // in the same critical section: no other part fails in between
}

// Events logs each message at most once per interval, with the number of times that the message was
// omitted since it was last logged. It is intended for events that clients or a broken dependency
// can cause at any rate. Messages must be constants, because Events stores each of them forever.
// Events is safe for concurrent use.
type Events struct {
	logger *slog.Logger
	every  time.Duration

	mu   sync.Mutex
	seen map[string]*event
}

type event struct {
	last    time.Time // time of the last line
	omitted int       // lines omitted since last
}

// NewEvents returns Events that log each message to logger at most once in the time every. If every
// is 0 or negative, this time is ten seconds.
func NewEvents(logger *slog.Logger, every time.Duration) *Events {
	if every <= 0 {
		every = interval
	}
	return &Events{logger: logger, every: every, seen: make(map[string]*event)}
}

// Log logs msg at the given level, unless it has logged msg within the interval. The line has the
// attributes args and "omitted", the number of times that msg was omitted since it was last logged.
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
