package event

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/chassi-go/chassi/transport"
)

// Message is an event on its way through a broker.
type Message struct {
	ID       string // that of the event; if a replay sends it again, behind the id of that and "/"
	Topic    string
	Position string // of a received message, see [Backend]
	Headers  transport.Pairs
	Body     []byte

	row         int64 // of the outbox
	key, target string
}

// Headers of a message.
const (
	keyHeader    = "Event-Key"    // the key of the event, percent-encoded as in a query
	targetHeader = "Event-Target" // the only subscription that receives the message
)

// maxID is the maximum length of an id in bytes.
const maxID = 100

// address sets the headers of a message that is sent.
func (m *Message) address() {
	if m.key != "" {
		m.Headers.Set(keyHeader, url.QueryEscape(m.key))
	}
	if m.target != "" {
		m.Headers.Set(targetHeader, m.target)
	}
}

// read reads the headers of a received message. It returns an error for one that no program of
// this version sends, and that could not be stored.
func (m *Message) read() (err error) {
	m.target = m.Headers.Get(targetHeader)
	if m.key, err = url.QueryUnescape(m.Headers.Get(keyHeader)); err != nil {
		return fmt.Errorf("the key: %w", err)
	}
	switch {
	case m.ID == "" || len(m.ID) > maxID || !transport.IsMetadataValue(m.ID):
		return fmt.Errorf("the id %.200q: want 1 to %d printable ASCII characters", m.ID, maxID)
	case !validKey(m.key):
		return fmt.Errorf("the key %.200q: want at most %d bytes of UTF-8 without NUL", m.key, maxKey)
	case len(m.Body) > MaxBody:
		return fmt.Errorf("a body of %d bytes, more than %d", len(m.Body), MaxBody)
	}
	return transport.CheckMetadata(&m.Headers)
}

// maxKey is the maximum length of a key in bytes.
const maxKey = 200

func validKey(key string) bool {
	return len(key) <= maxKey && utf8.ValidString(key) && !strings.ContainsRune(key, 0)
}

// ErrPosition means that the stored position of a subscription is invalid.
var ErrPosition = errors.New("invalid position")

// Backend delivers messages through a broker, with their ids, headers and bodies. Headers have
// printable ASCII.
//
// A position is where a subscription is in the messages of its topic. It is stored with the
// messages, in one transaction, so that the next Receive continues behind them. A broker that
// keeps the position of a subscription itself has only the position "".
type Backend interface {
	// Publish returns after the broker has stored the messages, with the error of each. It must
	// keep the order of messages that were passed to different calls.
	Publish(ctx context.Context, messages []Message) []error
	// Declare creates what the subscription needs, so that it receives what is published from now
	// on, and returns its position. It may be called again, with the position that is stored; the
	// error wraps [ErrPosition] if that is not a position of this broker.
	Declare(ctx context.Context, topic, subscription, position string) (string, error)
	// Receive receives the messages of a subscription behind the position, in order, until ctx
	// ends or the connection is lost. It passes batches of [Gather] to deliver, and acknowledges a
	// batch after deliver has returned nil; after an error it returns that error. One node at a
	// time calls it for a subscription.
	Receive(ctx context.Context, topic, subscription, position string, deliver func(context.Context, []Message) error) error
	// Close ends the connections.
	Close()
}

const (
	// BatchSize is the maximum number of messages that [Gather] returns.
	BatchSize = 100
	// gatherTime is how long a batch waits for another message.
	gatherTime = time.Millisecond
)

var errClosed = errors.New("event: the broker has ended the delivery")

// Gather waits for a message and returns it with those that follow at once. Its error is the
// cause of the end of ctx, or that received was closed. It is for implementations of [Backend].
func Gather[M any](ctx context.Context, received <-chan M) (batch []M, err error) {
	var pause <-chan time.Time
	for len(batch) < BatchSize {
		select {
		case m, open := <-received:
			if !open {
				return nil, errClosed
			}
			batch = append(batch, m)
			pause = time.After(gatherTime)
		case <-pause:
			return batch, nil
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	return batch, nil
}
