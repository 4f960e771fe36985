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

// Message is an event that is sent to or received from a broker.
type Message struct {
	ID       string // ID of the event, or "REPLAY/EVENT" with the IDs of a replay and its event
	Topic    string
	Position string // position of a received message; "" if the broker keeps it, see [Backend]
	Headers  transport.Pairs
	Body     []byte

	row         int64 // ID in the outbox
	key, target string
}

// The names of headers of a message.
const (
	keyHeader    = "Event-Key"    // the key of the event, encoded by [url.QueryEscape]
	targetHeader = "Event-Target" // the only subscription that receives the message
)

// maxID is the maximum length of the ID of a received message in bytes.
const maxID = 100

// address sets the headers that contain the key and the target of m. It is called before m is sent.
func (m *Message) address() {
	if m.key != "" {
		m.Headers.Set(keyHeader, url.QueryEscape(m.key))
	}
	if m.target != "" {
		m.Headers.Set(targetHeader, m.target)
	}
}

// read sets the key and the target of a received message from its headers. It returns an error if
// the ID, the key, the body or a header is invalid; programs of this version send no such message.
func (m *Message) read() (err error) {
	m.target = m.Headers.Get(targetHeader)
	if m.key, err = url.QueryUnescape(m.Headers.Get(keyHeader)); err != nil {
		return fmt.Errorf("the header %s is not query-escaped: %w", keyHeader, err)
	}
	switch {
	case m.ID == "" || len(m.ID) > maxID || !transport.IsMetadataValue(m.ID):
		return fmt.Errorf("the ID %.200q: want 1 to %d printable ASCII characters", m.ID, maxID)
	case !validKey(m.key):
		return fmt.Errorf("the key %.200q: want at most %d bytes of UTF-8 without NUL", m.key, maxKey)
	case len(m.Body) > MaxBody:
		return fmt.Errorf("the body has %d bytes, more than the limit of %d", len(m.Body), MaxBody)
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

// Backend sends and receives messages through a broker. It transmits their IDs, headers and bodies;
// headers consist of printable ASCII. A Backend must be safe for concurrent use.
//
// A position is a point in the sequence of messages of a topic. The position of a subscription is
// stored in the same transaction as the messages up to that position, so that the next call of
// Receive continues after them. If the broker itself keeps the positions of subscriptions, every
// position is "".
type Backend interface {
	// Publish sends messages, and returns after the broker has stored or refused them, or when ctx is
	// done. The result contains an error for each message, which is nil if the broker has stored the
	// message. The messages of a call must not overtake those of earlier calls.
	Publish(ctx context.Context, messages []Message) []error
	// Declare creates the objects that the subscription needs at the broker, such as a queue, so
	// that the subscription receives all messages published from then on. It returns the position
	// of the subscription. The argument position is the stored position, or "" in the first call.
	// Declare may be called repeatedly. The error wraps [ErrPosition] if position is not a position
	// of this broker.
	Declare(ctx context.Context, topic, subscription, position string) (string, error)
	// Receive receives the messages of a subscription after the position, in order, until ctx is
	// done or the connection is lost. It calls deliver with each batch that [Gather] returns, and
	// acknowledges the batch after deliver has returned nil. If deliver returns an error, Receive
	// returns that error. For each subscription, at most one node calls Receive at a time.
	Receive(ctx context.Context, topic, subscription, position string, deliver func(context.Context, []Message) error) error
	// Close closes the connections of the backend.
	Close()
}

const (
	// BatchSize is the maximum number of messages that [Gather] returns.
	BatchSize = 100
	// gatherTime is how long [Gather] waits for the next message of a batch.
	gatherTime = time.Millisecond
)

var errClosed = errors.New("event: the channel of received messages was closed")

// Gather waits for a message from received, and returns it together with the messages that follow
// it, each within a millisecond of the previous message, up to [BatchSize] messages in total. If
// ctx is done first, Gather returns no messages and the [context.Cause] of ctx; if received is
// closed, it returns no messages and another error. It is intended for implementations of
// [Backend].
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
