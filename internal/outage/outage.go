// Package outage limits log lines about repeated failures: an outage of a dependency has one
// line at its beginning and one at its end, and events that clients can cause have one line per
// interval.
package outage

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"
)

// maxOutages is the maximum number of outages logged in a window.
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
	since    time.Time // of the current outage
	failures int       // in it
	logged   bool      // whether its beginning was logged
	window   time.Time // start of the current minute
	outages  int       // outages logged in this minute
	broken   int       // parts that currently fail
}

// New returns a Log that writes the message began at the given level, and ended at INFO. The
// attributes of logger name the dependency.
func New(logger *slog.Logger, level slog.Level, began, ended string) *Log {
	return &Log{logger: logger, level: level, began: began, ended: ended}
}

// Down reports whether there is an outage.
func (l *Log) Down() bool { return l.down.Load() }

// Failed records a failure and logs the first one of an outage. After six logged outages within
// a minute, the next line is written only after that minute. It must be called for every
// failure.
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

// Succeeded records the end of an outage, if there is one, and logs it if the beginning was
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

// Part records failures of one of several parts of a dependency, such as one of two
// connections. The outage lasts from the failure of the first part until no part fails.
type Part struct {
	log    *Log
	broken bool
}

// Part returns a new Part of l.
func (l *Log) Part() *Part { return &Part{log: l} }

// Failed records a failure, see [Log.Failed].
func (p *Part) Failed(err error, args ...any) {
	p.log.mu.Lock()
	if !p.broken {
		p.broken = true
		p.log.broken++
	}
	p.log.mu.Unlock()
	p.log.Failed(err, args...)
}

// Succeeded records a success of the part, see [Log.Succeeded].
func (p *Part) Succeeded(args ...any) {
	p.log.mu.Lock()
	if p.broken {
		p.broken = false
		p.log.broken--
	}
	over := p.log.broken == 0
	p.log.mu.Unlock()
	if over {
		p.log.Succeeded(args...)
	}
}

// Events logs each message at most once per interval, with the number of omitted ones, for
// events that clients or a broken dependency can cause at any rate. Messages must be constants.
// It is safe for concurrent use.
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

// NewEvents returns Events with the interval every; 0 means ten seconds.
func NewEvents(logger *slog.Logger, every time.Duration) *Events {
	if every <= 0 {
		every = interval
	}
	return &Events{logger: logger, every: every, seen: make(map[string]*event)}
}

// Log logs msg with args and "omitted", the number of omitted lines with this message, unless
// the message was logged within the interval.
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
