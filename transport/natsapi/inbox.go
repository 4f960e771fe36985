package natsapi

import (
	"context"
	"crypto/rand"
	"fmt"
	"maps"
	"slices"
	"sync"

	"github.com/nats-io/nats.go"

	"github.com/chassi-go/chassi/internal/broker"
)

// inbox receives the responses to all requests of a connection, and the messages of its streams. It
// replaces the inbox of the client library, whose names come from a generator seeded with the time:
// from two names, an attacker can compute the next name, and send a forged response to it in
// advance. Here, the name of the inbox and the name of each request have 128 random bits from
// crypto/rand. An inbox is safe for concurrent use.
type inbox struct {
	conn   *nats.Conn
	prefix string // prefix of all reply subjects: the name of the inbox and a dot
	max    int    // maximum number of waiting requests and streams

	mu      sync.Mutex
	waiting map[string]chan *nats.Msg // waiting requests by reply subject; nil once the inbox is closed
	streams map[string]*incoming      // streams by reply subject
}

// newInbox subscribes to an inbox with a random name below prefix, and returns the inbox.
// maxWaiting is the maximum number of waiting requests and streams.
func newInbox(conn *nats.Conn, prefix string, maxWaiting int) (*inbox, error) {
	b := &inbox{
		conn: conn, prefix: prefix + "." + rand.Text() + ".", max: maxWaiting,
		waiting: make(map[string]chan *nats.Msg), streams: make(map[string]*incoming),
	}
	if _, err := conn.Subscribe(b.prefix+"*", b.receive); err != nil {
		return nil, fmt.Errorf("natsapi: subscribe to the inbox: %w", err)
	}
	return b, nil
}

// receive delivers a response to its request, or a message to its stream. A late or repeated
// response is dropped. receive must not block, because it handles all responses of the connection.
func (b *inbox) receive(m *nats.Msg) {
	b.mu.Lock()
	response, stream := b.waiting[m.Subject], b.streams[m.Subject]
	delete(b.waiting, m.Subject)
	b.mu.Unlock()
	switch {
	case response != nil:
		response <- m // buffered
	case stream != nil:
		stream.receive(m)
	}
}

// giveUp ends the wait for the response with the subject reply.
func (b *inbox) giveUp(reply string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.waiting, reply)
}

// request sends m and returns its response. The error is nats.ErrNoResponders if there is no server
// for m's subject, ctx.Err() if ctx is done first, nats.ErrConnectionClosed after close,
// [broker.ErrTooManyCalls] if there are too many waiting requests and streams, or the error of
// publishing m.
func (b *inbox) request(ctx context.Context, m *nats.Msg) (*nats.Msg, error) {
	if err := ctx.Err(); err != nil {
		return nil, err //nolint:wrapcheck // says enough
	}
	m.Reply = b.prefix + rand.Text()
	response := make(chan *nats.Msg, 1)
	if err := b.expect(m.Reply, response); err != nil {
		return nil, err
	}
	if err := b.conn.PublishMsg(m); err != nil {
		b.giveUp(m.Reply)
		return nil, err //nolint:wrapcheck // the caller looks at it
	}
	select {
	case got, ok := <-response:
		switch {
		case !ok:
			return nil, nats.ErrConnectionClosed
		case len(got.Data) == 0 && got.Header.Get("Status") == "503":
			return nil, nats.ErrNoResponders
		}
		return got, nil
	case <-ctx.Done():
		b.giveUp(m.Reply)
		return nil, ctx.Err() //nolint:wrapcheck // says enough
	}
}

func (b *inbox) expect(reply string, response chan *nats.Msg) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.waiting == nil:
		return nats.ErrConnectionClosed
	case len(b.waiting)+len(b.streams) >= b.max:
		return broker.ErrTooManyCalls
	}
	b.waiting[reply] = response
	return nil
}

// listen delivers messages with the subject reply to s until unlisten is called. It returns an
// error after close, or if there are too many waiting requests and streams.
func (b *inbox) listen(reply string, s *incoming) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.waiting == nil:
		return nats.ErrConnectionClosed
	case len(b.waiting)+len(b.streams) >= b.max:
		return broker.ErrTooManyCalls
	}
	b.streams[reply] = s
	return nil
}

func (b *inbox) unlisten(reply string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.streams, reply)
}

// breakStreams ends all streams with err. It is called when messages may have been lost.
func (b *inbox) breakStreams(err error) {
	b.mu.Lock()
	streams := slices.Collect(maps.Values(b.streams))
	b.mu.Unlock()
	for _, s := range streams {
		s.fail(err)
	}
}

// len returns the total number of waiting requests and streams.
func (b *inbox) len() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.waiting) + len(b.streams)
}

// close ends the waiting requests and the streams with [nats.ErrConnectionClosed].
func (b *inbox) close() {
	b.breakStreams(nats.ErrConnectionClosed)
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, response := range b.waiting {
		close(response)
	}
	b.waiting = nil
}
