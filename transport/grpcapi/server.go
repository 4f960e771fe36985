package grpcapi

import (
	"context"
	"errors"
	"fmt"
	"net"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/transport"
	"github.com/chassi-go/chassi/transport/certs"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	_ "google.golang.org/grpc/encoding/gzip" // requests and answers may be compressed
	"google.golang.org/grpc/keepalive"
)

// Server serves endpoints on one address. Mount comes before Start.
type Server struct {
	config       Config
	middleware   []chassi.Middleware
	services     []*chassi.Service
	methods      []*method
	unmatched    *method
	health       *health
	streams      *streams
	certificates *certs.Certificates
	grpc         *grpc.Server
	listener     atomic.Pointer[listener] // nil before Start
	failed       chan error
	serving      sync.WaitGroup
}

var _ chassi.Transport = (*Server)(nil)

// New makes a server whose every call passes through middleware, the first one
// outermost.
func New(c Config, middleware ...chassi.Middleware) *Server {
	s := &Server{config: c.withDefaults(), middleware: middleware, failed: make(chan error, 1)}
	s.unmatched = s.newMethod(chassi.RawEndpoint("unmatched", refuseUnknown, chassi.Public), "unmatched")
	s.health = newHealth(s.config.Ready)
	s.streams = newStreams(s.config.MaxStreamsPerClient)
	return s
}

// Name returns "grpc".
func (s *Server) Name() string { return "grpc" }

// Addr returns the address listened on, nil before Start.
func (s *Server) Addr() net.Addr {
	if l := s.listener.Load(); l != nil {
		return l.Addr()
	}
	return nil
}

// Connections returns how many connections are open and how many were refused so
// far because [Config].MaxConnections were, or [Config].MaxConnectionsPerClient of one
// client.
func (s *Server) Connections() (open, refused int64) {
	if l := s.listener.Load(); l != nil {
		return l.connections.Counts()
	}
	return 0, 0
}

// Certificate returns the state of the TLS certificate. Ok is false without one, and before
// Start.
func (s *Server) Certificate() (state certs.State, ok bool) {
	if s.listener.Load() == nil { // which is set after the certificates
		return state, false
	}
	return s.certificates.State()
}

// RefusedClients returns how many of the refused connections were too many for their
// client.
func (s *Server) RefusedClients() int64 {
	if l := s.listener.Load(); l != nil {
		return l.connections.RefusedClients()
	}
	return 0
}

// Mount serves the endpoints of service. It returns an error for one whose
// messages cannot be written as Protocol Buffers.
func (s *Server) Mount(service *chassi.Service) error {
	if err := service.Err(); err != nil {
		return err
	}
	var errs []error
	for _, e := range service.Endpoints() {
		m := s.newMethod(e, e.FullName())
		errs = append(errs, m.plan())
		s.methods = append(s.methods, m)
	}
	s.services = append(s.services, service)
	return errors.Join(errs...)
}

// Start listens and serves.
func (s *Server) Start(ctx context.Context) error {
	files, err := describe(s.services)
	if err != nil {
		return err
	}
	if s.certificates, err = certs.Watch(s.config.TLS, s.config.Logger); err != nil {
		return fmt.Errorf("grpcapi: %w", err)
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", s.config.Addr)
	if err != nil {
		s.certificates.Stop()
		return fmt.Errorf("grpcapi: listen on %s: %w; choose another address, or stop what listens there", s.config.Addr, err)
	}
	s.grpc = grpc.NewServer(s.options()...)
	s.register()
	s.health.register(registrar{s}, s.services)
	if !s.config.NoReflection {
		registerReflection(registrar{s}, s.grpc, files)
	}
	connections := transport.NewConnections(s.config.MaxConnections, s.config.MaxConnectionsPerClient, s.config.TrustedProxies)
	limited := &listener{Listener: transport.WatchAccept(l, s.Name(), s.config.Logger), connections: connections, writeTimeout: s.config.CallTimeout}
	s.listener.Store(limited)
	s.serving.Go(func() {
		defer close(s.failed)
		// A Stop may come before Serve has begun.
		if err := s.grpc.Serve(limited); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
			s.failed <- err
		}
	})
	s.config.Logger.Info("listening", "server", s.Name(), "addr", s.Addr().String(), "tls", s.certificates != nil)
	return nil
}

