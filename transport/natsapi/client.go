package natsapi

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/transport"
	"github.com/chassi-go/chassi/transport/message"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// ClientConfig sets up a [Client]. The zero value of every field means the default
// in its tag.
type ClientConfig struct {
	URL         string        `config:"url" mask:"url" default:"nats://127.0.0.1:4222" help:"nats://[user:password@]host:port, several with commas between"`
	CAFile      string        `config:"ca_file" help:"CAs in PEM that may have signed the server's certificate; turns TLS on"`
	Prefix      string        `config:"prefix" help:"words in front of all subjects, as the services have them"`
	InboxPrefix string        `config:"inbox_prefix" default:"_INBOX" help:"words in front of the subjects of answers, for servers that give each user their own"`
	Timeout     time.Duration `config:"timeout" default:"30s" min:"1ms" help:"for a call whose caller sets no deadline"`
	MaxInFlight int           `config:"max_in_flight" default:"65536" min:"1" help:"calls that wait for their answer; further ones get unavailable"`

	Login

	// Options go to the client library too, such as nats.InProcessServer.
	Options []nats.Option `config:"-"`
	// Logger takes what concerns no call. Default slog.Default().
	Logger *slog.Logger `config:"-"`
}

// Client calls endpoints over one connection, which is made again when it is
// lost. Until then calls fail at once with [chassi.Unavailable]. All answers come to
// one inbox. It is safe for concurrent use.
type Client struct {
	config  ClientConfig
	conn    *nats.Conn
	trouble *trouble
	inbox   *inbox
	js      jetstream.JetStream

	mu       sync.Mutex
	declared map[string]bool
}

// refusalTime is how long a server may take to learn of a new client.
const refusalTime = 5 * time.Second

// Dial connects. It tries until ctx ends while the server is away, and for five seconds if
// the server refuses the user, its password or its key. It returns at once if the server's
// certificate is not trusted.
func Dial(ctx context.Context, c ClientConfig) (*Client, error) {
	c = c.withDefaults()
	t := new(trouble)
	options, err := c.options(t)
	if err != nil {
		return nil, err
	}
	var refused time.Time
	var last error // with a reason, and not for the end of ctx
	for told := false; ; told = true {
		conn, err := connect(ctx, c.URL, t, options)
		if ctx.Err() == nil || last == nil {
			last = err
		}
		_, untrusted := errors.AsType[*tls.CertificateVerificationError](err)
		switch {
		case err == nil:
			return newClient(c, conn, t)
		case untrusted:
			return nil, err
		case !errors.Is(err, errRefused):
			refused = time.Time{}
		case refused.IsZero():
			refused = time.Now()
		case time.Since(refused) > refusalTime:
			return nil, err
		}
		if !told {
			c.Logger.Warn("waiting for NATS", "error", err.Error())
		}
		select {
		case <-ctx.Done():
			return nil, last
		case <-time.After(300 * time.Millisecond):
		}
	}
}

// Open makes a client that need not be connected yet: it tries once, and goes on by
// itself until it is closed. Its error is one of the configuration. It is what
// a Cluster of package client dials with, so that a service starts without its broker.
func Open(c ClientConfig) (*Client, error) {
	c = c.withDefaults()
	t := new(trouble)
	options, err := c.options(t)
	if err != nil {
		return nil, err
	}
	var lasting atomic.Bool // never starting: the connection has no bound but Close
	dialer := nats.SetCustomDialer(dialing(context.Background(), &lasting, t))
	conn, err := nats.Connect(c.URL, slices.Concat([]nats.Option{dialer}, options, []nats.Option{nats.RetryOnFailedConnect(true)})...)
	if err != nil {
		return nil, fmt.Errorf("natsapi: connect to %s: %w", redact(c.URL), withoutURL(err))
	}
	if !conn.IsConnected() {
		c.Logger.Warn("waiting for NATS", "error", t.last(nats.ErrNoServers).Error())
	}
	return newClient(c, conn, t)
}

func (c ClientConfig) withDefaults() ClientConfig {
	setDefault(&c.URL, nats.DefaultURL)
	setDefault(&c.InboxPrefix, "_INBOX")
	setDefault(&c.Timeout, 30*time.Second)
	setDefault(&c.MaxInFlight, 65536)
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return c
}

func (c ClientConfig) options(t *trouble) ([]nats.Option, error) {
	if !isSubject(c.InboxPrefix) {
		return nil, fmt.Errorf("natsapi: inbox_prefix %q: want words with dots between, such as _INBOX", c.InboxPrefix)
	}
	who, err := login(c.Login, c.CAFile)
	return slices.Concat(lasting("chassi client", c.InboxPrefix, c.Logger, t), who, c.Options), errors.Join(checkURL("url", c.URL), err)
}

