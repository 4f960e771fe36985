package transport

import (
	"errors"
	"log/slog"
	"net"
	"time"
)

// acceptPause is the minimum time between two log lines about failures to accept connections.
const acceptPause = 10 * time.Second

// WatchAccept returns a listener that accepts connections from l, and logs when l fails to accept
// connections, for example for lack of file descriptors, and when l accepts connections again. The
// argument server is the name of the server in the log. Failures are logged at most once every 10
// seconds. The listener returns the errors of l unchanged, so that servers can retry. Only one
// goroutine may call its method Accept.
func WatchAccept(l net.Listener, server string, logger *slog.Logger) net.Listener {
	return &watchedListener{Listener: l, server: server, logger: logger}
}

// watchedListener logs when the embedded listener fails to accept connections, and when that
// listener accepts connections again. Only one goroutine may call Accept.
type watchedListener struct {
	net.Listener

	server string
	logger *slog.Logger
	since  time.Time // time of the logged failure; zero while no logged failure persists
	last   time.Time // time of the latest log line about a failure
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
