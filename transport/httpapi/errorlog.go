package httpapi

import (
	"log"
	"log/slog"
	"strings"
	"time"

	"github.com/chassi-go/chassi/internal/outage"
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
	events *outage.Events
	server string
}

func newErrorLog(logger *slog.Logger, server string) *log.Logger {
	return log.New(&errorLog{events: outage.NewEvents(logger, errorLogInterval), server: server}, "", 0)
}

// Write takes one line.
func (l *errorLog) Write(line []byte) (int, error) {
	text := strings.ToValidUTF8(string(line[:min(len(line), errorLogBytes)]), "\uFFFD")
	l.events.Log(slog.LevelDebug, "net/http", "server", l.server, "text", strings.TrimSuffix(text, "\n"))
	return len(line), nil
}
