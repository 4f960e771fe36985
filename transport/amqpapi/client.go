package amqpapi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/transport"
	"github.com/chassi-go/chassi/transport/message"
	amqp "github.com/rabbitmq/amqp091-go"
)

// ClientConfig sets up a [Client]. The zero value of every field but URL means the
// default in its tag.
type ClientConfig struct {
	URL     string        `config:"url" mask:"url" help:"amqp://user:password@host:port/vhost, or amqps://"`
	CAFile  string        `config:"ca_file" help:"CAs in PEM that may have signed the server's certificate, for amqps"`
	Prefix  string        `config:"prefix" help:"a word in front of exchange and queues, as the services have it"`
	Timeout time.Duration `config:"timeout" default:"30s" min:"1ms" help:"for a call whose caller sets no deadline"`

	// Logger takes what concerns no call. Default slog.Default().
	Logger *slog.Logger `config:"-"`
}

// Client calls endpoints over one connection, which is made again when it is
// lost. All answers come to one consumer (direct reply-to). It is safe for
// concurrent use.
type Client struct {
	config ClientConfig
	link   *link
	ids    counter

	mu       sync.Mutex
	session  *session // nil while there is no connection
	declared map[string]bool
}

// session is what a client has on one connection.
type session struct {
	channel *amqp.Channel
	lost    chan struct{}

	mu      sync.Mutex
	pending map[string]chan outcome // by correlation id
}

// outcome is an answer, or why there is none.
type outcome struct {
	delivery amqp.Delivery
	err      error
}

const directReplyTo = "amq.rabbitmq.reply-to"

// What goes wrong on the way.
var (
	errUnroutable   = errors.New("no queue is bound for this method: nobody serves it, or nobody has yet")
	errDisconnected = errors.New("there is no connection to the broker now")
	errBlocked      = errors.New("the broker takes no messages for now")
	errConnection   = errors.New("the connection was lost; the call may have been made")
	errRefused      = errors.New("the broker refused the message")
)

// Dial connects, trying until ctx ends.
func Dial(ctx context.Context, c ClientConfig) (*Client, error) {
	setDefault(&c.Timeout, 30*time.Second)
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	tlsConfig, err := tlsConfig(c.CAFile)
	if err != nil {
		return nil, err
	}
	client := &Client{config: c}
	client.link = &link{url: c.URL, tls: tlsConfig, name: "chassi client", logger: c.Logger, use: client.use}
	if err := client.link.start(ctx); err != nil {
		return nil, err
	}
	return client, nil
}

// Close ends the connection. Calls under way fail.
func (c *Client) Close() { c.link.stop() }

// use makes a session of a new connection.
func (c *Client) use(conn *amqp.Connection) (<-chan struct{}, error) {
	ch, err := conn.Channel()
	if err != nil {
		return nil, err
	}
	answers, err := ch.Consume(directReplyTo, consumerTag, true, false, false, false, nil)
	if err == nil {
		err = ch.Confirm(false)
	}
	if err != nil {
		return nil, err
	}
	s := &session{channel: ch, lost: make(chan struct{}), pending: make(map[string]chan outcome)}
	returns := ch.NotifyReturn(make(chan amqp.Return, 16))
	c.mu.Lock()
	c.session, c.declared = s, make(map[string]bool)
	c.mu.Unlock()
	c.link.running.Go(func() {
		for r := range returns {
			s.settle(r.CorrelationId, outcome{err: errUnroutable})
		}
	})
	c.link.running.Go(func() {
		for d := range answers {
			s.settle(d.CorrelationId, outcome{delivery: d})
		}
		c.mu.Lock()
		if c.session == s {
			c.session = nil
		}
		c.mu.Unlock()
		s.abandon()
		close(s.lost)
	})
	return s.lost, nil
}

// settle gives a call its outcome, if it still waits.
func (s *session) settle(id string, o outcome) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if waiting, ok := s.pending[id]; ok {
		delete(s.pending, id)
		waiting <- o
	}
}

// abandon fails all calls that wait.
func (s *session) abandon() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for id, waiting := range s.pending {
		waiting <- outcome{err: errConnection}
		delete(s.pending, id)
	}
	s.pending = nil
}

// await registers a call; it returns nil when the session is over.
func (s *session) await(id string) chan outcome {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.pending == nil {
		return nil
	}
	waiting := make(chan outcome, 1)
	s.pending[id] = waiting
	return waiting
}

func (s *session) forget(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.pending, id)
}

// current returns the session, or why none can be used.
func (c *Client) current() (*session, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case c.session == nil:
		return nil, errDisconnected
	case c.link.isBlocked():
		return nil, errBlocked
	default:
		return c.session, nil
	}
}

