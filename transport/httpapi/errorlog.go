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
	// errorLogBytes is the maximum length of the text of net/http in a log line, which quotes
	// data of clients.
	errorLogBytes = 512
)

// errorLog logs the messages of net/http that concern no call, such as a failed handshake, at
// level DEBUG. Clients cause these outside of all limits, so it logs one per interval, with the
// number of omitted ones.
type errorLog struct {
	events *outage.Events
	server string
}

func newErrorLog(logger *slog.Logger, server string) *log.Logger {
	return log.New(&errorLog{events: outage.NewEvents(logger, errorLogInterval), server: server}, "", 0)
}

// Write logs one message.
func (l *errorLog) Write(line []byte) (int, error) {
	text := strings.ToValidUTF8(string(line[:min(len(line), errorLogBytes)]), "\uFFFD")
	l.events.Log(slog.LevelDebug, "net/http", "server", l.server, "text", strings.TrimSuffix(text, "\n"))
	return len(line), nil
}
