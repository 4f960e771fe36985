package amqpapi

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/internal/outage"
	"github.com/chassi-go/chassi/redact"
	amqp "github.com/rabbitmq/amqp091-go"
)

// link maintains a connection: it connects, calls use to set the connection up, and repeats
// both when the connection is lost.
type link struct {
	url    string
	tls    *tls.Config
	name   string
	logger *slog.Logger
	// use sets up a connection and returns once it is ready. The connection is closed when the
	// returned channel is closed.
	use func(*amqp.Connection) (<-chan struct{}, error)

	outage   *outage.Part
	connects atomic.Uint64 // number of connections that were ready so far
	// grant is the command that grants the account all permissions that it needs.
	grant string

	cancel  context.CancelFunc
	running sync.WaitGroup
	mu      sync.Mutex
	conn    *amqp.Connection
	down    error    // why there is no connection
	blocked *blocked // of the last connection
}

// blocked holds the reason why the broker blocks a connection from publishing, "" if it does
// not.
type blocked struct{ reason atomic.Pointer[string] }

func (b *blocked) String() string {
	if b == nil {
		return ""
	}
	if reason := b.reason.Load(); reason != nil {
		return *reason
	}
	return ""
}

// follow records the broker's notifications until the connection ends. It receives without
// pause, because the client library blocks on the channel.
func (b *blocked) follow(notifications <-chan amqp.Blocking, logger *slog.Logger) {
	blocking := outage.New(logger, slog.LevelWarn, "AMQP: the broker currently accepts no messages", "AMQP: the broker accepts messages again")
	for n := range notifications {
		if !n.Active {
			b.reason.Store(nil)
			blocking.Succeeded()
			continue
		}
		reason := cmp.Or(n.Reason, "no reason given")
		b.reason.Store(&reason)
		blocking.Failed(errors.New(reason))
	}
}

const (
	dialTimeout = 5 * time.Second
	heartbeat   = 10 * time.Second
	// frameSize is RabbitMQ's default. Without a limit the library allocates the size that the
	// broker requests.
	frameSize = 128 << 10
	// setupTimeout is the timeout of all declarations on a new connection.
	setupTimeout = 20 * time.Second
	minBackoff   = 100 * time.Millisecond
	maxBackoff   = 2 * time.Second
)

// start returns when the first connection is ready, or with an error: [chassi.Unavailable] if
// the broker is unavailable or refuses something, otherwise a configuration error.
func (l *link) start(ctx context.Context) error {
	if err := l.validate(); err != nil {
		return fmt.Errorf("amqpapi: %w", err)
	}
	lost, err := l.connect(ctx)
	if err != nil {
		return l.unavailable(err)
	}
	running, cancel := context.WithCancel(context.Background())
	l.cancel = cancel
	l.running.Go(func() { l.run(running, lost) })
	return nil
}

// open is like start, but connects in the background. The error is a configuration error.
func (l *link) open() error {
	if err := l.validate(); err != nil {
		return fmt.Errorf("amqpapi: %w", err)
	}
	running, cancel := context.WithCancel(context.Background())
	l.cancel = cancel
	l.setDown(errDisconnected)
	l.running.Go(func() {
		lost, err := l.connect(running)
		if err != nil {
			lost, err = l.reconnect(running, err)
		}
		if err == nil {
			l.run(running, lost)
		}
	})
	return nil
}

// disconnections returns the log of lost and restored connections of one server or client.
func disconnections(logger *slog.Logger) *outage.Log {
	return outage.New(logger, slog.LevelWarn, "AMQP: no connection, trying again", "AMQP: connected again")
}

// validate checks the URL and the files that it names.
func (l *link) validate() error {
	uri, err := amqp.ParseURI(l.url)
	if err == nil && l.tls == nil && uri.CACertFile != "" {
		_, err = tlsConfig(uri.CACertFile)
	}
	if err == nil && uri.CertFile != "" {
		_, err = tls.LoadX509KeyPair(uri.CertFile, uri.KeyFile)
	}
	if err != nil {
		return fmt.Errorf("url %s: %w", redact.URL(l.url), hideURL(err))
	}
	return nil
}

