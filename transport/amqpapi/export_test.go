package amqpapi

import (
	"log/slog"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/internal/broker"
	"github.com/chassi-go/chassi/transport"
)

// ErrorOf returns the error that a response says, nil for none.
func ErrorOf(d amqp.Delivery) error {
	var out transport.Pairs
	code, ok := d.Headers[broker.CodeKey].(string)
	if !ok {
		return nil
	}
	out.Set(broker.CodeKey, code)
	return new(broker.Remote).Read(&chassi.Call{Out: &out}, d.Body)
}

// CutResponses closes the connection that responses are sent over.
func CutResponses(s *Server) {
	s.responses.link.mu.Lock()
	defer s.responses.link.mu.Unlock()
	_ = s.responses.link.conn.Close()
}

// CutRequests closes the connection that requests come over, and returns a function that
// reports whether there is another one.
func CutRequests(s *Server) (connected func() bool) {
	current := func() *amqp.Connection {
		s.link.mu.Lock()
		defer s.link.mu.Unlock()
		return s.link.conn
	}
	lost := current()
	_ = lost.Close()
	return func() bool { return current() != lost }
}

// Held returns how many requests of a user are being handled or wait for it.
func Held(s *Server, user string) int {
	s.clients.mu.Lock()
	defer s.clients.mu.Unlock()
	if b := s.clients.busy[user]; b != nil {
		return b.requests
	}
	return 0
}

// What is tested from outside.
var (
	ParseDirect     = parseDirect
	IsReplyQueue    = isReplyQueue
	Publishing      = publishing
	PlainProperties = plainProperties
)

// MaxHeaders is the bound on the headers of a request.
const MaxHeaders = maxHeaders

// SetUser sets the name that a client gives to its messages.
func SetUser(c *Client, user string) { c.identity.user = user }

// SeldomWarn returns how a line with a text of a client is logged.
func SeldomWarn(logger *slog.Logger) func(message, text string) {
	s := New(Config{URL: "amqp://127.0.0.1", Logger: logger})
	return func(message, text string) { s.warn(message, "text", short(text)) }
}

// WorkQueues returns the queues of q behind prefix with their arguments.
func WorkQueues(t testing.TB, prefix string, q transport.Queue) map[string]amqp.Table {
	t.Helper()
	q, err := q.WithDefaults()
	if err != nil {
		t.Fatal(err)
	}
	q.Name = prefixed(prefix, q.Name)
	return workQueues(q)
}

// Only calls the method only of a delivery with the given headers.
func Only(headers amqp.Table, key string) (value string, ok bool) {
	p := properties{amqp.Delivery{Headers: headers}}
	return p.only(key)
}
