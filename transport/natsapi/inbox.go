package natsapi

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"

	"github.com/nats-io/nats.go"
)

// inbox receives the answers to all requests of a connection. It is used instead of the
// client library's own, which draws the names of its inboxes from a generator seeded with
// the time: who has seen two of them can compute the next, and have a forged answer wait
// there. Here the inbox and each request have 128 random bits from crypto/rand. It is safe
// for concurrent use.
type inbox struct {
	conn   *nats.Conn
	prefix string // of all reply subjects: the inbox with a dot behind it
	max    int    // requests that wait

	mu      sync.Mutex
	waiting map[string]chan *nats.Msg // by reply subject; nil once it is closed
}

var errTooManyInFlight = errors.New("too many calls wait for an answer")

// newInbox subscribes to an inbox below prefix.
func newInbox(conn *nats.Conn, prefix string, maxWaiting int) (*inbox, error) {
	b := &inbox{conn: conn, prefix: prefix + "." + rand.Text() + ".", max: maxWaiting, waiting: make(map[string]chan *nats.Msg)}
	if _, err := conn.Subscribe(b.prefix+"*", b.receive); err != nil {
		return nil, fmt.Errorf("natsapi: subscribe to the inbox: %w", err)
	}
	return b, nil
}

// receive hands an answer to its request. One that comes too late, or again, is dropped.
func (b *inbox) receive(m *nats.Msg) {
	if answer := b.take(m.Subject); answer != nil {
		answer <- m // it has room for one
	}
}

func (b *inbox) take(reply string) chan *nats.Msg {
	b.mu.Lock()
	defer b.mu.Unlock()
	answer := b.waiting[reply]
	delete(b.waiting, reply)
	return answer
}

// request sends m and returns its answer. It returns nats.ErrNoResponders if nobody serves
// m's subject, ctx's error if ctx ends first, and nats.ErrConnectionClosed after close.
func (b *inbox) request(ctx context.Context, m *nats.Msg) (*nats.Msg, error) {
	if err := ctx.Err(); err != nil {
		return nil, err //nolint:wrapcheck // says enough
	}
	m.Reply = b.prefix + rand.Text()
	answer := make(chan *nats.Msg, 1)
	if err := b.expect(m.Reply, answer); err != nil {
		return nil, err
	}
	if err := b.conn.PublishMsg(m); err != nil {
		b.take(m.Reply)
		return nil, err //nolint:wrapcheck // the caller looks at it
	}
	select {
	case got, ok := <-answer:
		switch {
		case !ok:
			return nil, nats.ErrConnectionClosed
		case len(got.Data) == 0 && got.Header.Get("Status") == "503":
			return nil, nats.ErrNoResponders
		}
		return got, nil
	case <-ctx.Done():
		b.take(m.Reply)
		return nil, ctx.Err() //nolint:wrapcheck // says enough
	}
}

func (b *inbox) expect(reply string, answer chan *nats.Msg) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.waiting == nil:
		return nats.ErrConnectionClosed
	case len(b.waiting) >= b.max:
		return errTooManyInFlight
	}
	b.waiting[reply] = answer
	return nil
}

// len returns how many requests wait.
func (b *inbox) len() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.waiting)
}

// close ends the requests that wait.
func (b *inbox) close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, answer := range b.waiting {
		close(answer)
	}
	b.waiting = nil
}
