package amqpapi

import (
	"context"
	"fmt"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/internal/broker"
	"github.com/chassi-go/chassi/transport"
)

// Publisher publishes messages to a work queue. It is safe for concurrent use.
type Publisher struct {
	client   *Client
	queue    transport.Queue
	producer *broker.Producer
}

// Publisher returns a publisher for q. Each message passes through middleware, the first one
// outermost, like an outgoing call; for example, package middleware/tracing propagates the trace.
// Publisher returns an error if q is invalid or a middleware is nil.
func (c *Client) Publisher(q transport.Queue, middleware ...chassi.Middleware) (*Publisher, error) {
	q, err := q.WithDefaults()
	if err != nil {
		return nil, fmt.Errorf("amqpapi: %w", err)
	}
	q.Name = prefixed(c.config.Prefix, q.Name)
	p := &Publisher{client: c, queue: q}
	if p.producer, err = broker.NewProducer("amqp", q.Name, middleware, p.store); err != nil {
		return nil, fmt.Errorf("amqpapi: %w", err)
	}
	return p, nil
}

// Publish publishes request, a pointer to the request type of e, as a message with the given ID,
// which has at most 200 printable ASCII characters. It returns after the broker has stored the
// message, without waiting for the work. The error is [chassi.InvalidArgument] or
// [chassi.ResourceExhausted] if the message cannot be published. After any other error, it is
// unknown whether the message was stored: publish it again with the same ID. RabbitMQ does not drop
// messages with a repeated ID. The method of e must ignore them; it receives the ID in the metadata
// [transport.IdempotencyKey].
func (p *Publisher) Publish(ctx context.Context, e *chassi.Endpoint, id string, request any) error {
	return p.producer.Publish(ctx, e, id, request) //nolint:wrapcheck // says what
}

// store declares the queue, publishes m, and waits until the queue has stored it.
func (p *Publisher) store(ctx context.Context, m broker.Message) error {
	if err := p.declare(); err != nil {
		return err
	}
	s, done, err := p.client.to(ctx, p.queue.Name, len(m.Body))
	if err != nil {
		return err
	}
	defer done()
	out := publishing(m.Metadata, m.Body)
	out.MessageId, out.DeliveryMode = m.ID, amqp.Persistent
	err = s.publish(ctx, p.queue.Name, p.queue.Name, &out)
	switch {
	case err == nil:
		p.client.sizes.accept(len(m.Body))
	case p.client.sizes.exceeds(len(m.Body)): // the broker has now reported its limit
		return transport.ErrBodyTooLarge.WithCause(err)
	}
	return err
}

// declare declares the queues once per connection, so that publishers may start before servers. If
// the user is not permitted to declare them, they must exist.
func (p *Publisher) declare() error {
	c := p.client
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conn == nil {
		return errDisconnected
	}
	if c.declared[p.queue.Name] {
		return nil
	}
	t := &topology{conn: c.conn, account: accountOf(c.config.URL), names: workNames(p.queue), warn: c.config.Logger.Debug}
	defer t.close()
	if err := declareWork(t, p.queue); err != nil {
		return err
	}
	c.declared[p.queue.Name] = true
	return nil
}
