package natsapi

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/internal/broker"
	"github.com/chassi-go/chassi/redact"
	"github.com/chassi-go/chassi/transport"
)

// ClientConfig configures a [Client]. The zero value of a field means the default in its tag, if
// there is one.
type ClientConfig struct {
	URL         string        `config:"url" format:"urls:nats,tls,ws,wss" mask:"url" default:"nats://127.0.0.1:4222" help:"comma-separated list of nats://[user:password@]host:port"`
	CAFile      string        `config:"ca_file" format:"file" help:"PEM file of the CAs that are trusted to sign the server's certificate; enables TLS"`
	Prefix      string        `config:"prefix" help:"prefix of all subjects and streams, the same as that of the services"`
	InboxPrefix string        `config:"inbox_prefix" default:"_INBOX" help:"prefix of the reply subjects, for servers that give each user a separate one"`
	Timeout     time.Duration `config:"timeout" default:"30s" min:"1ms" help:"maximum time of a call whose caller sets no deadline, and of the opening of a stream"`
	MaxInFlight int           `config:"max_in_flight" default:"65536" min:"1" help:"maximum number of calls and streams in flight; further calls get resource_exhausted"`

	Login

	// Options are additional options for the client library, for example nats.InProcessServer.
	Options []nats.Option `config:"-"`
	// Logger receives the log lines that the middleware does not write, such as those about lost
	// connections. The default is slog.Default().
	Logger *slog.Logger `config:"-"`
}

// Client calls endpoints over one connection, and reconnects when the connection is lost. Streams
// that are open at that moment fail with [chassi.Unavailable]. New calls fail immediately with the
// same error until the connection is restored. Calls in flight continue to wait until their
// deadline for a response, which may be lost. All responses arrive in a single inbox. A Client is
// safe for concurrent use.
type Client struct {
	config  ClientConfig
	conn    *nats.Conn
	trouble *trouble
	inbox   *inbox
	js      jetstream.JetStream
	status  chan nats.Status // status changes of the connection

	mu       sync.Mutex
	declared map[string]bool
}

// Conn returns the connection, for features of NATS that this package does not offer. The caller
// must not close the connection.
func (c *Client) Conn() *nats.Conn { return c.conn }

// refusalTime is the time for which Dial retries after the server has refused the login, because
// the server may not have loaded a new user yet.
const refusalTime = 5 * time.Second

// Dial returns a connected client. While the server is unavailable, Dial retries until ctx is done.
// If the server refuses the user, the password or the key, Dial retries for five seconds. Dial
// returns an error at once if c is invalid, or if the certificate of the server is not trusted.
func Dial(ctx context.Context, c ClientConfig) (*Client, error) {
	c = c.withDefaults()
	t := new(trouble)
	options, err := c.options(t)
	if err != nil {
		return nil, err
	}
	var refused time.Time
	var last error // with a cause other than the end of ctx
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

// Open returns a client that may not be connected yet. It makes one attempt to connect; if that
// fails, the client retries in the background until it is connected or closed. A program, for
// example one with a Cluster of package client, can thus start before its broker. Open returns an
// error only if c is invalid.
func Open(c ClientConfig) (*Client, error) {
	c = c.withDefaults()
	t := new(trouble)
	options, err := c.options(t)
	if err != nil {
		return nil, err
	}
	var lasting atomic.Bool // never starting: connection attempts end only with Close
	dialer := nats.SetCustomDialer(dialing(context.Background(), &lasting, t))
	conn, err := nats.Connect(c.URL, slices.Concat([]nats.Option{dialer}, options, []nats.Option{nats.RetryOnFailedConnect(true)})...)
	if err != nil {
		return nil, fmt.Errorf("natsapi: connect to %s: %w", redact.URL(c.URL), withoutURL(err))
	}
	if !conn.IsConnected() {
		c.Logger.Warn("waiting for NATS", "error", t.last(nats.ErrNoServers).Error())
	}
	return newClient(c, conn, t)
}

func (c ClientConfig) withDefaults() ClientConfig {
	c.URL = cmp.Or(c.URL, nats.DefaultURL)
	c.InboxPrefix = cmp.Or(c.InboxPrefix, "_INBOX")
	c.Timeout = cmp.Or(c.Timeout, 30*time.Second)
	c.MaxInFlight = cmp.Or(c.MaxInFlight, 65536)
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return c
}

func (c ClientConfig) options(t *trouble) ([]nats.Option, error) {
	if !isSubject(c.InboxPrefix) {
		return nil, fmt.Errorf("natsapi: inbox_prefix %q: want dot-separated words without spaces, wildcards or control characters, at most %d bytes, such as _INBOX", c.InboxPrefix, maxSubject)
	}
	who, err := login("", c.Login, c.CAFile)
	options := lasting("chassi client", c.InboxPrefix, c.Logger, disconnections(c.Logger), t)
	return slices.Concat(options, who, c.Options), errors.Join(checkURL("url", c.URL), err)
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
	status := conn.StatusChanged(nats.RECONNECTING)
	go func() {
		for range status {
			in.breakStreams(nats.ErrDisconnected)
		}
	}()
	return &Client{config: c, conn: conn, trouble: t, inbox: in, js: js, status: status, declared: make(map[string]bool)}, nil
}

// Close closes the connection. Calls in flight and open streams fail.
func (c *Client) Close() {
	c.conn.Close()
	c.conn.RemoveStatusListener(c.status)
	c.inbox.close()
}

// Bind implements [client.Caller]. It returns an error if e is not served over NATS, if message
// brokers do not support e, or if the request or response type of e has no Protocol Buffers
// encoding.
func (c *Client) Bind(e *chassi.Endpoint) (*chassi.Binding, chassi.Handler, error) {
	if err := transport.CheckServed(e, "nats"); err != nil {
		return nil, nil, err //nolint:wrapcheck // says which endpoint
	}
	remote, err := broker.NewRemote(e)
	if err != nil {
		return nil, nil, err
	}
	subject := subjectOf(c.config.Prefix, e)
	return bindingOf(e), func(ctx context.Context, call *chassi.Call) error { return c.call(ctx, call, subject, remote) }, nil
}

func bindingOf(e *chassi.Endpoint) *chassi.Binding {
	return &chassi.Binding{Endpoint: e, Transport: "nats", Client: true, Route: e.FullName(), Status: transport.CodeStatus}
}

func (c *Client) call(ctx context.Context, call *chassi.Call, subject string, remote *broker.Remote) error {
	if !c.conn.IsConnected() {
		return broker.Unreachable(ctx, errors.Join(nats.ErrDisconnected, c.trouble.last(nil)))
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
	response, err := c.inbox.request(ctx, m)
	switch {
	case errors.Is(err, nats.ErrMaxPayload):
		return transport.ErrBodyTooLarge.WithCause(err)
	case err != nil:
		return broker.Unreachable(ctx, err)
	}
	setOut(call, response.Header)
	return remote.Read(call, response.Data)
}

func newMessage(ctx context.Context, call *chassi.Call, subject string, remote *broker.Remote) (*nats.Msg, error) {
	body, err := remote.Write(ctx, call)
	if err != nil {
		return nil, err
	}
	m := &nats.Msg{Subject: subject, Data: body}
	if in, ok := call.In.(*transport.Pairs); ok {
		m.Header = headerOf(*in)
	}
	return m, nil
}

func headerOf(metadata transport.Pairs) nats.Header {
	h := make(nats.Header, len(metadata))
	for _, p := range metadata {
		h[p.Key] = []string{p.Value}
	}
	return h
}
