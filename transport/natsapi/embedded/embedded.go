// Package embedded runs a NATS server inside the process, so that a single binary can serve
// NATS.
//
// Every connection requires a key. Each client has its own key and account. A client can call
// services and receive its own responses, but cannot see the messages of other clients.
// [Credentials] describes how clients are added. The process itself connects as three users: one
// user receives requests, one sends responses, and one uses work queues. Each of them has only the
// permissions for its purpose. docs/decisions/0016 explains the reasons.
package embedded

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/chassi-go/chassi/internal/listening"
	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
)

// Config configures a [Server]. The zero value of a field means the default in its tag, if there is
// one.
type Config struct {
	Addr           string `config:"addr" default:"127.0.0.1:4223" format:"addr" help:"host:port to listen on; port 0 chooses a free port"`
	StoreDir       string `config:"store_dir" help:"directory of JetStream; empty disables JetStream"`
	CredentialsDir string `config:"credentials_dir" default:"nats-clients" help:"directory with the keys of the clients; created at the first start, with one client called default"`

	MaxConnections          int           `config:"max_connections" default:"1000" min:"1" help:"maximum number of connections"`
	MaxConnectionsPerClient int           `config:"max_connections_per_client" default:"20" min:"1" help:"maximum number of connections of one client; further ones are rejected"`
	MaxUnansweredPerClient  int           `config:"max_unanswered_per_client" default:"10000" min:"1" help:"maximum number of requests of one client without a response; a client with more is disconnected, and rejected until enough have ended"`
	ResponseTimeout         time.Duration `config:"response_timeout" default:"15s" min:"1s" help:"maximum time of a call, after which its response is dropped; at least 5 s more than the longest timeout of an endpoint"`
	MaxSubscriptions        int           `config:"max_subscriptions" default:"1000" min:"1" help:"maximum number of subscriptions of one connection"`
	MaxPayload              int           `config:"max_payload" default:"1048576" min:"1024" max:"8388608" help:"maximum size of a message with its headers in bytes; a client that sends a larger one is disconnected"`
	MaxPendingBytes         int           `config:"max_pending_bytes" default:"33554432" min:"65536" help:"maximum number of bytes that are buffered for one connection; with more it is disconnected"`
	WriteTimeout            time.Duration `config:"write_timeout" default:"5s" min:"1ms" help:"maximum time for a connection to read what was sent; then it is disconnected"`

	// Logger receives the log lines of the server. The default is slog.Default().
	Logger *slog.Logger `config:"-"`
}

// Fixed limits.
const (
	authTimeout    = 2 * time.Second // maximum time from the connection to its authentication
	pingInterval   = 20 * time.Second
	maxPingsOut    = 3               // pings without a response before a connection is closed
	responseSlack  = 5 * time.Second // time from the timeout of a call to the timeout of its response
	maxControlLine = 4096            // maximum bytes of a protocol line: subjects, or the CONNECT message
	maxPayload     = 8 << 20         // maximum of Config.MaxPayload in bytes
)

func (c Config) withDefaults() Config {
	c.Addr = cmp.Or(c.Addr, "127.0.0.1:4223")
	c.CredentialsDir = cmp.Or(c.CredentialsDir, "nats-clients")
	c.MaxConnections = cmp.Or(c.MaxConnections, 1000)
	c.MaxConnectionsPerClient = cmp.Or(c.MaxConnectionsPerClient, 20)
	c.MaxUnansweredPerClient = cmp.Or(c.MaxUnansweredPerClient, 10_000)
	c.ResponseTimeout = cmp.Or(c.ResponseTimeout, 15*time.Second)
	c.MaxSubscriptions = cmp.Or(c.MaxSubscriptions, 1000)
	c.MaxPayload = cmp.Or(c.MaxPayload, 1<<20)
	c.MaxPendingBytes = cmp.Or(c.MaxPendingBytes, 32<<20)
	c.WriteTimeout = cmp.Or(c.WriteTimeout, 5*time.Second)
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return c
}

// Server is a NATS server with accounts for clients and for the services of this process. It
// implements the Broker of package natsapi.
type Server struct {
	config   Config
	nats     atomic.Pointer[server.Server]
	accounts *accounts

	// Keys of the users of this process, created by Start.
	requests, responses, work nkeys.KeyPair

	stopWatch context.CancelFunc
	watching  sync.WaitGroup
}

// New returns a server that has not been started.
func New(c Config) *Server { return &Server{config: c.withDefaults()} }

// Name returns "nats embedded".
func (s *Server) Name() string { return "nats embedded" }

