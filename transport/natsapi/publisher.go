package natsapi

import (
	"context"
	"errors"
	"fmt"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/internal/broker"
	"github.com/chassi-go/chassi/transport"
)

// Publisher publishes messages to a work queue. It is safe for concurrent use.
type Publisher struct {
	client   *Client
	queue    workQueue
	producer *broker.Producer
}

// Publisher returns a publisher for q. Each message passes through middleware, the first one
// outermost, like an outgoing call; for example, package middleware/tracing propagates the trace.
// Publisher returns an error if q is invalid or a middleware is nil.
func (c *Client) Publisher(q transport.Queue, middleware ...chassi.Middleware) (*Publisher, error) {
	w, err := newWorkQueue(c.config.Prefix, q)
	if err != nil {
		return nil, err
	}
	p := &Publisher{client: c, queue: w}
	if p.producer, err = broker.NewProducer("nats", q.Name, middleware, p.store); err != nil {
		return nil, fmt.Errorf("natsapi: %w", err)
	}
	return p, nil
}

// Publish publishes request, a pointer to the request type of e, as a message with the given ID,
// which has at most 200 printable ASCII characters. It returns after JetStream has stored the
// message, without waiting for the work. The error is [chassi.InvalidArgument] or
// [chassi.ResourceExhausted] if the message cannot be published. After any other error, it is
// unknown whether the message was stored: publish it again with the same ID. JetStream drops a
// message whose ID was already published within the last two minutes, unless the ID is "".
func (p *Publisher) Publish(ctx context.Context, e *chassi.Endpoint, id string, request any) error {
	return p.producer.Publish(ctx, e, id, request) //nolint:wrapcheck // says what
}

// store declares the queue, publishes m, and waits until JetStream has stored it.
func (p *Publisher) store(ctx context.Context, m broker.Message) error {
	if err := p.declare(ctx); err != nil {
		return err
	}
	var options []jetstream.PublishOpt
	if m.ID != "" {
		options = append(options, jetstream.WithMsgID(m.ID))
	}
	_, err := p.client.js.PublishMsg(ctx, &nats.Msg{Subject: p.queue.subject, Header: headerOf(m.Metadata), Data: m.Body}, options...)
	if isTooLarge(err) {
		return transport.ErrBodyTooLarge.WithCause(err)
	}
	return err //nolint:wrapcheck // the caller says that the queue cannot be reached
}

// messageExceedsMax is the error code of JetStream for a message that exceeds the max_msg_size of a
// stream.
const messageExceedsMax jetstream.ErrorCode = 10054

// isTooLarge reports whether err means that a message was refused because it exceeds the server's
// max_payload or the stream's max_msg_size.
func isTooLarge(err error) bool {
	refusal, ok := errors.AsType[*jetstream.APIError](err)
	return errors.Is(err, nats.ErrMaxPayload) || ok && refusal.ErrorCode == messageExceedsMax
}

// declare creates or updates the streams of the queue once per client, so that publishers may start
// before servers.
func (p *Publisher) declare(ctx context.Context) error {
	c := p.client
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.declared[p.queue.stream] {
		return nil
	}
	if err := p.queue.declare(ctx, c.js); err != nil {
		return err
	}
	c.declared[p.queue.stream] = true
	return nil
}