// What is kept of a call beyond the message that is being read, and of a connection, both
// without regard to how fast the client sends: by itself grpc-go lets both windows grow to
// 16 MiB. For a message grpc-go adds its size to the window of its call.
const (
	streamWindow     = 64 << 10
	connectionWindow = 1 << 20
)

func (s *Server) options() []grpc.ServerOption {
	c := s.config
	options := []grpc.ServerOption{
		grpc.ForceServerCodecV2(codec{}),
		grpc.MaxRecvMsgSize(c.MaxMessageBytes),
		grpc.MaxHeaderListSize(c.MaxHeaderBytes),
		grpc.MaxConcurrentStreams(c.MaxStreams),
		grpc.ConnectionTimeout(c.ConnectionTimeout),
		grpc.StaticStreamWindowSize(streamWindow), grpc.StaticConnWindowSize(connectionWindow),
		grpc.InTapHandle(s.limitCall),
		grpc.KeepaliveParams(keepalive.ServerParameters{
			MaxConnectionIdle: c.IdleTimeout, MaxConnectionAge: c.MaxConnectionAge, MaxConnectionAgeGrace: c.CallTimeout,
			Time: c.PingInterval, Timeout: 20 * time.Second,
		}),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: c.MinPingInterval, PermitWithoutStream: true}),
		grpc.NumStreamWorkers(uint32(runtime.GOMAXPROCS(0))), // goroutines whose stacks have grown already; more are made when these are busy
		grpc.UnknownServiceHandler(s.counted(s.unmatched.serveUnknown)),
	}
	creds := insecure.NewCredentials()
	if tlsConfig := s.certificates.Config(); tlsConfig != nil {
		creds = credentials.NewTLS(tlsConfig)
	}
	return append(options, grpc.Creds(&guarded{TransportCredentials: creds, config: &s.config}))
}

// register gives grpc-go the mounted methods, service by service.
func (s *Server) register() {
	services := make(map[string]*grpc.ServiceDesc)
	for _, m := range s.methods {
		desc := services[m.service]
		if desc == nil {
			desc = &grpc.ServiceDesc{ServiceName: m.service, HandlerType: (*any)(nil)}
			services[m.service] = desc
		}
		desc.Streams = append(desc.Streams, grpc.StreamDesc{StreamName: m.name, Handler: m.serve, ClientStreams: true})
	}
	for _, desc := range services {
		registrar{s}.RegisterService(desc, s)
	}
}

// Failed delivers the reason when serving ends by itself.
func (s *Server) Failed() <-chan error { return s.failed }

// Drain lets the health service say NOT_SERVING, so that clients go elsewhere.
func (s *Server) Drain() { s.health.drain() }

// Stop closes the listener, tells clients to go away, and waits for the calls in
// flight. When ctx ends first it cancels them and returns an error that counts
// them by method.
func (s *Server) Stop(ctx context.Context) error {
	s.Drain()
	defer s.certificates.Stop()
	defer s.serving.Wait()
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.grpc.GracefulStop()
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
	}
	stuck := s.inFlight()
	s.grpc.Stop()
	return fmt.Errorf("grpcapi: gave up calls in flight: %s: %w", stuck, ctx.Err())
}

// inFlight lists the methods that calls are in: "auth.v1.Auth/Me (3)".
func (s *Server) inFlight() string {
	var stuck []string
	for _, m := range append(s.methods, s.unmatched) {
		if n := m.inFlight.Load(); n > 0 {
			stuck = append(stuck, fmt.Sprintf("%s (%d)", m.binding.Route, n))
		}
	}
	if stuck == nil {
		return "none, only open streams"
	}
	return strings.Join(stuck, ", ")
}
