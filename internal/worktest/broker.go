package worktest

import (
	"context"
	"testing"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/transport"
)

// Broker is a message broker under test. Each function supports any number of queues.
type Broker struct {
	// Server returns a server that has not been started.
	Server func(t *testing.T, o Options) Server
	// Publisher returns a publisher for a queue.
	Publisher func(t *testing.T, o Options, q transport.Queue, middleware ...chassi.Middleware) Publisher
	// Produce publishes a message to a queue like a program in another language: with a plain
	// client of the broker, following docs/guide/messages.md.
	Produce func(t *testing.T, prefix, queue string, m Produced)
	// DeadLetters waits for n dead letters of a queue and returns them.
	DeadLetters func(t *testing.T, prefix, queue string, n int) []Letter
	// Left returns the number of messages in a queue. While no server runs, this includes all
	// unacknowledged messages.
	Left func(t *testing.T, prefix, queue string) int

	MaxBytes int  // the maximum size of a message without headers, which the broker accepts
	Dedupes  bool // whether the broker drops a message with the id of another
	// Proxy returns a proxy of the broker; nil if connections cannot be cut.
	Proxy func(t *testing.T) (addr string, p Proxy)
}

// Options configures servers and publishers.
type Options struct {
	Prefix        string
	Addr          string // of a proxy; "" is the broker itself
	MaxConcurrent int    // 0 is 8
}

// Server is a server with work queues.
type Server interface {
	chassi.Transport
	Consume(q transport.Queue, e *chassi.Endpoint) error
}

// Publisher publishes to one queue.
type Publisher interface {
	Publish(ctx context.Context, e *chassi.Endpoint, id string, request any) error
}

// Proxy is a proxy of the broker whose connections can be interrupted.
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

// Letter is a dead letter.
type Letter struct {
	ID, Body string
	Headers  map[string]string
}
