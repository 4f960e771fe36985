package natsapi

import (
	"cmp"
	"context"
	"crypto/rand"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/internal/outage"
	"github.com/chassi-go/chassi/redact"
)

// login returns the connection options for authentication and TLS. It returns an error if a file
// cannot be read, if the nkey file contains no seed, or if caFile contains no certificate. prefix
// precedes the names of the settings of c in the error.
func login(prefix string, c Login, caFile string) ([]nats.Option, error) {
	options, err := c.options(prefix)
	if caFile != "" { // the library reads the file only after connecting
		pem, readErr := os.ReadFile(caFile)
		if readErr == nil && !x509.NewCertPool().AppendCertsFromPEM(pem) {
			readErr = fmt.Errorf("%s contains no certificate in PEM form", caFile)
		}
		if readErr != nil {
			err = errors.Join(err, fmt.Errorf("natsapi: ca_file: %w", readErr))
		}
		options = append(options, nats.RootCAs(caFile))
	}
	return options, err
}

// checkURL returns an error if one of urls, the comma-separated URLs of a setting, is invalid. The
// error does not contain the URL, which may contain a password.
func checkURL(setting, urls string) error {
	for raw := range strings.SplitSeq(urls, ",") {
		if raw = strings.TrimSpace(raw); raw == "" {
			continue
		}
		if !strings.Contains(raw, "://") {
			raw = "nats://" + raw
		}
		u, err := url.Parse(raw)
		if err != nil || u.Hostname() == "" || !slices.Contains([]string{"nats", "tls", "ws", "wss"}, u.Scheme) {
			return fmt.Errorf("natsapi: %s: want a comma-separated list of nats://[user:password@]host:port, or tls://, ws:// or wss://; percent-encode special characters in the user and password", setting)
		}
	}
	return nil
}

// connections holds the connections of a server. There is one connection for each purpose, so that
// each can have separate permissions.
type connections struct {
	requests, responses *nats.Conn
	work                *nats.Conn          // nil without work queues
	js                  jetstream.JetStream // uses work
}

// open establishes the connections of the server. If it returns an error, all of them are closed.
func (s *Server) open(ctx context.Context) (cs connections, err error) {
	request, response, work, err := s.config.logins()
	if err != nil {
		return cs, err
	}
	responsesURL := cmp.Or(s.config.Responses.URL, s.config.URL)
	defer func() {
		if err != nil {
			cs.close()
		}
	}()
	if cs.requests, err = s.connect(ctx, s.config.URL, "requests", request); err != nil {
		return cs, err
	}
	if cs.responses, err = s.connect(ctx, responsesURL, "responses", response); err != nil {
		return cs, err
	}
	if len(s.work) > 0 {
		if cs.work, err = s.connect(ctx, s.config.URL, "work", work); err != nil {
			return cs, err
		}
		if cs.js, err = jetstream.New(cs.work); err != nil {
			err = fmt.Errorf("natsapi: %w", err)
		}
	}
	return cs, err
}

func (s *Server) connect(ctx context.Context, url, purpose string, options []nats.Option) (*nats.Conn, error) {
	options = slices.Concat(lasting("chassi "+purpose, "_INBOX", s.config.Logger, s.lost, &s.trouble), options, s.config.Options)
	return connect(ctx, url, &s.trouble, options)
}

// logins returns the connection options with the credentials for requests, responses and work
// queues.
func (c Config) logins() (requests, responses, work []nats.Option, err error) {
	if b := c.Broker; b != nil {
		return b.RequestOptions(), b.ResponseOptions(), b.WorkOptions(), nil
	}
	if requests, err = login("", c.Login, c.CAFile); err != nil {
		return nil, nil, nil, err
	}
	responses = requests
	if c.Responses != (Responses{}) {
		responses, err = login("responses.", c.Responses.Login, c.CAFile)
	}
	return requests, responses, requests, err
}

func (cs connections) all() []*nats.Conn {
	return slices.DeleteFunc([]*nats.Conn{cs.requests, cs.responses, cs.work}, func(c *nats.Conn) bool { return c == nil })
}

