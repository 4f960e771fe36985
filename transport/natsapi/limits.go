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
	maxHeaderBytes = 16 << 10 // of their names and values
	maxNameLength  = 64       // of a client
	maxLogged      = 256      // bytes of a client's text in a log line
)

// Maximum rate of discovery responses of an instance, per second.
const (
	maxDiscovery       = 200 // to all clients
	maxDiscoveryClient = 50  // to one client that has a name
)

var errHeaders = chassi.NewError(chassi.ResourceExhausted, "headers_too_large", "The message has too many headers or too large ones")

// headersFit reports whether h is within the limits.
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

// shorten truncates text for a log line.
func shorten(text string) string {
	if len(text) > maxLogged {
		return text[:maxLogged] + "..."
	}
	return text
}

// boundedError is an error with truncated text, which may quote the server.
type boundedError struct{ error }

func (e boundedError) Error() string { return shorten(e.error.Error()) }

func (e boundedError) Unwrap() error { return e.error }

// bounded returns err with its text truncated for a log line.
func bounded(err error) error { return boundedError{err} }

// meter allows max events per second in total, and maxClient per named client. It is safe for
// concurrent use.
type meter struct {
	max, maxClient int

	mu     sync.Mutex
	second time.Time
	count  int
	counts map[string]int // at most max clients
}

// allow reports whether another event of client is allowed, and counts it if so. Client is "" for
// an anonymous client.
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