// Start starts the NATS server and waits until it accepts connections. If there are no clients,
// Start adds one, called default, and logs how to use its key. It returns an error if the address
// or the store directory cannot be used, if the clients cannot be read or added, or if ctx is done
// first.
func (s *Server) Start(ctx context.Context) error {
	options, err := s.options(ctx)
	if err != nil {
		return err
	}
	s.accounts = &accounts{
		maxPerClient: s.config.MaxConnectionsPerClient, logger: s.config.Logger, watchers: make(map[*watcher]struct{}),
		users: make(map[string]user), clients: make(map[string]*server.Account), subjects: make(map[string]export),
		unanswered: unanswered{max: s.config.MaxUnansweredPerClient, refused: make(map[string]int)},
	}
	options.CustomClientAuthentication = s.accounts
	n, err := server.NewServer(options)
	if err != nil {
		return fmt.Errorf("embedded: %w", err)
	}
	n.SetLogger(&logger{Logger: s.config.Logger}, false, false)
	first, err := s.admit(n)
	if err != nil {
		n.Shutdown()
		return err
	}
	go n.Start()
	for !n.ReadyForConnections(50 * time.Millisecond) {
		if ctx.Err() != nil {
			n.Shutdown()
			return fmt.Errorf("embedded: the NATS server did not become ready: %w", ctx.Err())
		}
	}
	if options.JetStream {
		if err := s.accounts.service.EnableJetStream(nil, nil); err != nil {
			n.Shutdown()
			return fmt.Errorf("embedded: enable JetStream: %w", err)
		}
	}
	s.nats.Store(n)
	s.watch()
	s.config.Logger.Info("listening", "server", s.Name(), "addr", n.Addr().String(), "jetstream", options.JetStream)
	s.logFirstRun(first)
	return nil
}

func (s *Server) options(ctx context.Context) (*server.Options, error) {
	c := s.config
	host, portText, err := net.SplitHostPort(c.Addr)
	if err != nil {
		return nil, fmt.Errorf("embedded: nats address %q: want host:port", c.Addr)
	}
	port, err := strconv.Atoi(portText)
	if err != nil || port < 0 || port > 65535 {
		return nil, fmt.Errorf("embedded: nats address %q: want host:port with a port from 0 to 65535", c.Addr)
	}
	if port == 0 {
		port = server.RANDOM_PORT
	}
	// On a listen error the NATS server only logs the error and never becomes ready, so the address
	// is checked first.
	probe, err := (&net.ListenConfig{}).Listen(ctx, "tcp", c.Addr)
	if err != nil {
		return nil, fmt.Errorf("embedded: %w; %s", err, listening.Advice(err)) // err says where
	}
	_ = probe.Close()
	return &server.Options{
		Host: host, Port: port, ServerName: "embedded", NoSigs: true, AlwaysEnableNonce: true,
		MaxConn: c.MaxConnections, MaxSubs: c.MaxSubscriptions, MaxPending: int64(c.MaxPendingBytes), WriteDeadline: c.WriteTimeout,
		MaxPayload:     int32(min(c.MaxPayload, maxPayload)),
		MaxControlLine: maxControlLine, AuthTimeout: authTimeout.Seconds(), PingInterval: pingInterval, MaxPingsOut: maxPingsOut, MaxClosedClients: 100,
		JetStream: c.StoreDir != "", StoreDir: c.StoreDir,
		// A client that does not read must not delay the responses to others.
		NoFastProducerStall: true,
	}, nil
}

// admit creates the users of this process and permits the clients to connect. If there are no
// clients, it adds one and returns the path of the client's seed file in first.
func (s *Server) admit(n *server.Server) (first string, err error) {
	a := s.accounts
	a.nats = n
	if a.service, err = n.RegisterAccount(serviceAccount); err != nil {
		return "", fmt.Errorf("embedded: %w", err)
	}
	for name, own := range map[string]struct {
		key    *nkeys.KeyPair
		rights *server.Permissions
	}{"requests": {&s.requests, requestRights}, "responses": {&s.responses, responseRights}, "work": {&s.work, workRights}} {
		if *own.key, err = a.addOwn(name, own.rights); err != nil {
			return "", err
		}
	}
	if err := a.export(export{server.Streamed, discoveryTimeout}, discovery); err != nil {
		return "", err
	}
	credentials := Credentials(s.config.CredentialsDir)
	clients, err := credentials.List()
	if err == nil && len(clients) == 0 {
		if first, err = credentials.Add("default"); err == nil {
			clients, err = credentials.List()
		}
	}
	if err != nil {
		return "", fmt.Errorf("embedded: %w", err)
	}
	for _, file := range credentials.exposed() {
		s.config.Logger.Warn("a NATS key can be read by others; run chmod go-rwx", "file", file)
	}
	return first, a.set(clients)
}

// logFirstRun logs how to use the key of the first client. It does nothing if seedFile is empty.
func (s *Server) logFirstRun(seedFile string) {
	if seedFile != "" {
		s.config.Logger.Info("NATS client added; this command shows the services that it can call",
			"client", "default", "command", fmt.Sprintf("nats --server %s --nkey %s micro list", s.URL(), seedFile))
	}
}