var (
	errUnavailable = chassi.NewError(chassi.Unavailable, "amqp_unavailable", "The AMQP broker cannot be used")
	errRefuses     = chassi.NewError(chassi.Unavailable, "amqp_refuses", "The AMQP broker denies a permission")
)

// unavailable returns err with advice for an operator.
func (l *link) unavailable(err error) error {
	account, kind := accountOf(l.url), errRefuses
	_, explained := errors.AsType[*setupError](err)
	switch {
	case explained:
	case errors.Is(err, amqp.ErrVhost), hasCode(err, amqp.NotAllowed):
		err = fmt.Errorf("vhost %q does not exist or user %q may not use it: rabbitmqctl add_vhost '%s'; %s: %w",
			account.vhost, account.user, account.vhost, l.grant, err)
	case hasCode(err, amqp.AccessRefused):
		err = fmt.Errorf("user %q does not exist or has another password: %w", account.user, err)
	default:
		kind = errUnavailable
	}
	return kind.WithCause(fmt.Errorf("amqpapi: %s: %w", redact.URL(l.url), hideURL(err)))
}

// check returns the reason why there is no usable connection, or nil.
func (l *link) check() error {
	l.mu.Lock()
	down, blocked := l.down, l.blocked.String()
	l.mu.Unlock()
	switch {
	case down != nil:
		return l.unavailable(down)
	case blocked != "":
		return errUnavailable.WithCause(fmt.Errorf("amqpapi: the broker currently accepts no messages: %s", blocked))
	}
	return nil
}

// stats returns whether there is a connection, and the number of reconnects.
func (l *link) stats() (connected bool, reconnects uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := l.connects.Load()
	return n > 0 && l.down == nil, max(n, 1) - 1
}

// stop closes the connection and waits for the goroutines of the link.
func (l *link) stop() {
	l.cancel()
	l.running.Wait()
}

// run maintains the connection until ctx ends.
func (l *link) run(ctx context.Context, lost <-chan struct{}) {
	for err := l.hold(ctx, lost); err != nil; err = l.hold(ctx, lost) {
		if lost, err = l.reconnect(ctx, err); err != nil {
			return
		}
	}
}

// reconnect tries to connect, after an attempt or a connection failed with err, until it succeeds.
// It returns an error when ctx ends.
func (l *link) reconnect(ctx context.Context, err error) (lost <-chan struct{}, _ error) {
	for backoff := minBackoff; err != nil; backoff = min(backoff*2, maxBackoff) {
		l.setDown(err)
		l.outage.Failed(hideURL(err), "connection", l.name)
		select {
		case <-ctx.Done():
			return nil, err
		case <-time.After(backoff/2 + rand.N(backoff)):
		}
		lost, err = l.connect(ctx)
	}
	l.outage.Succeeded()
	return lost, nil
}

func (l *link) setDown(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.down = err
}

// connect establishes one connection and sets it up.
func (l *link) connect(ctx context.Context) (lost <-chan struct{}, err error) {
	conn, err := l.dial(ctx)
	if err != nil {
		return nil, err
	}
	b := new(blocked)
	notifications := conn.NotifyBlocked(make(chan amqp.Blocking))
	l.running.Go(func() { b.follow(notifications, l.logger.With("connection", l.name)) })
	// The library waits for the broker's replies without a timeout, and a restarting broker may
	// never send one. The connection is closed after setupTimeout or when ctx ends.
	ending, done := context.WithTimeout(ctx, setupTimeout)
	defer done()
	keep := context.AfterFunc(ending, func() { _ = conn.CloseDeadline(time.Now()) })
	defer keep() // runs before done, which would end ending
	if lost, err = l.use(conn); err != nil {
		_ = conn.CloseDeadline(time.Now().Add(time.Second))
		if reason := b.String(); reason != "" {
			err = fmt.Errorf("the broker currently accepts no messages: %s: %w", reason, err)
		}
		return nil, err
	}
	l.mu.Lock()
	l.conn, l.down, l.blocked = conn, nil, b
	l.mu.Unlock()
	l.connects.Add(1)
	return lost, nil
}

