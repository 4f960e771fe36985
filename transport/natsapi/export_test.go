package natsapi

import (
	"context"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/transport"
	"github.com/chassi-go/chassi/transport/message"
	"github.com/nats-io/nats.go"
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

// FaultOf returns the error that an answer says, nil for none.
func FaultOf(answer *nats.Msg) error {
	var out transport.Pairs
	if code := answer.Header.Get(message.CodeKey); code == "" {
		return nil
	}
	out.Set(message.CodeKey, answer.Header.Get(message.CodeKey))
	return new(message.Remote).Read(&chassi.Call{Out: &out}, answer.Data)
}

// Refused returns how many requests were dropped because of their reply subject or of the
// name of their client.
func (s *Server) Refused() uint64 { return s.refused.Load() }
