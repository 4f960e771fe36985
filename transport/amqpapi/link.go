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

// link maintains a connection to the broker: it connects, calls use to set up the connection, and
// repeats both when the connection is lost.
type link struct {
	url    string
	tls    *tls.Config
	name   string
	logger *slog.Logger
	// use sets up a connection and returns when the connection is ready. When the returned channel,
	// which may be nil, is closed, the link closes the connection and connects again.
	use func(*amqp.Connection) (<-chan struct{}, error)

	outage   *outage.Part
	connects atomic.Uint64 // number of connections that have been set up
	// grant is the rabbitmqctl command that grants the account all permissions that it needs.
	grant string

	cancel  context.CancelFunc
	running sync.WaitGroup
	mu      sync.Mutex
	conn    *amqp.Connection
	down    error    // why there is no connection; nil while there is one
	blocked *blocked // state of the last connection
}

// blocked holds the reason why the broker blocks publishing on a connection. The reason is "" while
// the broker does not block the connection.
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

// follow records and logs the notifications of the broker until the connection ends. It receives
// each notification at once, because the client library blocks until it has been received.
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
	// frameSize is the maximum size of a frame in bytes. It is RabbitMQ's default.
	frameSize = 128 << 10
	// setupTimeout is the maximum time for all declarations on a new connection together.
	setupTimeout = 20 * time.Second
	minBackoff   = 100 * time.Millisecond
	maxBackoff   = 2 * time.Second
)

// start connects, returns when the connection is ready, and then maintains it in the background.
// The error is [chassi.Unavailable] if the broker is unavailable or refuses the connection or its
// setup; any other error is a configuration error.
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

// open starts a goroutine that connects and then maintains the connection. It returns an error
// only if the configuration is invalid.
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

// validate returns an error if the URL is invalid, or if a file that the URL names cannot be used.
func (l *link) validate() error {
	uri, err := amqp.ParseURI(l.url)
	if err == nil && l.tls == nil && uri.CACertFile != "" {
		_, err = tlsConfig("cacertfile", uri.CACertFile)
	}
	if err == nil && uri.CertFile != "" {
		if _, err = tls.LoadX509KeyPair(uri.CertFile, uri.KeyFile); err != nil {
			err = fmt.Errorf("certfile and keyfile: %w", err)
		}
	}
	if err != nil {
		return fmt.Errorf("url %s: %w", redact.URL(l.url), hideURL(err))
	}
	return nil
}

var (
	errUnavailable = chassi.NewError(chassi.Unavailable, "amqp_unavailable", "The AMQP broker is unavailable")
	errRefuses     = chassi.NewError(chassi.Unavailable, "amqp_refuses", "The AMQP broker refuses the connection or its setup")
)

// unavailable returns an error with the code [chassi.Unavailable] for err, the failure of a
// connection or of its setup. If an operator must act, the error contains advice.
func (l *link) unavailable(err error) error {
	account, kind := accountOf(l.url), errRefuses
	_, explained := errors.AsType[*setupError](err)
	switch {
	case explained:
	case errors.Is(err, amqp.ErrVhost), hasCode(err, amqp.NotAllowed):
		err = fmt.Errorf("the broker denies user %q the vhost %q; if the vhost or the permission is missing, run rabbitmqctl add_vhost '%s'; %s: %w",
			account.user, account.vhost, account.vhost, l.grant, err)
	case hasCode(err, amqp.AccessRefused):
		err = fmt.Errorf("the broker refuses the login of user %q; check the name, the password, and whether the user may log in from this machine: %w", account.user, err)
	default:
		kind = errUnavailable
	}
	return kind.WithCause(fmt.Errorf("amqpapi: %s: %w", redact.URL(l.url), hideURL(err)))
}

// check returns an error with the reason why the connection cannot be used, or nil if it can.
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

// stats reports whether there is a connection, and how often the link has reconnected.
func (l *link) stats() (connected bool, reconnects uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := l.connects.Load()
	return n > 0 && l.down == nil, max(n, 1) - 1
}

// stop closes the connection and waits until the goroutines of the link have ended.
func (l *link) stop() {
	l.cancel()
	l.running.Wait()
}

// run maintains the connection until ctx is done. lost is the channel that use returned for the
// current connection.
func (l *link) run(ctx context.Context, lost <-chan struct{}) {
	for err := l.hold(ctx, lost); err != nil; err = l.hold(ctx, lost) {
		if lost, err = l.reconnect(ctx, err); err != nil {
			return
		}
	}
}

// reconnect connects again after a connection or an attempt to connect has failed with err. It
// retries until it succeeds, and returns the result of use. If ctx is done first, it
// returns the latest error.
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

// connect makes one attempt to connect and to set up the connection. It returns the result of use.
func (l *link) connect(ctx context.Context) (lost <-chan struct{}, err error) {
	conn, err := l.dial(ctx)
	if err != nil {
		return nil, err
	}
	b := new(blocked)
	notifications := conn.NotifyBlocked(make(chan amqp.Blocking))
	l.running.Go(func() { b.follow(notifications, l.logger.With("connection", l.name)) })
	// The library waits for the broker's replies without a timeout, and a restarting broker may
	// never send one. The connection is closed after setupTimeout or when ctx is done.
	ending, done := context.WithTimeout(ctx, setupTimeout)
	defer done()
	keep := context.AfterFunc(ending, func() { _ = conn.CloseDeadline(time.Now()) })
	defer keep() // runs before done, which cancels ending
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

// dial returns a new connection. It establishes TLS itself, because the received frames must be
// filtered after they are decrypted and before the client library reads them.
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

// encrypt performs a TLS handshake on c and returns the encrypted connection. If it returns an
// error, c is closed. The URL may name files in the parameters that RabbitMQ documents: cacertfile,
// certfile and keyfile.
func (l *link) encrypt(ctx context.Context, c net.Conn, uri amqp.URI) (net.Conn, error) {
	config := l.tls.Clone()
	var err error
	if config == nil && uri.CACertFile != "" {
		config, err = tlsConfig("cacertfile", uri.CACertFile)
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

// hold waits until ctx is done, lost is closed or the connection is lost, and then closes the
// connection. It returns nil if ctx is done, and otherwise an error with the reason.
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
		return errors.New("a channel was closed, or its consumer was canceled")
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

// hideURL returns err without the URL that a [url.Error] quotes, which may contain a password.
func hideURL(err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		return e.Err
	}
	return err
}