// dial returns a new connection. TLS is established here and not by the library, because received
// frames are filtered above it.
func (l *link) dial(ctx context.Context) (*amqp.Connection, error) {
	uri, err := amqp.ParseURI(l.url)
	if err != nil {
		return nil, err //nolint:wrapcheck // the callers say whose
	}
	unencrypted := l.url
	if rest, ok := strings.CutPrefix(l.url, "amqps://"); ok {
		unencrypted = "amqp://" + rest
	}
	keep := func() bool { return true }
	defer func() { keep() }() // the connection outlives ctx
	var plain *plainConn
	conn, err := amqp.DialConfig(unencrypted, amqp.Config{
		Heartbeat: heartbeat, FrameSize: frameSize, Properties: amqp.Table{"connection_name": l.name},
		Dial: func(network, _ string) (net.Conn, error) {
			c, err := (&net.Dialer{Timeout: dialTimeout}).DialContext(ctx, network, net.JoinHostPort(uri.Host, strconv.Itoa(uri.Port)))
			if err != nil {
				return nil, err
			}
			if err := c.SetDeadline(time.Now().Add(dialTimeout)); err != nil { // for the handshakes; the library removes it
				return nil, errors.Join(err, c.Close())
			}
			raw := c
			keep = context.AfterFunc(ctx, func() { _ = raw.Close() })
			if uri.Scheme == "amqps" {
				if c, err = l.encrypt(ctx, c, uri); err != nil {
					return nil, err
				}
			}
			plain = newPlainConn(c)
			return plain, nil
		},
	})
	if plain != nil && plain.timedOut.Load() { // the library would report a refusal
		return nil, fmt.Errorf("no response within %v: %w", dialTimeout, os.ErrDeadlineExceeded)
	}
	return conn, err //nolint:wrapcheck // the callers say whose
}

// encrypt adds TLS to a connection. The URL may name files in the parameters that RabbitMQ
// documents: cacertfile, certfile and keyfile.
func (l *link) encrypt(ctx context.Context, c net.Conn, uri amqp.URI) (net.Conn, error) {
	config := l.tls.Clone()
	var err error
	if config == nil && uri.CACertFile != "" {
		config, err = tlsConfig(uri.CACertFile)
	}
	if config == nil {
		config = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	if err == nil && uri.CertFile != "" {
		var certificate tls.Certificate
		certificate, err = tls.LoadX509KeyPair(uri.CertFile, uri.KeyFile)
		config.Certificates = []tls.Certificate{certificate}
	}
	if config.ServerName = uri.ServerName; config.ServerName == "" {
		config.ServerName = uri.Host
	}
	encrypted := tls.Client(c, config)
	if err == nil {
		err = encrypted.HandshakeContext(ctx)
	}
	if err != nil {
		return nil, errors.Join(err, c.Close())
	}
	return encrypted, nil
}

// hold waits until ctx ends or the connection is lost, and closes the connection. It returns nil if
// ctx has ended, and otherwise the reason for the loss.
func (l *link) hold(ctx context.Context, lost <-chan struct{}) error {
	l.mu.Lock()
	conn := l.conn
	l.mu.Unlock()
	defer func() { _ = conn.CloseDeadline(time.Now().Add(time.Second)) }()
	closed := conn.NotifyClose(make(chan *amqp.Error, 1))
	select {
	case <-ctx.Done():
		return nil
	case <-lost:
		return errors.New("a channel was closed, or its consumer cancelled")
	case reason := <-closed:
		if reason == nil {
			return errors.New("the connection was closed")
		}
		return reason
	}
}

// isBlocked reports whether the broker blocks the connection from publishing.
func (l *link) isBlocked() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.blocked.String() != ""
}

// hideURL returns err without the text of a URL, which may contain a password.
func hideURL(err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		return e.Err
	}
	return err
}
