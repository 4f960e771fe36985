package grpcapi

import (
	"context"
	"errors"
	"fmt"
	"math"
	"net"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/internal/listening"
	"github.com/chassi-go/chassi/transport"
	"github.com/chassi-go/chassi/transport/certs"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	_ "google.golang.org/grpc/encoding/gzip" // supports compressed requests and responses
	"google.golang.org/grpc/keepalive"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// Server serves endpoints over gRPC on one address. Services must be mounted before Start.
type Server struct {
	config       Config
	middleware   []chassi.Middleware
	services     []*chassi.Service
	mounted      transport.Mounted
	calls        transport.InFlight
	methods      []*method
	files        *protoregistry.Files // descriptors of the services
	unmatched    *method
	health       *health
	streams      *streams
	open         *transport.Streams
	isStream     map[string]bool // by the path of the method
	certificates *certs.Certificates
	grpc         *grpc.Server
	listener     atomic.Pointer[listener] // nil before Start
	failed       chan error
	serving      sync.WaitGroup
}

var _ chassi.Transport = (*Server)(nil)

// New returns a server with the configuration c. Calls of mounted endpoints and of unknown methods
// pass through middleware, of which the first is the outermost. Calls of the health and reflection
// services bypass the middleware.
func New(c Config, middleware ...chassi.Middleware) *Server {
	s := &Server{config: c.withDefaults(), middleware: middleware, failed: make(chan error, 1)}
	s.unmatched = s.newMethod(chassi.RawEndpoint("unmatched", refuseUnknown, chassi.Public), "unmatched")
	s.health = newHealth(s.config.Ready)
	s.streams = newStreams(s.config.MaxStreamsPerClient)
	s.open, s.isStream = transport.NewStreams(s.config.Streams), make(map[string]bool)
	return s
}

// Name returns "grpc".
func (s *Server) Name() string { return "grpc" }

// Addr returns the address on which the server listens, or nil before Start.
func (s *Server) Addr() net.Addr {
	if l := s.listener.Load(); l != nil {
		return l.Addr()
	}
	return nil
}

// Connections returns the number of open connections, and the number of connections refused so far
// because of [Config].MaxConnections or [Config].MaxConnectionsPerClient.
func (s *Server) Connections() (open, refused int64) {
	if l := s.listener.Load(); l != nil {
		return l.connections.Counts()
	}
	return 0, 0
}

// Certificate returns the state of the TLS certificate. Ok is false if the server does not use TLS
// or has not been started.
func (s *Server) Certificate() (state certs.State, ok bool) {
	if s.listener.Load() == nil { // which is set after the certificates
		return state, false
	}
	return s.certificates.State()
}

// RefusedClients returns the number of connections refused so far because of
// [Config].MaxConnectionsPerClient.
func (s *Server) RefusedClients() int64 {
	if l := s.listener.Load(); l != nil {
		return l.connections.RefusedClients()
	}
	return 0
}

// Mount adds the endpoints of service that are served over gRPC. It returns an error, and adds no
// endpoint, if service is invalid or its name is already mounted, if an endpoint cannot be served
// over gRPC, for example because a message has a [chassi.File] or no Protocol Buffers encoding, if
// names conflict in the Protocol Buffers package, or if a middleware cannot serve an endpoint.
func (s *Server) Mount(service *chassi.Service) error {
	if err := s.mounted.Add(service); err != nil {
		return fmt.Errorf("grpcapi: %w", err)
	}
	var errs []error
	var methods []*method
	for _, e := range service.Endpoints() {
		if !e.ServedOver("grpc") {
			continue
		}
		m := s.newMethod(e, e.FullName())
		errs = append(errs, m.refusal(), m.plan())
		methods = append(methods, m)
	}
	if err := errors.Join(errs...); err != nil {
		return err
	}
	services := append(slices.Clip(s.services), service)
	files, err := describe(services)
	if err != nil {
		return err
	}
	s.services, s.methods, s.files = services, append(s.methods, methods...), files
	for _, m := range methods {
		if m.binding.Endpoint.Streams() {
			s.isStream["/"+m.service+"/"+m.name] = true
		}
	}
	return nil
}

// Start begins to listen, and serves calls in the background. It returns an error if a middleware
// is invalid, if the certificates cannot be loaded, or if the server cannot listen on its address.
func (s *Server) Start(ctx context.Context) error {
	if err := s.unmatched.refusal(); err != nil {
		return err
	}
	var err error
	if s.certificates, err = certs.Watch(s.config.TLS, s.config.Logger); err != nil {
		return fmt.Errorf("grpcapi: %w", err)
	}
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", s.config.Addr)
	if err != nil {
		s.certificates.Stop()
		return fmt.Errorf("grpcapi: %w; %s", err, listening.Advice(err)) // err says where
	}
	s.grpc = grpc.NewServer(s.options()...)
	s.register()
	s.health.register(registrar{s}, s.services)
	if *s.config.Reflection {
		registerReflection(registrar{s}, s.grpc, s.files)
	}
	connections := transport.NewConnections(s.config.MaxConnections, s.config.MaxConnectionsPerClient, s.config.TrustedProxies)
	limited := &listener{Listener: transport.WatchAccept(l, s.Name(), s.config.Logger), connections: connections, writeTimeout: s.config.CallTimeout}
	s.listener.Store(limited)
	s.serving.Go(func() {
		defer close(s.failed)
		// Stop may be called before Serve has begun.
		if err := s.grpc.Serve(limited); err != nil && !errors.Is(err, grpc.ErrServerStopped) {
			s.failed <- err
		}
	})
	s.config.Logger.Info("listening", "server", s.Name(), "addr", s.Addr().String(), "tls", s.certificates != nil)
	return nil
}

// Sizes in bytes of the flow-control windows of a call and of a connection. They are fixed, so that
// the memory for a connection, and the memory for a call in addition to the message being read, do
// not depend on how fast the client sends. By default, grpc-go lets both windows grow to 16 MiB.
// While grpc-go reads a message, it adds the size of the message to the window of the call.
const (
	streamWindow     = 64 << 10
	connectionWindow = 1 << 20
)

// Numbers of goroutines that grpc-go keeps for calls: workersPerProcessor for each processor, and
// at most maxWorkers in total. grpc-go starts a new goroutine for each further call. A new
// goroutine has a small stack, which is too small for the middleware. The runtime must copy this
// stack to a larger stack, which takes about a fifth of the time of a call.
const (
	workersPerProcessor = 32
	maxWorkers          = 512
)

func (s *Server) options() []grpc.ServerOption {
	c := s.config
	maxStreams := c.MaxStreams
	alive := keepalive.ServerParameters{
		MaxConnectionIdle: c.IdleTimeout, MaxConnectionAge: c.MaxConnectionAge, MaxConnectionAgeGrace: c.CallTimeout,
		Time: c.PingInterval, Timeout: 20 * time.Second,
	}
	if len(s.isStream) > 0 {
		open := s.open.Config()
		maxStreams = uint32(min(uint64(maxStreams)+uint64(open.MaxPeer), math.MaxUint32))
		// A connection that has reached its age takes no further calls, and is closed with its
		// last one.
		alive.MaxConnectionAgeGrace = max(c.CallTimeout, open.MaxAge/10*11+open.SendTimeout)
		alive.Time = max(min(c.PingInterval, open.Heartbeat), time.Second) // the minimum of grpc-go
		alive.Timeout = 2 * open.Heartbeat
	}
	options := []grpc.ServerOption{
		grpc.ForceServerCodecV2(codec{}),
		grpc.MaxRecvMsgSize(c.MaxMessageBytes),
		grpc.MaxHeaderListSize(c.MaxHeaderBytes),
		grpc.MaxConcurrentStreams(maxStreams),
		grpc.ConnectionTimeout(c.ConnectionTimeout),
		grpc.StaticStreamWindowSize(streamWindow), grpc.StaticConnWindowSize(connectionWindow),
		grpc.InTapHandle(s.limitCall),
		grpc.KeepaliveParams(alive),
		grpc.KeepaliveEnforcementPolicy(keepalive.EnforcementPolicy{MinTime: c.MinPingInterval, PermitWithoutStream: true}),
		grpc.NumStreamWorkers(uint32(min(workersPerProcessor*runtime.GOMAXPROCS(0), maxWorkers))),
		grpc.UnknownServiceHandler(s.counted(s.unmatched.serveUnknown)),
	}
	creds := insecure.NewCredentials()
	if tlsConfig := s.certificates.Config(); tlsConfig != nil {
		creds = credentials.NewTLS(tlsConfig)
	}
	return append(options, grpc.Creds(&guarded{TransportCredentials: creds, config: &s.config}))
}

// register registers the mounted methods with grpc-go.
func (s *Server) register() {
	services := make(map[string]*grpc.ServiceDesc)
	for _, m := range s.methods {
		desc := services[m.service]
		if desc == nil {
			desc = &grpc.ServiceDesc{ServiceName: m.service, HandlerType: (*any)(nil)}
			services[m.service] = desc
		}
		if m.binding.Endpoint.Streams() {
			desc.Streams = append(desc.Streams, grpc.StreamDesc{StreamName: m.name, Handler: m.serveStream, ServerStreams: true, ClientStreams: true})
		} else {
			desc.Streams = append(desc.Streams, grpc.StreamDesc{StreamName: m.name, Handler: s.counted(m.serve), ClientStreams: true})
		}
	}
	for _, desc := range services {
		s.grpc.RegisterService(desc, s)
	}
}

// Failed returns a channel that delivers the error if serving ends unexpectedly. The channel is
// closed when serving ends.
func (s *Server) Failed() <-chan error { return s.failed }

// Drain makes the health service report NOT_SERVING, so that clients use other servers.
func (s *Server) Drain() { s.health.drain() }

// Stop closes the listener, sends GOAWAY to clients, ends all streams that are not [chassi.Finite],
// and waits for the calls in flight and for the finite streams. If ctx is done first, Stop cancels
// these calls and streams, closes all connections, and returns an error with the number of calls
// and streams of each method.
func (s *Server) Stop(ctx context.Context) error {
	s.Drain()
	defer s.certificates.Stop()
	defer s.serving.Wait()
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.grpc.GracefulStop()
	}()
	s.open.Stop()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
	}
	stuck := s.calls.String()
	s.grpc.Stop()
	if stuck == "" {
		return fmt.Errorf("grpcapi: stopped with open connections, but no calls in flight: %w", ctx.Err())
	}
	return fmt.Errorf("grpcapi: stopped with calls in flight: %s: %w", stuck, ctx.Err())
}
