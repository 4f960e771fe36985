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
	amqp "github.com/rabbitmq/amqp091-go"
)

// link keeps a connection: it connects, lets use make what it needs on the
// connection, and does both again when the connection is lost. The client
// library can do so too; here the users know what to declare, and one loop is
// easier to reason about than a recovered channel.
type link struct {
	url    string
	tls    *tls.Config
	name   string
	logger *slog.Logger
	// use sets a connection up and returns once it is ready. The connection is given
	// up when it is lost, or when the returned channel is closed.
	use func(*amqp.Connection) (<-chan struct{}, error)

	outage   *outage.Log
	connects atomic.Uint64 // connections that were ready so far
	// grant is the command that gives the account all rights that it needs.
	grant string

	cancel  context.CancelFunc
	running sync.WaitGroup
	mu      sync.Mutex
	conn    *amqp.Connection
	down    error // why there is no connection now
	blocked string
}

const (
	dialTimeout = 5 * time.Second
	heartbeat   = 10 * time.Second
	// setupTimeout is for all declarations on a new connection.
	setupTimeout = 20 * time.Second
	minBackoff   = 100 * time.Millisecond
	maxBackoff   = 2 * time.Second
)

// start returns when the first connection is ready, or with an error: [chassi.Unavailable]
// if the broker is away or refuses something, and otherwise one of the settings.
func (l *link) start(ctx context.Context) error {
	if err := l.validate(); err != nil {
		return err
	}
	lost, err := l.connect(ctx)
	if err != nil {
		return l.unavailable(err)
	}
	l.outage = outage.New(l.logger.With("connection", l.name), slog.LevelWarn, "AMQP: no connection, trying again", "AMQP: connected again")
	running, cancel := context.WithCancel(context.Background())
	l.cancel = cancel
	l.running.Go(func() { l.run(running, lost) })
	return nil
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
		return fmt.Errorf("amqpapi: url %s: %w", redact(l.url), hideURL(err))
	}
	return nil
}

var (
	errUnavailable = chassi.NewError(chassi.Unavailable, "amqp_unavailable", "The AMQP broker cannot be used")
	errRefuses     = chassi.NewError(chassi.Unavailable, "amqp_refuses", "The AMQP broker refuses what is needed")
)

// unavailable says what an operator can do about err.
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
	return kind.WithCause(fmt.Errorf("amqpapi: %s: %w", redact(l.url), hideURL(err)))
}

// check says why there is no connection that can be used.
func (l *link) check() error {
	l.mu.Lock()
	down, blocked := l.down, l.blocked
	l.mu.Unlock()
	switch {
	case down != nil:
		return l.unavailable(down)
	case blocked != "":
		return errUnavailable.WithCause(fmt.Errorf("amqpapi: the broker accepts no messages at present: %s", blocked))
	}
	return nil
}

// stats returns whether there is a connection, and how often it was made again.
func (l *link) stats() (connected bool, reconnects uint64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	n := l.connects.Load()
	return n > 0 && l.down == nil, max(n, 1) - 1
}

// stop ends the connection.
func (l *link) stop() {
	l.cancel()
	l.running.Wait()
}

// run keeps the connection until ctx ends.
func (l *link) run(ctx context.Context, lost <-chan struct{}) {
	for err := l.hold(ctx, lost); err != nil; err = l.hold(ctx, lost) {
		for backoff := minBackoff; err != nil; backoff = min(backoff*2, maxBackoff) {
			l.setDown(err)
			l.outage.Failed(hideURL(err))
			select {
			case <-ctx.Done():
				return
			case <-time.After(backoff/2 + rand.N(backoff)):
			}
			lost, err = l.connect(ctx)
		}
		l.outage.Succeeded()
	}
}

func (l *link) setDown(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.down = err
}

// connect makes one connection ready.
func (l *link) connect(ctx context.Context) (lost <-chan struct{}, err error) {
	conn, err := l.dial(ctx)
	if err != nil {
		return nil, err
	}
	// The library waits for the broker's replies without an end; a broker that is starting
	// again may owe one for good. Then, and when ctx ends, the connection is given up.
	ending, done := context.WithTimeout(ctx, setupTimeout)
	defer done()
	keep := context.AfterFunc(ending, func() { _ = conn.CloseDeadline(time.Now()) })
	defer keep() // runs before done, which would end it
	if lost, err = l.use(conn); err != nil {
		_ = conn.CloseDeadline(time.Now().Add(time.Second))
		return nil, err
	}
	l.mu.Lock()
	l.conn, l.down, l.blocked = conn, nil, ""
	l.mu.Unlock()
	l.connects.Add(1)
	return lost, nil
}

// dial connects. TLS is ours and not the library's, because what comes is made plain
// above it.
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
		Heartbeat: heartbeat, Properties: amqp.Table{"connection_name": l.name},
		Dial: func(network, _ string) (net.Conn, error) {
			c, err := (&net.Dialer{Timeout: dialTimeout}).DialContext(ctx, network, net.JoinHostPort(uri.Host, strconv.Itoa(uri.Port)))
			if err != nil {
				return nil, err
			}
			if err := c.SetDeadline(time.Now().Add(dialTimeout)); err != nil { // for the handshakes; the library lifts it
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
	if plain != nil && plain.timedOut.Load() { // the library takes this for a refusal
		return nil, fmt.Errorf("no answer within %v: %w", dialTimeout, os.ErrDeadlineExceeded)
	}
	return conn, err //nolint:wrapcheck // the callers say whose
}

// encrypt makes a connection one with TLS. The URL may name files, as RabbitMQ's
// documents say: cacertfile, certfile, keyfile.
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

// hold returns nil when ctx ends, and otherwise why the connection is lost.
func (l *link) hold(ctx context.Context, lost <-chan struct{}) error {
	l.mu.Lock()
	conn := l.conn
	l.mu.Unlock()
	defer func() { _ = conn.CloseDeadline(time.Now().Add(time.Second)) }()
	closed := conn.NotifyClose(make(chan *amqp.Error, 1))
	blocked := conn.NotifyBlocked(make(chan amqp.Blocking, 1))
	blocking := outage.New(l.logger.With("connection", l.name), slog.LevelWarn,
		"AMQP: the broker accepts no messages at present", "AMQP: the broker accepts messages again")
	for {
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
		case b := <-blocked:
			l.mu.Lock()
			if l.blocked = ""; b.Active {
				l.blocked = cmp.Or(b.Reason, "no reason given")
			}
			l.mu.Unlock()
			if b.Active {
				blocking.Failed(errors.New(b.Reason))
			} else {
				blocking.Succeeded()
			}
		}
	}
}

// isBlocked tells whether the broker has asked for no more messages.
func (l *link) isBlocked() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.blocked != ""
}

// redact hides the password of a URL.
func redact(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return "(invalid URL)"
	}
	return u.Redacted()
}

// hideURL keeps the text of a URL, which may hold a password, out of errors.
func hideURL(err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		return e.Err
	}
	return err
}
