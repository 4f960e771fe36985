// Package embedded runs a NATS server inside the process, so that one binary serves NATS
// with nothing else installed.
//
// Nobody connects without a key. Each client has a key and an account of its own: it can
// call services and receive its own answers, and sees nothing of other clients. See
// [Credentials] for how clients are added. The process itself connects with three users,
// one that receives requests, one that sends answers, and one for work queues, each without
// the rights of the others. docs/decisions/0016 has the reasons.
package embedded

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
)

// Config sets up a [Server]. The zero value of every field means the default in
// its tag.
type Config struct {
	Addr           string `config:"addr" default:"127.0.0.1:4223" help:"host:port that it listens on; port 0 picks a free one"`
	StoreDir       string `config:"store_dir" help:"folder of its JetStream; empty is no JetStream"`
	CredentialsDir string `config:"credentials_dir" default:"nats-clients" help:"folder with the keys of its clients; made at the first start, with one client called default"`

	MaxConnections          int           `config:"max_connections" default:"1000" min:"1" help:"of all clients"`
	MaxConnectionsPerClient int           `config:"max_connections_per_client" default:"20" min:"1" help:"at once; further ones are refused"`
	MaxUnansweredPerClient  int           `config:"max_unanswered_per_client" default:"10000" min:"1" help:"requests that wait for an answer; a client with more is disconnected, and refused until enough have ended"`
	AnswerTimeout           time.Duration `config:"answer_timeout" default:"15s" min:"1s" help:"for the answer to a call, which is dropped after that; it is raised to 5 s more than the longest deadline"`
	MaxSubscriptions        int           `config:"max_subscriptions" default:"1000" min:"1" help:"of one connection"`
	MaxPayload              int           `config:"max_payload" default:"1048576" min:"1024" max:"8388608" help:"bytes of a message with its headers; who sends a longer one is disconnected"`
	MaxPending              int           `config:"max_pending" default:"33554432" min:"65536" help:"bytes that wait for one connection to read them; it is disconnected when there are more"`
	WriteTimeout            time.Duration `config:"write_timeout" default:"5s" min:"1ms" help:"for one connection to read what was sent; it is disconnected after that"`

	// Logger takes what the server logs. Default slog.Default().
	Logger *slog.Logger `config:"-"`
}

// Fixed bounds of one connection.
const (
	authTimeout    = 2 * time.Second // from connecting to showing a key
	pingInterval   = 20 * time.Second
	maxPingsOut    = 3
	answerSlack    = 5 * time.Second // from the end of a call's deadline to that of its answer
	maxControlLine = 4096            // bytes of a protocol line: subjects and the CONNECT message
	maxPayload     = 8 << 20         // the greatest Config.MaxPayload
)

func (c Config) withDefaults() Config {
	setDefault(&c.Addr, "127.0.0.1:4223")
	setDefault(&c.CredentialsDir, "nats-clients")
	setDefault(&c.MaxConnections, 1000)
	setDefault(&c.MaxConnectionsPerClient, 20)
	setDefault(&c.MaxUnansweredPerClient, 10_000)
	setDefault(&c.AnswerTimeout, 15*time.Second)
	setDefault(&c.MaxSubscriptions, 1000)
	setDefault(&c.MaxPayload, 1<<20)
	setDefault(&c.MaxPending, 32<<20)
	setDefault(&c.WriteTimeout, 5*time.Second)
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return c
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// Server is a NATS server with accounts for clients and for the services of this process.
// It is the Broker of package natsapi.
type Server struct {
	config   Config
	nats     atomic.Pointer[server.Server]
	accounts *accounts

	// The keys of this process's users, which are made at the start.
	requests, answers, work nkeys.KeyPair

	stopWatch context.CancelFunc
	watching  sync.WaitGroup
}

// New makes a server.
func New(c Config) *Server { return &Server{config: c.withDefaults()} }

// Name returns "nats embedded".
func (s *Server) Name() string { return "nats embedded" }

// Start listens. If there are no clients yet it adds one, called default, and logs how to
// call with its key.
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
			return fmt.Errorf("embedded: the NATS server does not get ready: %w", ctx.Err())
		}
	}
	if options.JetStream {
		if err := s.accounts.service.EnableJetStream(nil, nil); err != nil {
			n.Shutdown()
			return fmt.Errorf("embedded: JetStream: %w", err)
		}
	}
	s.nats.Store(n)
	s.watch()
	s.config.Logger.Info("listening", "server", s.Name(), "addr", n.Addr().String(), "jetstream", options.JetStream)
	s.welcome(first)
	return nil
}

