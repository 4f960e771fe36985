package amqpapi

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/internal/broker"
	"github.com/chassi-go/chassi/transport"
)

// ClientConfig configures a [Client]. URL is required. The zero value of any other field means the
// default in its tag, if there is one.
type ClientConfig struct {
	URL         string        `config:"url" format:"url:amqp,amqps" mask:"url" help:"amqp://user:password@host:port/vhost, or amqps://"`
	CAFile      string        `config:"ca_file" format:"file" help:"PEM file of the CAs that are trusted to sign the server's certificate, for amqps"`
	Prefix      string        `config:"prefix" help:"prefix of exchanges and queues, the same as that of the services"`
	Timeout     time.Duration `config:"timeout" default:"30s" min:"1ms" help:"maximum time of a call whose caller sets no deadline"`
	MaxInFlight int           `config:"max_in_flight" default:"1024" min:"1" help:"maximum number of calls in flight; further calls get resource_exhausted"`

	// Logger receives the log lines that the middleware does not write, such as those about lost
	// connections. The default is slog.Default().
	Logger *slog.Logger `config:"-"`
}

// Client calls endpoints over one connection, and reconnects when the connection is lost. Responses
// use direct reply-to, so the user needs only the permission to write to the exchanges of the
// called services. Each called service has its own channel, because the broker closes a channel
// when it refuses a call. A Client is safe for concurrent use.
type Client struct {
	config   ClientConfig
	link     *link
	identity identity
	sizes    sizes
	pending  atomic.Int64

	mu       sync.Mutex
	conn     *amqp.Connection     // nil while there is no connection
	channels map[string]*outgoing // channels of conn, by exchange
	declared map[string]bool      // names of the work queues declared over conn
}

// outgoing is a channel that publishes to one exchange, or that is still being opened.
type outgoing struct {
	opened chan struct{} // closed after the fields below have been set
	*sender
	err error
}

// close waits until the channel has been opened, and closes it. It does nothing if the channel could
// not be opened. It is called only for a channel that is used for a single message.
func (o *outgoing) close() {
	if <-o.opened; o.err == nil {
		_ = o.channel.Close() // fails if it is already closed
	}
}

// Causes of the errors of calls and publishers.
var (
	errUnroutable   = errors.New("no queue is bound for the message: an instance of the service must start first, or an operator must declare the queue")
	errDisconnected = errors.New("not connected to the broker")
	errBlocked      = errors.New("the broker currently accepts no messages")
	errConnection   = errors.New("the channel to the broker was closed; the message may have been delivered")
	errRefused      = errors.New("the broker rejected the message; its queue may be full")
)

// Dial returns a connected client. While the broker is unavailable, Dial retries until ctx is done.
// Dial returns an error at once if c is invalid, if the broker refuses the user, the password or
// the vhost, or if the certificate of the broker is not trusted.
func Dial(ctx context.Context, c ClientConfig) (*Client, error) {
	client, err := newClient(c)
	if err != nil {
		return nil, err
	}
	var last error // with a cause other than the end of ctx
	for logged := false; ; logged = true {
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
		if !logged {
			client.config.Logger.Warn("waiting for the AMQP broker", "error", err.Error())
		}
		select {
		case <-ctx.Done():
			return nil, last
		case <-time.After(300 * time.Millisecond):
		}
	}
}

// Open returns a client that connects in the background, and retries until it is connected or
// closed, so that a program can start before its broker. It returns an error only if c is invalid.
func Open(c ClientConfig) (*Client, error) {
	client, err := newClient(c)
	if err != nil {
		return nil, err
	}
	if err := client.link.open(); err != nil {
		return nil, err
	}
	return client, nil
}

func newClient(c ClientConfig) (*Client, error) {
	c.Timeout = cmp.Or(c.Timeout, 30*time.Second)
	c.MaxInFlight = cmp.Or(c.MaxInFlight, 1024)
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	tlsConfig, err := tlsConfig("ca_file", c.CAFile)
	if err != nil {
		return nil, fmt.Errorf("amqpapi: %w", err)
	}
	account := accountOf(c.URL)
	client := &Client{config: c, identity: identity{user: account.user}}
	client.link = &link{
		url: c.URL, tls: tlsConfig, name: "chassi client", logger: c.Logger, outage: disconnections(c.Logger).Part(), use: client.use,
		grant: account.grant(nothing, exactly("EXCHANGE OF THE SERVICE"), nothing),
	}
	return client, nil
}

