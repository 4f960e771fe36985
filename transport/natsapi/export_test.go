package natsapi

import (
	"context"
	"fmt"

	"github.com/nats-io/nats.go"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/internal/broker"
	"github.com/chassi-go/chassi/transport"
)

// SubjectOf is for tests that send payloads of their own.
var SubjectOf = subjectOf

// NewRequester makes an inbox for conn and returns what makes requests.
func NewRequester(conn *nats.Conn) (func(context.Context, *nats.Msg) (*nats.Msg, error), error) {
	b, err := newInbox(conn, "_INBOX", 1<<16)
	if err != nil {
		return nil, err
	}
	return b.request, nil
}

// ErrorOf returns the error that a response says, nil for none.
func ErrorOf(response *nats.Msg) error {
	var out transport.Pairs
	if code := response.Header.Get(broker.CodeKey); code == "" {
		return nil
	}
	out.Set(broker.CodeKey, response.Header.Get(broker.CodeKey))
	return new(broker.Remote).Read(&chassi.Call{Out: &out}, response.Data)
}

// Refused returns how many requests were dropped because of their reply subject or of the
// name of their client.
func (s *Server) Refused() uint64 { return s.refused.Load() }

// Incoming is a client's stream that no caller reads.
type Incoming struct{ in *incoming }

// NewIncoming returns a stream whose first message has not come.
func NewIncoming() Incoming {
	return Incoming{&incoming{subject: "a.B", messages: make(chan *nats.Msg, maxUnread+2)}}
}

// Receive handles messages, and returns how many items wait, whether the server has ended the
// stream, and the error.
func (i Incoming) Receive(messages ...*nats.Msg) (items int, finished bool, err error) {
	for _, m := range messages {
		i.in.receive(m)
	}
	defer i.in.leave()
	i.in.mu.Lock()
	defer i.in.mu.Unlock()
	if items = len(i.in.messages); i.in.control != "" {
		items--
	}
	return items, i.in.finished, i.in.err
}

// Acknowledge handles a control message about a stream whose client has read some of the items
// that were sent, each of one byte, and returns how many it has read then.
func Acknowledge(sent, read int64, header nats.Header) (int64, error) {
	s := New(Config{})
	o := &outgoing{server: s, arrival: arrival{client: &line{peerName: "nats:"}}, id: "id", sent: sent, read: read, credit: make(chan struct{}, 1)}
	_, o.admitted, _ = s.streams.Open(context.Background(), &chassi.Call{Binding: &chassi.Binding{Endpoint: new(chassi.Endpoint)}})
	defer o.admitted.Close()
	o.unreadBytes = int(sent - read)
	for i := range o.sizes {
		o.sizes[i] = 1
	}
	s.outgoing.add(o)
	s.control("nats:", "id", header)
	if int64(o.unreadBytes) != o.sent-o.read {
		return o.read, fmt.Errorf("%d bytes unread of %d items", o.unreadBytes, o.sent-o.read)
	}
	return o.read, nil
}

// The times of work.
const (
	AckWait          = ackWait
	ProgressInterval = progressInterval
)
