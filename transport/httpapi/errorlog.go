package httpapi

import (
	"context"
	"log"
	"log/slog"
	"strings"
	"sync"
	"time"
)

const (
	// errorLogInterval is the least time between two lines of net/http.
	errorLogInterval = time.Second
	// errorLogBytes is the most that a line of net/http has of its text, which quotes what
	// clients sent.
	errorLogBytes = 512
)

// errorLog takes what net/http says that concerns no call, such as a failed handshake, as
// debug lines. Clients cause these outside of all limits of calls, so it logs one in an
// interval and how many it left out since the one before.
type errorLog struct {
	logger *slog.Logger
	server string

	mu      sync.Mutex
	next    time.Time
	omitted int
}

func newErrorLog(logger *slog.Logger, server string) *log.Logger {
	return log.New(&errorLog{logger: logger, server: server}, "", 0)
}

// Write takes one line.
func (l *errorLog) Write(line []byte) (int, error) {
	if omitted, ok := l.due(time.Now()); ok && l.logger.Enabled(context.Background(), slog.LevelDebug) {
		text := strings.ToValidUTF8(string(line[:min(len(line), errorLogBytes)]), "\uFFFD")
		l.logger.Debug("net/http", "server", l.server, "text", strings.TrimSuffix(text, "\n"), "omitted", omitted)
	}
	return len(line), nil
}

func (l *errorLog) due(now time.Time) (omitted int, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if now.Before(l.next) {
		l.omitted++
		return 0, false
	}
	omitted, l.omitted, l.next = l.omitted, 0, now.Add(errorLogInterval)
	return omitted, true
}