func newClient(c ClientConfig, conn *nats.Conn, t *trouble) (*Client, error) {
	in, err := newInbox(conn, c.InboxPrefix, c.MaxInFlight)
	if err != nil {
		conn.Close()
		return nil, err
	}
	js, err := jetstream.New(conn)
	if err != nil {
		conn.Close()
		return nil, fmt.Errorf("natsapi: %w", err)
	}
	return &Client{config: c, conn: conn, trouble: t, inbox: in, js: js, declared: make(map[string]bool)}, nil
}

// Close ends the connection. Calls under way fail.
func (c *Client) Close() {
	c.conn.Close()
	c.inbox.close()
}

// Bind prepares calls of e.
func (c *Client) Bind(e *chassi.Endpoint) (*chassi.Binding, chassi.Handler, error) {
	remote, err := message.NewRemote(e)
	if err != nil {
		return nil, nil, err
	}
	subject := subjectOf(c.config.Prefix, e)
	b := &chassi.Binding{Endpoint: e, Transport: "nats", Client: true, Route: e.FullName(), Status: transport.CodeStatus}
	return b, func(ctx context.Context, call *chassi.Call) error { return c.call(ctx, call, subject, remote) }, nil
}

func (c *Client) call(ctx context.Context, call *chassi.Call, subject string, remote *message.Remote) error {
	if !c.conn.IsConnected() {
		return message.Unreachable(ctx, errors.Join(nats.ErrDisconnected, c.trouble.last(nil)))
	}
	if _, ok := ctx.Deadline(); !ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.config.Timeout)
		defer cancel()
	}
	m, err := newMessage(ctx, call, subject, remote)
	if err != nil {
		return err
	}
	answer, err := c.inbox.request(ctx, m)
	switch {
	case errors.Is(err, nats.ErrMaxPayload):
		return chassi.NewError(chassi.ResourceExhausted, "body_too_large", "The message is too large").WithCause(err)
	case err != nil:
		return message.Unreachable(ctx, err)
	}
	for key, values := range answer.Header {
		if len(values) > 0 {
			call.Out.Set(key, values[0])
		}
	}
	return remote.Read(call, answer.Data)
}

func newMessage(ctx context.Context, call *chassi.Call, subject string, remote *message.Remote) (*nats.Msg, error) {
	body, err := remote.Write(ctx, call)
	if err != nil {
		return nil, err
	}
	m := &nats.Msg{Subject: subject, Data: body, Header: make(nats.Header)}
	if in, ok := call.In.(*transport.Pairs); ok {
		for _, p := range *in {
			m.Header[p.Key] = []string{p.Value}
		}
	}
	return m, nil
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
		return nil, fmt.Errorf("natsapi: %w", err)
	}
	return &Publisher{client: c, queue: q}, nil
}

// Publish stores request, a pointer to the request type of e, under id. It
// returns once JetStream has stored the message, without waiting for the work, and
// an error when that is not certain: then publish it again under the same id. A
// message with the id of one of the last two minutes is dropped; with id "" each
// is its own.
func (p *Publisher) Publish(ctx context.Context, e *chassi.Endpoint, id string, request any) error {
	remote, err := message.NewRemote(e)
	if err != nil {
		return err
	}
	if err := p.declare(ctx); err != nil {
		return err
	}
	var in transport.Pairs
	call := &chassi.Call{In: &in, Request: request}
	if outer := chassi.CallFrom(ctx); outer != nil {
		in.Set(transport.RequestIDKey, outer.RequestID)
	}
	m, err := newMessage(context.WithoutCancel(ctx), call, workSubject(p.queue), remote)
	if err != nil {
		return err
	}
	var options []jetstream.PublishOpt
	if id != "" {
		options = append(options, jetstream.WithMsgID(id))
	}
	if _, err := p.client.js.PublishMsg(ctx, m, options...); err != nil {
		return message.Unreachable(ctx, err)
	}
	return nil
}

// declare makes the queue's streams once, so that publishers may come first.
func (p *Publisher) declare(ctx context.Context) error {
	c := p.client
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.declared[p.queue.Name] {
		return nil
	}
	if err := declare(ctx, c.js, p.queue); err != nil {
		return message.Unreachable(ctx, err)
	}
	c.declared[p.queue.Name] = true
	return nil
}
