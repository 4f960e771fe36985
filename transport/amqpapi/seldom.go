package amqpapi

import (
	"log/slog"
	"sync"
	"time"
)

// seldom logs each message at most once in an interval, with how often it came since,
// so that no client can fill the log. Messages are constants.
type seldom struct {
	logger *slog.Logger

	mu   sync.Mutex
	last map[string]*logged
}

type logged struct {
	at     time.Time
	missed int
}

const seldomInterval = 10 * time.Second

// maxLogged bounds a text of a client in a log.
const maxLogged = 100

func (s *seldom) warn(msg string, args ...any) {
	s.mu.Lock()
	if s.last == nil {
		s.last = make(map[string]*logged)
	}
	l := s.last[msg]
	if l == nil {
		l = new(logged)
		s.last[msg] = l
	}
	now := time.Now()
	if now.Sub(l.at) < seldomInterval {
		l.missed++
		s.mu.Unlock()
		return
	}
	missed := l.missed
	l.at, l.missed = now, 0
	s.mu.Unlock()
	s.logger.Warn(msg, append(args, "not_logged_before", missed)...)
}

// short cuts a text of a client for the log.
func short(text string) string {
	if len(text) > maxLogged {
		return text[:maxLogged] + "..."
	}
	return text
}