// Close closes the connection. Calls in flight fail.
func (c *Client) Close() { c.link.stop() }

// Conn returns the current connection, for features of AMQP that this package does not offer. It
// returns an error while the client is not connected. The caller must not close the connection.
func (c *Client) Conn() (*amqp.Connection, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conn == nil {
		return nil, errDisconnected
	}
	return c.conn, nil
}

// use makes conn the connection of the client. Channels are opened on demand. The returned channel
// is nil, because the link itself notices when conn is closed.
func (c *Client) use(conn *amqp.Connection) (<-chan struct{}, error) {
	closed := conn.NotifyClose(make(chan *amqp.Error, 1))
	c.mu.Lock()
	defer c.mu.Unlock()
	c.conn, c.channels, c.declared = conn, make(map[string]*outgoing), make(map[string]bool)
	c.sizes.forget()
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

// to returns the sender for a message of size bytes to an exchange. It returns an error if no
// channel can be opened, if the broker accepts no messages or none of this size, or if ctx is done
// first. Otherwise, the caller must call done when the outcome of the message is known.
func (c *Client) to(ctx context.Context, exchange string, size int) (s *sender, done func(), err error) {
	switch {
	case c.link.isBlocked():
		return nil, nil, errBlocked
	case c.sizes.exceeds(size):
		return nil, nil, transport.ErrBodyTooLarge.WithCause(fmt.Errorf("the message has %d bytes, more than the broker's max_message_size of %d", size, c.sizes.limit.Load()))
	}
	alone := !c.sizes.fits(size)
	o := c.outgoingTo(exchange, alone)
	if o == nil {
		return nil, nil, errDisconnected
	}
	select {
	case <-o.opened:
	case <-ctx.Done():
		if alone {
			c.link.running.Go(o.close)
		}
		return nil, nil, ctx.Err() //nolint:wrapcheck // the caller's own
	}
	done = func() {}
	if alone {
		done = o.close
	}
	return o.sender, done, o.err
}

// outgoingTo returns the channel to an exchange or, if alone is true, a new channel for a single
// message. It returns nil while there is no connection.
func (c *Client) outgoingTo(exchange string, alone bool) *outgoing {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.conn == nil {
		return nil
	}
	if o := c.channels[exchange]; o != nil && !alone {
		return o
	}
	o := &outgoing{opened: make(chan struct{})}
	if !alone {
		c.channels[exchange] = o
	}
	conn := c.conn
	c.link.running.Go(func() {
		responses, err := c.open(conn, o)
		o.err = err
		close(o.opened)
		if err == nil {
			c.receive(o.sender, responses, exchange, alone)
		}
		c.discard(exchange, o)
	})
	return o
}

// open opens a channel on conn, sets o.sender, and returns the responses that arrive on the
// channel.
func (c *Client) open(conn *amqp.Connection, o *outgoing) (<-chan amqp.Delivery, error) {
	ch, err := conn.Channel()
	if err != nil {
		return nil, errors.Join(errDisconnected, err)
	}
	responses, err := ch.Consume(directReplyTo, consumerTag, true, false, false, false, nil)
	if err == nil {
		o.sender, err = newSender(conn, ch, &c.identity, &c.sizes, &c.link.running)
	}
	if err != nil {
		return nil, errors.Join(errDisconnected, err)
	}
	return responses, nil
}

// receive delivers responses to the waiting calls until the channel of s is closed. The calls that
// still wait then fail with the reason.
func (c *Client) receive(s *sender, responses <-chan amqp.Delivery, exchange string, alone bool) {
	for d := range responses {
		s.settle(d.CorrelationId, outcome{delivery: d})
	}
	<-s.over
	err := c.explain(s, exchange)
	if alone && c.sizes.refused(s.reason) {
		err = transport.ErrBodyTooLarge.WithCause(s.reason)
	}
	s.abandon(err)
}

// explain returns an error with the reason why the broker closed the channel to an exchange, if
// necessary with advice for an operator.
func (c *Client) explain(s *sender, exchange string) error {
	account := accountOf(c.config.URL)
	switch {
	case s.reason == nil:
		return errConnection
	case s.reason.Code == amqp.AccessRefused:
		return chassi.NewError(chassi.PermissionDenied, "no_right_on_broker", "The broker does not allow this call").WithCause(
			fmt.Errorf("user %q may not write to exchange %s; grant the permission: %s: %w", account.user, exchange, account.grant(nothing, exactly(exchange), nothing), s.reason))
	case s.reason.Code == amqp.NotFound:
		return errors.Join(errUnroutable, s.reason)
	case c.identity.learn(s.reason):
		return fmt.Errorf("user %q has another name on the broker; calls no longer carry a user_id: %w", account.user, s.reason)
	default:
		return s.closedBy()
	}
}

// discard removes the channel o to an exchange, so that the next call opens a new channel.
func (c *Client) discard(exchange string, o *outgoing) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.channels[exchange] == o {
		delete(c.channels, exchange)
	}
}

