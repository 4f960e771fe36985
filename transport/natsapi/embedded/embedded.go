// Package embedded runs a NATS server inside the process, so that one binary
// shows NATS with nothing installed.
package embedded

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
)

// Config sets up a [Server]. The zero value of every field means the default in
// its tag.
type Config struct {
	Addr     string `config:"addr" default:"127.0.0.1:4223" help:"host:port that it listens on; port 0 picks a free one"`
	StoreDir string `config:"store_dir" help:"folder of its JetStream; empty is no JetStream"`

	// Logger takes what the server has to say. Default slog.Default().
	Logger *slog.Logger `config:"-"`
}

// Server is a NATS server. Who connects over the network has no name, and may
// publish and read answers, but not listen in on requests: they carry passwords
// and tokens. Who uses [Server.Options], in this process, may do anything.
type Server struct {
	config Config
	owner  nkeys.KeyPair // of this process
	nats   atomic.Pointer[server.Server]
}

// New makes a server.
func New(c Config) *Server {
	if c.Addr == "" {
		c.Addr = "127.0.0.1:4223"
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return &Server{config: c}
}

// Name returns "nats embedded".
func (s *Server) Name() string { return "nats embedded" }

// Start listens.
func (s *Server) Start(ctx context.Context) error {
	host, portText, err := net.SplitHostPort(s.config.Addr)
	if err != nil {
		return fmt.Errorf("embedded: nats address %q: %w", s.config.Addr, err)
	}
	port, err := strconv.Atoi(portText)
	if err != nil || port < 0 || port > 65535 {
		return fmt.Errorf("embedded: nats address %q: want host:port", s.config.Addr)
	}
	if port == 0 {
		port = server.RANDOM_PORT
	}
	// The server says why it cannot listen only by ending the process.
	probe, err := (&net.ListenConfig{}).Listen(ctx, "tcp", s.config.Addr)
	if err != nil {
		return fmt.Errorf("embedded: listen on %s: %w; choose another address, or stop what listens there", s.config.Addr, err)
	}
	_ = probe.Close()
	users, err := s.users()
	if err != nil {
		return err
	}
	n, err := server.NewServer(&server.Options{
		Host: host, Port: port, ServerName: "embedded", NoSigs: true, MaxConn: 1000, MaxPayload: 1 << 20, MaxControlLine: 4096,
		JetStream: s.config.StoreDir != "", StoreDir: s.config.StoreDir, Nkeys: users, NoAuthUser: users[1].Nkey,
	})
	if err != nil {
		return fmt.Errorf("embedded: %w", err)
	}
	n.SetLogger(logger{s.config.Logger}, false, false)
	go n.Start()
	for !n.ReadyForConnections(50 * time.Millisecond) {
		if ctx.Err() != nil {
			n.Shutdown()
			return fmt.Errorf("embedded: the NATS server does not get ready: %w", ctx.Err())
		}
	}
	s.nats.Store(n)
	s.config.Logger.Info("listening", "server", s.Name(), "addr", n.Addr().String(), "jetstream", s.config.StoreDir != "")
	return nil
}

// users makes a key for this process, and one for everybody else, which nobody
// has to show.
func (s *Server) users() ([]*server.NkeyUser, error) {
	var public [2]string
	for i := range public {
		pair, err := nkeys.CreateUser()
		if err == nil {
			public[i], err = pair.PublicKey()
		}
		if err != nil {
			return nil, fmt.Errorf("embedded: %w", err)
		}
		if i == 0 {
			s.owner = pair
		}
	}
	return []*server.NkeyUser{{Nkey: public[0]}, {Nkey: public[1], Permissions: &server.Permissions{
		Publish:   &server.SubjectPermission{Deny: []string{"$JS.>", "$SYS.>", "work.>", "dead.>"}},
		Subscribe: &server.SubjectPermission{Allow: []string{"_INBOX.>"}},
	}}}, nil
}

// Stop ends the server.
func (s *Server) Stop(ctx context.Context) error {
	n := s.nats.Load()
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

// Options connect to the server within the process, with every right, once it has
// started.
func (s *Server) Options() []nats.Option {
	return []nats.Option{nats.InProcessServer(s), func(o *nats.Options) error {
		if s.owner == nil {
			return errNotStarted
		}
		public, err := s.owner.PublicKey()
		if err != nil {
			return fmt.Errorf("embedded: %w", err)
		}
		return nats.Nkey(public, s.owner.Sign)(o)
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

// logger passes on what matters.
type logger struct{ *slog.Logger }

func (l logger) Noticef(format string, v ...any) {
	l.Debug("NATS server: " + fmt.Sprintf(format, v...))
}
func (l logger) Warnf(format string, v ...any) {
	l.Warn("NATS server: " + fmt.Sprintf(format, v...))
}
func (l logger) Errorf(format string, v ...any) {
	l.Error("NATS server: " + fmt.Sprintf(format, v...))
}
func (l logger) Fatalf(format string, v ...any) {
	l.Error("NATS server: " + fmt.Sprintf(format, v...))
}
func (l logger) Debugf(string, ...any) {}
func (l logger) Tracef(string, ...any) {}
