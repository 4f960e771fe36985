package amqpapi

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/transport"
	"github.com/chassi-go/chassi/transport/message"
	amqp "github.com/rabbitmq/amqp091-go"
)

// ClientConfig sets up a [Client]. The zero value of every field but URL means the
// default in its tag.
type ClientConfig struct {
	URL        string        `config:"url" mask:"url" help:"amqp://user:password@host:port/vhost, or amqps://"`
	CAFile     string        `config:"ca_file" help:"CAs in PEM that may have signed the server's certificate, for amqps"`
	Prefix     string        `config:"prefix" help:"a word in front of exchanges and queues, as the services have it"`
	Timeout    time.Duration `config:"timeout" default:"30s" min:"1ms" help:"for a call whose caller sets no deadline"`
	MaxPending int           `config:"max_pending" default:"1024" min:"1" help:"calls under way; further ones get resource_exhausted"`

	// Logger takes what concerns no call. Default slog.Default().
	Logger *slog.Logger `config:"-"`
}

// Client calls endpoints over one connection, which is made again when it is
// lost. Answers come by direct reply-to, so that its user needs the right to write to
// the exchanges of the services that it calls and no other. Each service has a channel
// of its own: the broker closes the channel of a call that it refuses. A client is safe
// for concurrent use.
type Client struct {
	config   ClientConfig
	link     *link
	identity identity
	pending  atomic.Int64

	mu       sync.Mutex
	conn     *amqp.Connection     // nil while there is no connection
	channels map[string]*outgoing // on the connection, by exchange
	declared map[string]bool      // work queues, on the connection
}

// outgoing is the channel to an exchange, from the moment that it is asked for.
type outgoing struct {
	opened chan struct{} // closed when what follows is set
	*sender
	err error
}

// What goes wrong on the way.
var (
	errUnroutable   = errors.New("no queue is bound for this method: nobody serves it, or nobody has yet")
	errDisconnected = errors.New("there is no connection to the broker now")
	errBlocked      = errors.New("the broker takes no messages for now")
	errConnection   = errors.New("the connection was lost; the call may have been made")
	errRefused      = errors.New("the broker refused the message: its queue is full")
)

// Dial connects. It tries until ctx ends while the broker is away, and returns at once if
// the broker refuses the user, its password or its vhost, or if its certificate is not
// trusted.
func Dial(ctx context.Context, c ClientConfig) (*Client, error) {
	setDefault(&c.Timeout, 30*time.Second)
	setDefault(&c.MaxPending, 1024)
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	tlsConfig, err := tlsConfig(c.CAFile)
	if err != nil {
		return nil, err
	}
	account := accountOf(c.URL)
	client := &Client{config: c, identity: identity{user: account.user}}
	client.link = &link{
		url: c.URL, tls: tlsConfig, name: "chassi client", logger: c.Logger, use: client.use,
		grant: account.grant(nothing, exactly("EXCHANGE OF THE SERVICE"), nothing),
	}
	var last error // with a reason, and not for the end of ctx
	for told := false; ; told = true {
		err := client.link.start(ctx)
		if err == nil {
			return client, nil
		}
		if ctx.Err() == nil || last == nil {
			last = err
		}
		_, untrusted := errors.AsType[*tls.CertificateVerificationError](err)
		if chassi.ErrorOf(err).Code != chassi.Unavailable || untrusted || errors.Is(err, errRefuses) {
			return nil, err
		}
		if !told {
			c.Logger.Warn("waiting for the AMQP broker", "error", err.Error())
		}
		select {
		case <-ctx.Done():
			return nil, last
		case <-time.After(300 * time.Millisecond):
		}
	}
}

// Close ends the connection. Calls under way fail.
func (c *Client) Close() { c.link.stop() }

// use takes a new connection into use. Its channels are opened when they are needed.
func (c *Client) use(conn *amqp.Connection) (<-chan struct{}, error) {
	closed := conn.NotifyClose(make(chan *amqp.Error, 1))
	c.mu.Lock()
	defer c.mu.Unlock()
	c.conn, c.channels, c.declared = conn, make(map[string]*outgoing), make(map[string]bool)
	c.link.running.Go(func() {
		<-closed //nolint:errcheck // the link logs the reason
		c.mu.Lock()
		defer c.mu.Unlock()
		if c.conn == conn {
			c.conn, c.channels = nil, nil
		}
	})
	return nil, nil //nolint:nilnil // the connection alone tells its end
}

// to returns the channel to an exchange, or why none can be used.
func (c *Client) to(ctx context.Context, exchange string) (*sender, error) {
	if c.link.isBlocked() {
		return nil, errBlocked
	}
	o := c.outgoingTo(exchange)
	if o == nil {
		return nil, errDisconnected
	}
	select {
	case <-o.opened:
		return o.sender, o.err
	case <-ctx.Done():
		return nil, ctx.Err() //nolint:wrapcheck // the caller's own
	}
}

func (c *Client) outgoingTo(exchange string) *outgoing {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conn == nil {
		return nil
	}
	o := c.channels[exchange]
	if o == nil {
		o = &outgoing{opened: make(chan struct{})}
		c.channels[exchange] = o
		conn := c.conn
		c.link.running.Go(func() {
			answers, err := c.open(conn, o)
			o.err = err
			close(o.opened)
			if err == nil {
				c.receive(o.sender, answers, exchange)
			}
			c.discard(exchange, o)
		})
	}
	return o
}

