package transport

import (
	"errors"
	"log/slog"
	"net"
	"time"
)

// acceptPause is the least time between two reports that connections cannot be accepted.
const acceptPause = 10 * time.Second

// WatchAccept returns l, which logs when it cannot accept connections, such as for want of
// file descriptors, and when it can again. Its errors are passed on: servers wait a
// moment and go on.
func WatchAccept(l net.Listener, server string, logger *slog.Logger) net.Listener {
	return &watchedListener{Listener: l, server: server, logger: logger}
}

// watchedListener is used by one goroutine, that which accepts.
type watchedListener struct {
	net.Listener

	server string
	logger *slog.Logger
	since  time.Time // of the failure that was logged, zero for none
	last   time.Time // when one was logged
}

// Accept implements [net.Listener].
func (l *watchedListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	switch now := time.Now(); {
	case err == nil && !l.since.IsZero():
		l.logger.Info("connections are accepted again", "server", l.server, "after", now.Sub(l.since).Round(time.Millisecond).String())
		l.since = time.Time{}
	case err != nil && !errors.Is(err, net.ErrClosed) && l.since.IsZero() && now.Sub(l.last) >= acceptPause:
		l.logger.Error("connections cannot be accepted", "server", l.server, "error", err.Error())
		l.since, l.last = now, now
	}
	return c, err //nolint:wrapcheck // servers look at its type
}
