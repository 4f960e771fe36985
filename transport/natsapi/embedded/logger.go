package embedded

import (
	"fmt"
	"log/slog"
	"sync"
	"time"
)

// Limits of the server's log. They are necessary because clients can influence the text and the
// number of the lines.
const (
	maxLogText  = 512 // bytes of a line
	maxLogLines = 20  // lines per second
)

// logger forwards the log lines of the NATS server to a [slog.Logger], except debug and trace lines
// and lines beyond maxLogLines. It truncates long lines. Notices are forwarded as debug lines. A
// logger is safe for concurrent use.
type logger struct {
	*slog.Logger

	mu      sync.Mutex
	second  time.Time
	lines   int
	dropped int
}

func (l *logger) Noticef(format string, v ...any) { l.write(l.Debug, format, v) }
func (l *logger) Warnf(format string, v ...any)   { l.write(l.Warn, format, v) }
func (l *logger) Errorf(format string, v ...any)  { l.write(l.Error, format, v) }
func (l *logger) Fatalf(format string, v ...any)  { l.write(l.Error, format, v) }
func (l *logger) Debugf(string, ...any)           {}
func (l *logger) Tracef(string, ...any)           {}

func (l *logger) write(to func(string, ...any), format string, v []any) {
	dropped, ok := l.allow(time.Now())
	if !ok {
		return
	}
	if dropped > 0 {
		l.Warn("NATS server: lines of the log were dropped", "lines", dropped)
	}
	text := fmt.Sprintf(format, v...)
	if len(text) > maxLogText {
		text = text[:maxLogText] + "..."
	}
	to("NATS server: " + text)
}

// allow counts a line, and reports in ok whether the line may be written. If so, dropped is the
// number of lines that were dropped since the last allowed line.
func (l *logger) allow(now time.Time) (dropped int, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now.Sub(l.second) >= time.Second {
		l.second, l.lines = now, 0
	}
	if l.lines++; l.lines > maxLogLines {
		l.dropped++
		return 0, false
	}
	dropped, l.dropped = l.dropped, 0
	return dropped, true
}