// open opens a channel with the consumer of its answers.
func (c *Client) open(conn *amqp.Connection, o *outgoing) (<-chan amqp.Delivery, error) {
	ch, err := conn.Channel()
	if err != nil {
		return nil, errors.Join(errDisconnected, err)
	}
	answers, err := ch.Consume(directReplyTo, consumerTag, true, false, false, false, nil)
	if err == nil {
		o.sender, err = newSender(ch, &c.identity, &c.link.running)
	}
	if err != nil {
		return nil, errors.Join(errDisconnected, err)
	}
	return answers, nil
}

// receive settles calls with their answers until the channel ends, and fails the rest
// with the reason.
func (c *Client) receive(s *sender, answers <-chan amqp.Delivery, exchange string) {
	for d := range answers {
		s.settle(d.CorrelationId, outcome{delivery: d})
	}
	<-s.over
	s.abandon(c.explain(s, exchange))
}

// explain says why the channel to an exchange was closed.
func (c *Client) explain(s *sender, exchange string) error {
	account := accountOf(c.config.URL)
	switch {
	case s.reason == nil:
		return errConnection
	case s.reason.Code == amqp.AccessRefused:
		return chassi.NewError(chassi.PermissionDenied, "no_right_on_broker", "The broker does not allow this call").WithCause(
			fmt.Errorf("user %q may not write to exchange %s; grant it: %s: %w", account.user, exchange, account.grant(nothing, exactly(exchange), nothing), s.reason))
	case s.reason.Code == amqp.NotFound:
		return errors.Join(errUnroutable, s.reason)
	case c.identity.learn(s.reason):
		return fmt.Errorf("the broker knows user %q by another name; calls carry none from now on: %w", account.user, s.reason)
	default:
		return s.closedBy()
	}
}

// discard makes the next call open a new channel.
func (c *Client) discard(exchange string, o *outgoing) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.channels[exchange] == o {
		delete(c.channels, exchange)
	}
}

// Bind prepares calls of e.
func (c *Client) Bind(e *chassi.Endpoint) (*chassi.Binding, chassi.Handler, error) {
	remote, err := message.NewRemote(e)
	if err != nil {
		return nil, nil, err
	}
	service, _, _ := strings.Cut(e.FullName(), "/")
	exchange, key := exchangeName(c.config.Prefix, service), routingKey(e)
	b := &chassi.Binding{Endpoint: e, Transport: "amqp", Client: true, Route: e.FullName(), Status: transport.CodeStatus}
	return b, func(ctx context.Context, call *chassi.Call) error { return c.call(ctx, call, exchange, key, remote) }, nil
}

var errTooManyPending = chassi.NewError(chassi.ResourceExhausted, "too_many_calls", "Too many calls are under way")

func (c *Client) call(ctx context.Context, call *chassi.Call, exchange, key string, remote *message.Remote) error {
	if err := ctx.Err(); err != nil {
		return message.Unreachable(ctx, err)
	}
	if c.pending.Add(1) > int64(c.config.MaxPending) {
		c.pending.Add(-1)
		return errTooManyPending
	}
	defer c.pending.Add(-1)
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.config.Timeout)
		defer cancel()
	}
	body, err := remote.Write(ctx, call)
	if err != nil {
		return err
	}
	answer, err := c.exchange(ctx, exchange, key, pairsOf(call), body)
	if err != nil {
		if e, ok := errors.AsType[*chassi.Error](err); ok {
			return e
		}
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
func (c *Client) exchange(ctx context.Context, exchange, key string, pairs transport.Pairs, body []byte) (amqp.Delivery, error) {
	s, err := c.to(ctx, exchange)
	if err != nil {
		return amqp.Delivery{}, err
	}
	id, waiting := s.await()
	if waiting == nil {
		return amqp.Delivery{}, errDisconnected
	}
	defer s.forget(id)
	p := publishing(pairs, body)
	p.CorrelationId, p.ReplyTo, p.UserId = id, directReplyTo, c.identity.userID()
	if deadline, ok := ctx.Deadline(); ok {
		p.Expiration = milliseconds(time.Until(deadline)) // nobody will wait for it any more
	}
	confirmation, err := s.channel.PublishWithDeferredConfirmWithContext(ctx, exchange, key, true, false, p)
	if err != nil {
		return amqp.Delivery{}, err //nolint:wrapcheck // the caller says that the service cannot be reached
	}
	confirmed := confirmation.Done()
	for {
		select {
		case o := <-waiting:
			return o.delivery, o.err
		case <-ctx.Done():
			return amqp.Delivery{}, ctx.Err() //nolint:wrapcheck // the caller's own
		case <-confirmed:
			if confirmation.Acked() {
				confirmed = nil
				continue
			}
			select {
			case <-s.sync: // the broker refused the message
				return amqp.Delivery{}, errRefused
			case o := <-waiting: // a channel that is closed ends both
				return o.delivery, o.err
			}
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
	q.Name = prefixed(c.config.Prefix, q.Name)
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
	if err := p.declare(); err != nil {
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
	s, err := p.client.to(ctx, p.queue.Name)
	if err != nil {
		return message.Unreachable(ctx, err)
	}
	m := publishing(in, body)
	m.MessageId, m.DeliveryMode = id, amqp.Persistent
	if err := s.publish(ctx, p.queue.Name, p.queue.Name, &m); err != nil {
		return message.Unreachable(ctx, err)
	}
	return nil
}

// declare makes the queues once on a connection, so that publishers may come first. A
// publisher without the right to do so needs a queue that is there.
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
