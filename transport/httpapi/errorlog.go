package httpapi

import (
	"log"
	"log/slog"
	"strings"
	"time"

	"github.com/chassi-go/chassi/internal/outage"
)

const (
	// errorLogInterval is the minimum time between two log lines of net/http.
	errorLogInterval = time.Second
	// errorLogBytes is the maximum length in bytes of a message of net/http in a log line. Such a
	// message may quote data of clients.
	errorLogBytes = 512
)

// errorLog logs the messages of net/http, such as one about a failed handshake, at level DEBUG.
// Clients can cause any number of such messages, so errorLog logs at most one message per
// errorLogInterval, with the number of messages omitted.
type errorLog struct {
	events *outage.Events
	server string
}

func newErrorLog(logger *slog.Logger, server string) *log.Logger {
	return log.New(&errorLog{events: outage.NewEvents(logger, errorLogInterval), server: server}, "", 0)
}

// Write implements [io.Writer]. It logs the message in line, or counts it as omitted.
func (l *errorLog) Write(line []byte) (int, error) {
	text := strings.ToValidUTF8(string(line[:min(len(line), errorLogBytes)]), "\uFFFD")
	l.events.Log(slog.LevelDebug, "net/http", "server", l.server, "text", strings.TrimSuffix(text, "\n"))
	return len(line), nil
}
