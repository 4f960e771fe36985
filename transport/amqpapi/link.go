package amqpapi

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

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
	up       atomic.Bool
	connects atomic.Uint64 // connections that were ready so far

	cancel  context.CancelFunc
	running sync.WaitGroup
	mu      sync.Mutex
	conn    *amqp.Connection
	blocked bool
}

const (
	dialTimeout = 5 * time.Second
	heartbeat   = 10 * time.Second
	// setupTimeout is for all declarations on a new connection.
	setupTimeout = 20 * time.Second
	minBackoff   = 100 * time.Millisecond
	maxBackoff   = 2 * time.Second
)

// start returns when the first connection is ready, when the broker refuses to set it
// up, or when ctx ends.
func (l *link) start(ctx context.Context) error {
	if _, err := amqp.ParseURI(l.url); err != nil {
		return fmt.Errorf("amqpapi: url %s: %w", redact(l.url), hideURL(err))
	}
	l.outage = outage.New(l.logger.With("connection", l.name), slog.LevelWarn, "AMQP: no connection, trying again", "AMQP: connected again")
	running, cancel := context.WithCancel(context.Background())
	l.cancel = cancel
	ready, last, refused := make(chan struct{}), make(chan error, 1), make(chan error, 1)
	l.running.Go(func() { l.run(running, ready, last, refused) })
	select {
	case <-ready:
		return nil
	case err := <-refused:
		cancel()
		l.running.Wait()
		return fmt.Errorf("amqpapi: %s: %w", redact(l.url), err)
	case <-ctx.Done():
		cancel()
		l.running.Wait()
		return fmt.Errorf("amqpapi: connect to %s: %w", redact(l.url), errors.Join(ctx.Err(), <-last))
	}
}

// reconnects returns how often the connection was made again.
func (l *link) reconnects() uint64 { return max(l.connects.Load(), 1) - 1 }

// stop ends the connection.
func (l *link) stop() {
	l.cancel()
	l.running.Wait()
}

// run keeps the connection until ctx ends. It closes ready with the first one. It
// leaves in last why there is none yet, and in refused a reason that lasts.
func (l *link) run(ctx context.Context, ready chan struct{}, last, refused chan error) {
	for backoff := minBackoff; ; backoff = min(backoff*2, maxBackoff) {
		lost, err := l.connect(ctx)
		if err == nil {
			l.outage.Succeeded()
			l.up.Store(true)
			l.connects.Add(1)
			select {
			case <-ready:
			default:
				close(ready)
			}
			backoff = minBackoff
			err = l.hold(ctx, lost)
			if l.up.Store(false); err == nil {
				return
			}
		}
		l.outage.Failed(hideURL(err))
		leave(last, err)
		if _, ok := errors.AsType[*setupError](err); ok {
			leave(refused, err)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(backoff/2 + rand.N(backoff)):
		}
	}
}

// leave puts err into a channel with room for one, unless there is one.
func leave(in chan error, err error) {
	select {
	case in <- err:
	default:
	}
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
	l.conn, l.blocked = conn, false
	l.mu.Unlock()
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
	return amqp.DialConfig(unencrypted, amqp.Config{ //nolint:wrapcheck // the callers say whose
		Heartbeat: heartbeat, Properties: amqp.Table{"connection_name": l.name},
		Dial: func(network, _ string) (net.Conn, error) {
			c, err := (&net.Dialer{Timeout: dialTimeout}).DialContext(ctx, network, net.JoinHostPort(uri.Host, strconv.Itoa(uri.Port)))
			if err != nil {
				return nil, err
			}
			if err := c.SetDeadline(time.Now().Add(dialTimeout)); err != nil { // for the handshakes; the library lifts it
				return nil, errors.Join(err, c.Close())
			}
			if uri.Scheme == "amqps" {
				if c, err = l.encrypt(ctx, c, uri); err != nil {
					return nil, err
				}
			}
			return newPlainConn(c), nil
		},
	})
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
	blocking := outage.New(l.logger.With("connection", l.name), slog.LevelWarn, "AMQP: the broker accepts no messages at present", "AMQP: the broker accepts messages again")
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
			l.blocked = b.Active
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
	return l.blocked
}

// redact hides the password of a URL.
func redact(raw string) string {
	u, err := url.Parse(raw)
	if err != nil {
		return "(a URL that is none)"
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