// watch starts a goroutine that applies changes of the clients, and limits their unanswered
// requests.
func (s *Server) watch() {
	ctx, cancel := context.WithCancel(context.Background())
	s.stopWatch = cancel
	s.watching.Go(func() {
		tick, count := time.NewTicker(time.Second), time.NewTicker(unansweredInterval)
		defer tick.Stop()
		defer count.Stop()
		for told := ""; ; {
			select {
			case <-ctx.Done():
				return
			case <-count.C:
				s.accounts.boundUnanswered()
				continue
			case <-tick.C:
			}
			clients, err := Credentials(s.config.CredentialsDir).List()
			if err == nil {
				err = s.accounts.set(clients)
			}
			switch {
			case err == nil:
				told = ""
			case err.Error() != told:
				told = err.Error()
				s.config.Logger.Error("the NATS clients cannot be read; the known ones stay", "error", told)
			}
		}
	})
}

// Stop stops the server. It returns an error if ctx is done before the server has stopped. Without
// a successful Start, Stop is a no-op.
func (s *Server) Stop(ctx context.Context) error {
	n := s.nats.Load()
	if n == nil {
		return nil
	}
	s.stopWatch()
	s.watching.Wait()
	done := make(chan struct{})
	go func() { n.Shutdown(); n.WaitForShutdown(); close(done) }()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
		return fmt.Errorf("embedded: stop the NATS server: %w", ctx.Err())
	}
}

// URL returns the URL of the server, or "" if the server has not been started.
func (s *Server) URL() string {
	if n := s.nats.Load(); n != nil {
		return n.ClientURL()
	}
	return ""
}

// Serve permits clients to call subjects; longest is the maximum time of these calls. The server
// forwards a request of the client NAME as from.NAME.SUBJECT. It drops a response that takes longer
// than [Config].ResponseTimeout and longer than longest plus 5 seconds. Serve may be called again
// with further subjects. It returns an error before Start.
func (s *Server) Serve(subjects []string, longest time.Duration) error {
	if s.nats.Load() == nil {
		return errNotStarted
	}
	timeout := max(s.config.ResponseTimeout, longest+responseSlack)
	return s.accounts.export(export{server.Singleton, timeout}, subjects...)
}

// ServeStreams permits clients to open streams on subjects, and to publish to SUBJECT.stream.*.* to
// control these streams. The server drops the messages of a stream after a silence that is longer
// than [Config].ResponseTimeout, longer than longest plus 5 seconds, and longer than silence.
// ServeStreams returns an error before Start.
func (s *Server) ServeStreams(subjects []string, longest, silence time.Duration) error {
	if s.nats.Load() == nil {
		return errNotStarted
	}
	timeout := max(s.config.ResponseTimeout, longest+responseSlack, silence)
	if err := s.accounts.export(export{server.Streamed, timeout}, subjects...); err != nil {
		return err
	}
	control := make([]string, len(subjects))
	for i, subject := range subjects {
		control[i] = subject + streamControl
	}
	return s.accounts.export(export{server.Singleton, s.config.ResponseTimeout}, control...)
}

// Clients calls added with the name of each present client. Until stop is called, it also calls
// added with the name of each new client, before the client can connect, and removed with the name
// of each deleted client. Clients returns an error before Start, or if added returns an error for a
// present client. If added returns an error for a new client, the client cannot connect, and added
// is called again within about a second.
func (s *Server) Clients(added func(name string) error, removed func(name string)) (stop func(), err error) {
	if s.nats.Load() == nil {
		return nil, errNotStarted
	}
	return s.accounts.watch(added, removed)
}

// RequestOptions returns the options for a connection within the process as the user that may only
// receive requests. Connecting with these options fails before Start.
func (s *Server) RequestOptions() []nats.Option { return s.connectAs(&s.requests) }

// ResponseOptions returns the options for a connection within the process as the user that may only
// send responses. Connecting with these options fails before Start.
func (s *Server) ResponseOptions() []nats.Option { return s.connectAs(&s.responses) }

// WorkOptions returns the options for a connection within the process as the user that may use work
// queues. Connecting with these options fails before Start.
func (s *Server) WorkOptions() []nats.Option { return s.connectAs(&s.work) }

func (s *Server) connectAs(key *nkeys.KeyPair) []nats.Option {
	return []nats.Option{nats.InProcessServer(s), func(o *nats.Options) error {
		if *key == nil {
			return errNotStarted
		}
		public, err := (*key).PublicKey()
		if err != nil {
			return fmt.Errorf("embedded: %w", err)
		}
		return nats.Nkey(public, (*key).Sign)(o)
	}}
}

var errNotStarted = errors.New("embedded: the NATS server has not been started")

// InProcessConn returns a new connection to the server within the process. It returns an error
// before Start. It implements [nats.InProcessConnProvider].
func (s *Server) InProcessConn() (net.Conn, error) {
	if n := s.nats.Load(); n != nil {
		return n.InProcessConn()
	}
	return nil, errNotStarted
}