// Bind prepares calls of e.
func (c *Client) Bind(e *chassi.Endpoint) (*chassi.Binding, chassi.Handler, error) {
	remote, err := message.NewRemote(e)
	if err != nil {
		return nil, nil, err
	}
	key := routingKey(e)
	b := &chassi.Binding{Endpoint: e, Transport: "amqp", Client: true, Route: e.FullName(), Status: transport.CodeStatus}
	return b, func(ctx context.Context, call *chassi.Call) error { return c.call(ctx, call, key, remote) }, nil
}

func (c *Client) call(ctx context.Context, call *chassi.Call, key string, remote *message.Remote) error {
	if err := ctx.Err(); err != nil {
		return message.Unreachable(ctx, err)
	}
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.config.Timeout)
		defer cancel()
	}
	body, err := remote.Write(ctx, call)
	if err != nil {
		return err
	}
	answer, err := c.exchange(ctx, key, pairsOf(call), body)
	if err != nil {
		return message.Unreachable(ctx, err)
	}
	call.Out.Set(message.ContentTypeKey, answer.ContentType)
	for name, value := range answer.Headers {
		if text, ok := value.(string); ok {
			call.Out.Set(name, text)
		}
	}
	return remote.Read(call, answer.Body)
}

func pairsOf(call *chassi.Call) transport.Pairs {
	if in, ok := call.In.(*transport.Pairs); ok {
		return *in
	}
	return nil
}

// exchange sends one request and waits for its answer.
func (c *Client) exchange(ctx context.Context, key string, pairs transport.Pairs, body []byte) (amqp.Delivery, error) {
	s, err := c.current()
	if err != nil {
		return amqp.Delivery{}, err
	}
	id := c.ids.next()
	waiting := s.await(id)
	if waiting == nil {
		return amqp.Delivery{}, errDisconnected
	}
	defer s.forget(id)
	p := publishing(pairs, body)
	p.CorrelationId, p.ReplyTo = id, directReplyTo
	if deadline, ok := ctx.Deadline(); ok {
		p.Expiration = milliseconds(time.Until(deadline)) // nobody will wait for it any more
	}
	confirmation, err := s.channel.PublishWithDeferredConfirmWithContext(ctx, exchangeName(c.config.Prefix), key, true, false, p)
	if err != nil {
		return amqp.Delivery{}, err
	}
	confirmed := confirmation.Done()
	for {
		select {
		case o := <-waiting:
			return o.delivery, o.err
		case <-ctx.Done():
			return amqp.Delivery{}, ctx.Err()
		case <-confirmed:
			if !confirmation.Acked() {
				select {
				case o := <-waiting: // a lost connection ends both
					return o.delivery, o.err
				default:
					return amqp.Delivery{}, errRefused
				}
			}
			confirmed = nil
		}
	}
}

// Publisher puts messages into a work queue.
type Publisher struct {
	client *Client
	queue  message.Queue
}

// Publisher returns a publisher for q, or an error for a queue without a name.
func (c *Client) Publisher(q message.Queue) (*Publisher, error) {
	q, err := q.WithDefaults()
	if err != nil {
		return nil, fmt.Errorf("amqpapi: %w", err)
	}
	q.Name = queueName(c.config.Prefix, q.Name)
	return &Publisher{client: c, queue: q}, nil
}

// Publish stores request, a pointer to the request type of e, under id. It
// returns once the broker has confirmed the message, without waiting for the work,
// and an error when that is not certain: then publish it again under the same id.
// RabbitMQ does not compare ids: the method does, see [message.IDKey].
func (p *Publisher) Publish(ctx context.Context, e *chassi.Endpoint, id string, request any) error {
	remote, err := message.NewRemote(e)
	if err != nil {
		return err
	}
	s, err := p.client.current()
	if err == nil {
		err = p.declare(s)
	}
	if err != nil {
		return message.Unreachable(ctx, err)
	}
	var in transport.Pairs
	call := &chassi.Call{In: &in, Request: request}
	if outer := chassi.CallFrom(ctx); outer != nil {
		in.Set(transport.RequestIDKey, outer.RequestID)
	}
	body, err := remote.Write(context.WithoutCancel(ctx), call)
	if err != nil {
		return err
	}
	m := publishing(in, body)
	m.MessageId, m.DeliveryMode = id, amqp.Persistent
	if err := publishConfirmed(ctx, s.channel, "", p.queue.Name, m); err != nil {
		return message.Unreachable(ctx, err)
	}
	return nil
}

// declare makes the queues once on a connection, so that publishers may come
// first, and on a channel of its own: a declaration that the broker refuses closes
// it.
func (p *Publisher) declare(s *session) error {
	c := p.client
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.declared[p.queue.Name] {
		return nil
	}
	if err := c.link.declare(p.queue); err != nil {
		return err
	}
	c.declared[p.queue.Name] = c.session == s
	return nil
}

func (l *link) declare(q message.Queue) error {
	l.mu.Lock()
	conn := l.conn
	l.mu.Unlock()
	if conn == nil {
		return errDisconnected
	}
	ch, err := conn.Channel()
	if err != nil {
		return err
	}
	defer ch.Close()
	return declare(ch, q)
}