// Bind implements [client.Caller]. It returns an error if e is a stream or is not served over AMQP,
// if brokers do not support e, for example because a message has a [chassi.File], or if the request
// or response type of e has no Protocol Buffers encoding.
func (c *Client) Bind(e *chassi.Endpoint) (*chassi.Binding, chassi.Handler, error) {
	if err := transport.CheckServed(e, "amqp"); err != nil {
		return nil, nil, err //nolint:wrapcheck // says which endpoint
	}
	if err := broker.RefuseStream(e, "amqp"); err != nil {
		return nil, nil, fmt.Errorf("amqpapi: %w", err)
	}
	remote, err := broker.NewRemote(e)
	if err != nil {
		return nil, nil, err
	}
	service, _, _ := strings.Cut(e.FullName(), "/")
	exchange, key := exchangeName(c.config.Prefix, service), routingKey(e)
	b := &chassi.Binding{Endpoint: e, Transport: "amqp", Client: true, Route: e.FullName(), Status: transport.CodeStatus}
	return b, func(ctx context.Context, call *chassi.Call) error { return c.call(ctx, call, exchange, key, remote) }, nil
}

// BindStream returns an error for an endpoint with a stream, because this transport does not
// support streams. It implements [client.Streamer], so that package client reports the reason.
func (c *Client) BindStream(e *chassi.Endpoint) (*chassi.Binding, chassi.Handler, error) {
	return c.Bind(e)
}

func (c *Client) call(ctx context.Context, call *chassi.Call, exchange, key string, remote *broker.Remote) error {
	if err := ctx.Err(); err != nil {
		return broker.Unreachable(ctx, err)
	}
	if c.pending.Add(1) > int64(c.config.MaxInFlight) {
		c.pending.Add(-1)
		return broker.ErrTooManyCalls
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
	response, err := c.exchange(ctx, exchange, key, pairsOf(call), body)
	if err != nil {
		if e, ok := errors.AsType[*chassi.Error](err); ok {
			return e
		}
		return broker.Unreachable(ctx, err)
	}
	call.Out.Set(broker.ContentTypeKey, response.ContentType)
	for name, value := range response.Headers {
		if text, ok := value.(string); ok {
			call.Out.Set(name, text)
		}
	}
	return remote.Read(call, response.Body)
}

func pairsOf(call *chassi.Call) transport.Pairs {
	if in, ok := call.In.(*transport.Pairs); ok {
		return *in
	}
	return nil
}

// exchange sends one request and returns its response. It returns an error if the request cannot be
// sent, if no queue accepts the request, if the channel is closed, or if ctx is done first.
func (c *Client) exchange(ctx context.Context, exchange, key string, pairs transport.Pairs, body []byte) (amqp.Delivery, error) {
	s, done, err := c.to(ctx, exchange, len(body))
	if err != nil {
		return amqp.Delivery{}, err
	}
	defer done()
	id, waiting := s.await()
	if waiting == nil {
		return amqp.Delivery{}, errDisconnected
	}
	defer s.forget(id)
	p := publishing(pairs, body)
	p.CorrelationId, p.ReplyTo, p.UserId = id, directReplyTo, c.identity.userID()
	if deadline, ok := ctx.Deadline(); ok {
		p.Expiration = milliseconds(time.Until(deadline)) // no client waits for the response longer
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
				c.sizes.accept(len(body))
				confirmed = nil
				continue
			}
			if s.channel.IsClosed() { // then all waiting calls fail with the reason
				confirmed = nil
				continue
			}
			select {
			case <-s.sync: // the broker refused the message
				return amqp.Delivery{}, errRefused
			case o := <-waiting:
				return o.delivery, o.err
			}
		}
	}
}