// flush flushes the connections that are not lost, each for at most one second.
func (cs connections) flush() (err error) {
	for _, conn := range cs.all() {
		if !conn.IsConnected() {
			continue
		}
		if flushErr := conn.FlushTimeout(time.Second); flushErr != nil && conn.IsConnected() {
			err = errors.Join(err, fmt.Errorf("natsapi: flush the connection %q: %w", conn.Opts.Name, flushErr))
		}
	}
	return err
}

func (cs connections) close() {
	for _, c := range cs.all() {
		c.Close()
	}
}

// trouble records why the last attempt to connect failed, which the client library does not
// report, and which subscription the server refuses. It is safe for concurrent use.
type trouble struct {
	mu      sync.Mutex
	reason  error // why there is no connection, or nil
	refused error // why a subscription was refused, or nil
}

func (t *trouble) connecting(err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.reason = bounded(withoutURL(err))
}

func (t *trouble) connected() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.reason, t.refused = nil, nil
}

// refusedSubject matches an error about a missing permission to subscribe, and captures the
// subject.
var refusedSubject = regexp.MustCompile(`(?i)for subscription to "([^"]*)"`)

// subscribing records err if err means that the permission for a subscription is missing. It
// ignores subscriptions to service discovery ($SRV), which a service does not need.
func (t *trouble) subscribing(err error) {
	found := refusedSubject.FindStringSubmatch(err.Error())
	if found == nil || strings.Contains(found[1], "$SRV.") {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	t.refused = fmt.Errorf("natsapi: the user is not permitted to subscribe to %s; grant the permission: %w", found[1], err)
}

// last returns an error with the reason why there is no connection, or fallback if the reason is
// unknown.
func (t *trouble) last(fallback error) error {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.reason != nil {
		return t.reason
	}
	return fallback
}

func (t *trouble) refusal() error {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.refused
}

// disconnections returns the log of lost and restored connections of one server or client.
func disconnections(logger *slog.Logger) *outage.Log {
	return outage.New(logger, slog.LevelWarn, "NATS: disconnected, connecting again", "NATS: connected again")
}

// lasting returns the options of a connection that reconnects without a time limit. The inboxes of
// the connection, for example for JetStream requests, have unpredictable names.
func lasting(name, inboxPrefix string, logger *slog.Logger, disconnections *outage.Log, t *trouble) []nats.Option {
	lost := disconnections.Part()
	errors, refusals := outage.NewEvents(logger, time.Second), outage.NewEvents(logger, time.Minute)
	return []nats.Option{
		nats.Name(name), nats.MaxReconnects(-1), nats.ReconnectWait(200 * time.Millisecond), nats.ReconnectJitter(100*time.Millisecond, 300*time.Millisecond),
		nats.IgnoreAuthErrorAbort(), nats.Timeout(dialTimeout), nats.PingInterval(20 * time.Second),
		nats.CustomInboxPrefix(inboxPrefix + "." + rand.Text()),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				t.connecting(err)
				lost.Failed(bounded(err), "connection", name)
			}
		}),
		nats.ReconnectErrHandler(func(_ *nats.Conn, err error) {
			t.connecting(err)
			lost.Failed(bounded(withoutURL(err)), "connection", name)
		}),
		nats.ConnectHandler(func(c *nats.Conn) {
			t.connected()
			logger.Debug("NATS: connected", "server", redact.URL(c.ConnectedUrl()))
		}),
		nats.ReconnectHandler(func(c *nats.Conn) {
			t.connected()
			lost.Succeeded("server", redact.URL(c.ConnectedUrl()))
		}),
		nats.ErrorHandler(func(_ *nats.Conn, s *nats.Subscription, err error) {
			subject, often := "", errors
			if s != nil {
				subject = s.Subject
			}
			t.subscribing(err)
			if isRefusal(err) {
				t.connecting(err)
				often = refusals
			}
			often.Log(slog.LevelError, "NATS", "error", shorten(err.Error()), "subject", subject)
		}),
	}
}