func (s *Server) options(ctx context.Context) (*server.Options, error) {
	c := s.config
	host, portText, err := net.SplitHostPort(c.Addr)
	if err != nil {
		return nil, fmt.Errorf("embedded: nats address %q: %w", c.Addr, err)
	}
	port, err := strconv.Atoi(portText)
	if err != nil || port < 0 || port > 65535 {
		return nil, fmt.Errorf("embedded: nats address %q: want host:port", c.Addr)
	}
	if port == 0 {
		port = server.RANDOM_PORT
	}
	// The server says why it cannot listen only by ending the process.
	probe, err := (&net.ListenConfig{}).Listen(ctx, "tcp", c.Addr)
	if err != nil {
		return nil, fmt.Errorf("embedded: listen on %s: %w; choose another address, or stop what listens there", c.Addr, err)
	}
	_ = probe.Close()
	return &server.Options{
		Host: host, Port: port, ServerName: "embedded", NoSigs: true, AlwaysEnableNonce: true,
		MaxConn: c.MaxConnections, MaxSubs: c.MaxSubscriptions, MaxPending: int64(c.MaxPending), WriteDeadline: c.WriteTimeout,
		MaxPayload:     int32(min(c.MaxPayload, maxPayload)),
		MaxControlLine: maxControlLine, AuthTimeout: authTimeout.Seconds(), PingInterval: pingInterval, MaxPingsOut: maxPingsOut, MaxClosedClients: 100,
		JetStream: c.StoreDir != "", StoreDir: c.StoreDir,
		// One that does not read must not hold up the answers to others.
		NoFastProducerStall: true,
	}, nil
}

// admit makes the users of this process and reads the clients; without any it adds one and
// returns the file of its seed.
func (s *Server) admit(n *server.Server) (first string, err error) {
	a := s.accounts
	a.nats = n
	if a.service, err = n.RegisterAccount(serviceAccount); err != nil {
		return "", fmt.Errorf("embedded: %w", err)
	}
	for name, own := range map[string]struct {
		key    *nkeys.KeyPair
		rights *server.Permissions
	}{"requests": {&s.requests, requestRights}, "answers": {&s.answers, answerRights}, "work": {&s.work, workRights}} {
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

// welcome logs how to use the first client's key.
func (s *Server) welcome(seedFile string) {
	if seedFile != "" {
		s.config.Logger.Info("NATS client added; this command shows the services that it can call",
			"client", "default", "command", fmt.Sprintf("nats --server %s --nkey %s micro list", s.URL(), seedFile))
	}
}

// watch follows changes of the clients, and bounds what they have without an answer.
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

// Stop ends the server. Without a successful Start it does nothing.
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
		return fmt.Errorf("embedded: %w", ctx.Err())
	}
}

// URL returns where the server listens, "" before Start.
func (s *Server) URL() string {
	if n := s.nats.Load(); n != nil {
		return n.ClientURL()
	}
	return ""
}

// Serve lets clients call subjects, whose calls take at most longest. The server passes a
// request of the client NAME on as from.NAME.SUBJECT. It drops an answer that comes later
// than Config.AnswerTimeout or 5 seconds after longest, whichever is more. Serve may be
// called again, with further subjects.
func (s *Server) Serve(subjects []string, longest time.Duration) error {
	if s.nats.Load() == nil {
		return errNotStarted
	}
	timeout := max(s.config.AnswerTimeout, longest+answerSlack)
	return s.accounts.export(export{server.Singleton, timeout}, subjects...)
}

// Clients tells of the clients that there are and that come and go, see the interface
// Broker of package natsapi.
func (s *Server) Clients(added func(name string) error, removed func(name string)) (stop func(), err error) {
	if s.nats.Load() == nil {
		return nil, errNotStarted
	}
	return s.accounts.watch(added, removed)
}

// RequestOptions connect, within the process and once the server has started, as the user
// that receives requests and can do nothing else.
func (s *Server) RequestOptions() []nats.Option { return s.connectAs(&s.requests) }

// AnswerOptions connect as the user that answers requests and can do nothing else.
func (s *Server) AnswerOptions() []nats.Option { return s.connectAs(&s.answers) }

// WorkOptions connect as the user of work queues.
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

// InProcessConn returns one end of a pipe to the server.
func (s *Server) InProcessConn() (net.Conn, error) {
	if n := s.nats.Load(); n != nil {
		return n.InProcessConn()
	}
	return nil, errNotStarted
}
