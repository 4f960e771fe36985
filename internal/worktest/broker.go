package worktest

import (
	"context"
	"testing"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/transport"
)

// Broker provides access to a message broker under test. Its functions are called by parallel
// tests, each of which may use several queues.
type Broker struct {
	// Server returns a server that has not been started.
	Server func(t *testing.T, o Options) Server
	// Publisher returns a publisher for the queue q.
	Publisher func(t *testing.T, o Options, q transport.Queue, middleware ...chassi.Middleware) Publisher
	// Produce publishes a message to a queue as a program in another language does: with a plain
	// client of the broker, as docs/guide/messages.md describes.
	Produce func(t *testing.T, prefix, queue string, m Produced)
	// DeadLetters waits for n dead letters of a queue and returns them.
	DeadLetters func(t *testing.T, prefix, queue string, n int) []Letter
	// Left returns the number of messages in a queue. While no server runs, the number includes all
	// unacknowledged messages.
	Left func(t *testing.T, prefix, queue string) int

	MaxBytes int  // the maximum size in bytes of a message without headers that the broker accepts
	Dedupes  bool // whether the broker drops a message that has the ID of an earlier message
	// Proxy returns the address of a proxy in front of the broker, and the proxy itself. The field
	// is nil if connections cannot be cut.
	Proxy func(t *testing.T) (addr string, p Proxy)
}

// Options configures servers and publishers.
type Options struct {
	Prefix        string
	Addr          string // the address of a proxy; "" means the broker itself
	MaxConcurrent int    // the maximum number of concurrent jobs; 0 means 8
}

// Server is a transport that processes the messages of work queues. Consume makes it call e with
// each message of q.
type Server interface {
	chassi.Transport
	Consume(q transport.Queue, e *chassi.Endpoint) error
}

// Publisher publishes messages to one queue. Publish publishes request, a request of e, with the
// message ID id.
type Publisher interface {
	Publish(ctx context.Context, e *chassi.Endpoint, id string, request any) error
}

// Proxy is a proxy in front of the broker. Open makes it accept connections. Cut closes all
// connections and makes it refuse new ones.
type Proxy interface {
	Open()
	Cut()
}

// Produced is a message that a plain client publishes.
type Produced struct {
	ID      string
	Headers map[string]string
	Body    string
}

// Letter is a dead letter of a queue.
type Letter struct {
	ID, Body string
	Headers  map[string]string
}
