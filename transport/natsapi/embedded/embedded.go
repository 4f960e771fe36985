// Package embedded runs a NATS server inside the process, so that one binary
// shows NATS with nothing installed.
package embedded

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
)

// Config sets up a [Server]. The zero value of every field means the default in
// its tag.
type Config struct {
	Addr     string `config:"addr" default:"127.0.0.1:4222" help:"host:port of the embedded NATS server; port 0 picks a free one"`
	StoreDir string `config:"store_dir" help:"folder of JetStream; empty is no JetStream"`

	// Logger takes what the server has to say. Default slog.Default().
	Logger *slog.Logger `config:"-"`
}

// Server is a NATS server. Who connects over the network has no name, and may
// publish and read answers, but not listen in on requests: they carry passwords
// and tokens. Who uses [Server.Options], in this process, may do anything.
type Server struct {
	config   Config
	password string
	nats     atomic.Pointer[server.Server]
}

// New makes a server.
func New(c Config) *Server {
	if c.Addr == "" {
		c.Addr = "127.0.0.1:4222"
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return &Server{config: c, password: rand.Text()}
}

// Name returns "nats embedded".
func (s *Server) Name() string { return "nats embedded" }

const (
	owner    = "process"
	stranger = "anybody"
)

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
	n, err := server.NewServer(&server.Options{
		Host: host, Port: port, ServerName: "embedded", NoSigs: true, MaxConn: 1000, MaxPayload: 1 << 20, MaxControlLine: 4096,
		JetStream: s.config.StoreDir != "", StoreDir: s.config.StoreDir, NoAuthUser: stranger,
		Users: []*server.User{
			{Username: owner, Password: s.password},
			{Username: stranger, Password: rand.Text(), Permissions: &server.Permissions{
				Publish:   &server.SubjectPermission{Deny: []string{"$JS.>", "$SYS.>", "work.>", "dead.>"}},
				Subscribe: &server.SubjectPermission{Allow: []string{"_INBOX.>"}},
			}},
		},
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
	return nil
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
	return []nats.Option{nats.InProcessServer(s), nats.UserInfo(owner, s.password)}
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
	l.Logger.Debug("NATS server: " + fmt.Sprintf(format, v...))
}
func (l logger) Warnf(format string, v ...any) {
	l.Logger.Warn("NATS server: " + fmt.Sprintf(format, v...))
}
func (l logger) Errorf(format string, v ...any) {
	l.Logger.Error("NATS server: " + fmt.Sprintf(format, v...))
}
func (l logger) Fatalf(format string, v ...any) {
	l.Logger.Error("NATS server: " + fmt.Sprintf(format, v...))
}
func (l logger) Debugf(string, ...any) {}
func (l logger) Tracef(string, ...any) {}