// dialTimeout is the maximum time for establishing a connection, and then for the login.
const dialTimeout = 5 * time.Second

// dialer implements [nats.CustomDialer] with a function. It replaces the dialer of the client
// library, whose errors report only that no server is available.
type dialer func(network, address string) (net.Conn, error)

func (d dialer) Dial(network, address string) (net.Conn, error) { return d(network, address) }

// dialing returns a dialer that records its errors in t. If ctx is done while starting is true,
// the attempt to connect fails and the connection is closed.
func dialing(ctx context.Context, starting *atomic.Bool, t *trouble) dialer {
	return func(network, address string) (net.Conn, error) {
		base := context.Background()
		if starting.Load() {
			base = ctx
		}
		conn, err := dial(base, network, address)
		if err != nil {
			t.connecting(err)
			return nil, err //nolint:wrapcheck // says where
		}
		context.AfterFunc(base, func() {
			if starting.Load() {
				_ = conn.Close()
			}
		})
		return &guardedConn{Conn: conn}, nil
	}
}

// dial connects to address. It returns an error for an address without a host, which would mean the
// local machine: a server may announce such an address as a member of its cluster.
func dial(ctx context.Context, network, address string) (net.Conn, error) {
	if host, _, err := net.SplitHostPort(address); err != nil || host == "" {
		return nil, fmt.Errorf("server address %q: want host:port", address)
	}
	return (&net.Dialer{Timeout: dialTimeout}).DialContext(ctx, network, address) //nolint:wrapcheck // says where
}

// connect makes one attempt to connect and returns the connection. The error is always
// [chassi.Unavailable], because the settings have already been validated.
func connect(ctx context.Context, url string, t *trouble, options []nats.Option) (*nats.Conn, error) {
	var starting atomic.Bool
	starting.Store(true)
	defer starting.Store(false)
	conn, err := nats.Connect(url, slices.Concat([]nats.Option{nats.SetCustomDialer(dialing(ctx, &starting, t))}, options)...)
	if err == nil {
		return conn, nil
	}
	if errors.Is(err, nats.ErrNoServers) {
		err = t.last(err)
	}
	return nil, unavailable(fmt.Errorf("natsapi: connect to %s: %w", redact.URL(url), withoutURL(err)))
}

var (
	errUnavailable = chassi.NewError(chassi.Unavailable, "nats_unavailable", "The NATS server is unavailable")
	errRefused     = chassi.NewError(chassi.Unavailable, "nats_refuses", "The NATS server rejects the user, its password or its key")
	errSetup       = chassi.NewError(chassi.Unavailable, "nats_unavailable", "The NATS server is unavailable or refuses a work queue")
	errForbidden   = chassi.NewError(chassi.Unavailable, "nats_refuses", "The NATS server denies a permission")
)

func unavailable(err error) error {
	if isRefusal(err) {
		return errRefused.WithCause(err)
	}
	return errUnavailable.WithCause(err)
}

// isRefusal reports whether err means that the server has refused the login.
func isRefusal(err error) bool {
	return slices.ContainsFunc([]error{
		nats.ErrAuthorization, nats.ErrAuthExpired, nats.ErrAuthRevoked, nats.ErrAccountAuthExpired,
	}, func(target error) bool { return errors.Is(err, target) })
}

// Check returns an error if Start has not connected yet, if a connection is lost, or if a
// permission to subscribe is missing.
func (s *Server) Check(context.Context) error {
	cs := s.conns.Load()
	if cs == nil {
		return errUnavailable.WithCause(errors.New("natsapi: the server has not started"))
	}
	for _, c := range cs.all() {
		if !c.IsConnected() {
			reason := cmp.Or(c.LastError(), s.trouble.last(nats.ErrDisconnected))
			return unavailable(fmt.Errorf("natsapi: the connection %q is not established: %w", c.Opts.Name, withoutURL(reason)))
		}
	}
	if err := s.trouble.refusal(); err != nil {
		return errForbidden.WithCause(err)
	}
	return nil
}
