package natsapi

import (
	"sync"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/chassi-go/chassi"
)

// Limits of data that clients choose.
const (
	maxHeaders     = 64       // values in the headers of a request
	maxHeaderBytes = 16 << 10 // bytes in the names and values of these headers
	maxNameLength  = 64       // bytes in the name of a client
	maxLogged      = 256      // bytes of a string from a client in a log line
)

// Maximum numbers of discovery responses of an instance per second.
const (
	maxDiscovery       = 200 // responses to all clients together
	maxDiscoveryClient = 50  // responses to one named client
)

var errHeaders = chassi.NewError(chassi.ResourceExhausted, "headers_too_large", "The headers of the message are too many or too large")

// headersFit reports whether h is within the limits maxHeaders and maxHeaderBytes.
func headersFit(h nats.Header) bool {
	values, size := 0, 0
	for key, list := range h {
		values += len(list)
		size += len(key) * len(list)
		for _, value := range list {
			size += len(value)
		}
	}
	return values <= maxHeaders && size <= maxHeaderBytes
}

// shorten returns text for a log line: if text has more than maxLogged bytes, it is truncated to
// maxLogged bytes and followed by "...".
func shorten(text string) string {
	if len(text) > maxLogged {
		return text[:maxLogged] + "..."
	}
	return text
}

// boundedError wraps an error whose text may quote the server, and truncates the text.
type boundedError struct{ error }

func (e boundedError) Error() string { return shorten(e.error.Error()) }

func (e boundedError) Unwrap() error { return e.error }

// bounded returns an error that wraps err, with its text truncated for a log line.
func bounded(err error) error { return boundedError{err} }

// meter allows at most max events per second in total, and at most maxClient events per second of
// each named client. It is safe for concurrent use.
type meter struct {
	max, maxClient int

	mu     sync.Mutex
	second time.Time
	count  int
	counts map[string]int // events by client; at most max entries
}

// allow reports whether another event of client is allowed, and counts the event if so. client is
// "" for an anonymous client.
func (m *meter) allow(client string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if now := time.Now(); now.Sub(m.second) >= time.Second {
		m.second, m.count, m.counts = now, 0, make(map[string]int)
	}
	if m.count >= m.max || client != "" && m.counts[client] >= m.maxClient {
		return false
	}
	m.count++
	m.counts[client]++
	return true
}
