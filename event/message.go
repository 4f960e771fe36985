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
	ID       string // the id of the event; in a replay the id of the replay, "/" and the id of the event
	Topic    string
	Position string // of a received message, see [Backend]
	Headers  transport.Pairs
	Body     []byte

	row         int64 // id in the outbox
	key, target string
}

// Headers of a message.
const (
	keyHeader    = "Event-Key"    // the key of the event, percent-encoded as in a query
	targetHeader = "Event-Target" // the only subscription that receives the message
)

// maxID is the maximum length of the id of a received message in bytes.
const maxID = 100

// address sets the headers that contain the key and the target of a message, before it is sent.
func (m *Message) address() {
	if m.key != "" {
		m.Headers.Set(keyHeader, url.QueryEscape(m.key))
	}
	if m.target != "" {
		m.Headers.Set(targetHeader, m.target)
	}
}

// read sets the key and the target of a received message from its headers. It returns an error for
// a message that could not be stored; no program of this version sends such a message.
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

// Backend delivers messages through a broker, with their ids, headers and bodies. Headers consist of
// printable ASCII.
//
// A position is the place of a subscription in the messages of its topic. It is stored together
// with the messages, in one transaction, so that the next Receive continues after them. If the
// broker keeps the position of a subscription itself, the position is always "".
type Backend interface {
	// Publish sends messages, and returns after the broker has stored or refused them. It returns
	// an error for each message, nil if the broker has stored it. It must keep the order of
	// messages that were passed to different calls.
	Publish(ctx context.Context, messages []Message) []error
	// Declare creates what the subscription needs at the broker, so that it receives what is
	// published from now on, and returns its position. It may be called again: the argument is the
	// stored position, or "" in the first call. The error wraps [ErrPosition] if the argument is
	// not a position of this broker.
	Declare(ctx context.Context, topic, subscription, position string) (string, error)
	// Receive receives the messages of a subscription after the position, in order, until ctx ends
	// or the connection is lost. It passes batches of [Gather] to deliver, and acknowledges a batch
	// after deliver has returned nil. If deliver returns an error, Receive returns that error. For
	// each subscription, at most one node calls Receive at a time.
	Receive(ctx context.Context, topic, subscription, position string, deliver func(context.Context, []Message) error) error
	// Close ends the connections.
	Close()
}

const (
	// BatchSize is the maximum number of messages that [Gather] returns.
	BatchSize = 100
	// gatherTime is how long [Gather] waits for another message.
	gatherTime = time.Millisecond
)

var errClosed = errors.New("event: the broker has ended the delivery")

// Gather waits for a message, and returns it with the messages that follow within a millisecond of
// the one before, at most [BatchSize] in all. If ctx ends, it returns the cause of that; if
// received is closed, it returns another error. It is for implementations of [Backend].
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
