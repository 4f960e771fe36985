package httpapi

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/transport"
	"github.com/chassi-go/chassi/transport/certs"
)

// Server serves endpoints and mounted handlers on one address. Mount and Handle
// come before Start; ServeHTTP is safe for concurrent use.
type Server struct {
	config       Config
	middleware   []chassi.Middleware
	mux          *http.ServeMux
	plain        map[plainRoute]*route // those that need no matching
	routes       []*route
	methods      []string // that any route takes
	rooted       bool     // whether "/" is taken
	hosted       bool     // whether a pattern names a host
	unmatched    *unmatched
	cors         *corsPolicy
	hosts        *hostPolicy // nil for a public listener
	secure       *secureHeaders
	compressor   *compressor
	bodies       *bodies
	certificates *certs.Certificates
	http         *http.Server
	listener     atomic.Pointer[limitedListener] // nil before Start
	draining     atomic.Bool
	failed       chan error
	cancelCalls  context.CancelFunc
}

var _ chassi.Transport = (*Server)(nil)

// New makes a server whose every answer passes through middleware, the first
// one outermost. It returns an error for a setting that cannot work, naming it.
func New(c Config, middleware ...chassi.Middleware) (*Server, error) {
	c = c.withDefaults()
	s := &Server{config: c, middleware: middleware, mux: http.NewServeMux(), plain: make(map[plainRoute]*route), failed: make(chan error, 1)}
	var err error
	if s.cors, err = newCORS(c.CORS); err != nil {
		return nil, fmt.Errorf("httpapi: %w", err)
	}
	if s.hosts, err = newHostPolicy(c.Name, c.Hosts); err != nil {
		return nil, fmt.Errorf("httpapi: %w", err)
	}
	s.secure = newSecureHeaders(c.TLS.Enabled())
	s.compressor = newCompressor(c.CompressMinBytes)
	s.bodies = newBodies(c)
	s.unmatched = newUnmatched(s)
	return s, nil
}

// Name returns "http", or what the configuration says.
func (s *Server) Name() string { return s.config.Name }

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

// Start listens and serves.
func (s *Server) Start(ctx context.Context) error {
	if !s.rooted {
		s.rooted = true // Start may be called again
		s.mux.Handle("/", s.unmatched)
	}
	var err error
	if s.certificates, err = certs.Watch(s.config.TLS, s.config.Logger); err != nil {
		return fmt.Errorf("httpapi: %w", err)
	}
	if err := s.listen(ctx); err != nil {
		s.certificates.Stop()
		return err
	}
	tlsConfig := s.certificates.Config()
	base, cancel := context.WithCancel(context.WithoutCancel(ctx))
	s.cancelCalls = cancel
	s.http = s.newHTTPServer(base, tlsConfig)
	go s.serve(tlsConfig != nil)
	s.config.Logger.Info("listening", "server", s.Name(), "addr", s.Addr().String(), "tls", tlsConfig != nil)
	return nil
}

func (s *Server) newHTTPServer(base context.Context, tlsConfig *tls.Config) *http.Server {
	c := s.config
	server := &http.Server{
		Handler:           s,
		TLSConfig:         tlsConfig,
		ReadHeaderTimeout: c.ReadHeaderTimeout,
		ReadTimeout:       c.ReadTimeout,
		WriteTimeout:      c.WriteTimeout,
		IdleTimeout:       c.IdleTimeout,
		MaxHeaderBytes:    c.MaxHeaderBytes,
		BaseContext:       func(net.Listener) context.Context { return base },
		ConnContext:       withConnection,
		ConnState:         watchState,
		ErrorLog:          newErrorLog(c.Logger, c.Name),
		Protocols:         new(http.Protocols),
		HTTP2:             c.http2(),
	}
	server.Protocols.SetHTTP1(true)
	server.Protocols.SetHTTP2(true)
	server.Protocols.SetUnencryptedHTTP2(c.H2C)
	return server
}

// maxStreams bounds the calls of one HTTP/2 connection.
const maxStreams = 250

// http2 sets what net/http leaves without an end: it forgets the deadlines of a
// connection that speaks HTTP/2. A client that takes not a byte is cut off, and so
// is one that neither says anything nor answers a ping, which none can in the
// middle of a header.
func (c Config) http2() *http.HTTP2Config {
	return &http.HTTP2Config{
		MaxConcurrentStreams: maxStreams,
		WriteByteTimeout:     c.WriteTimeout,
		SendPingTimeout:      c.ReadTimeout,
		PingTimeout:          c.ReadHeaderTimeout,
	}
}

func (s *Server) listen(ctx context.Context) error {
	var lc net.ListenConfig
	l, err := lc.Listen(ctx, "tcp", s.config.Addr)
	if err != nil {
		return fmt.Errorf("httpapi: listen on %s: %w; choose another address, or stop what listens there", s.config.Addr, err)
	}
	connections := transport.NewConnections(s.config.MaxConnections, s.config.MaxConnectionsPerClient, s.config.TrustedProxies)
	limited := limitListener(transport.WatchAccept(l, s.config.Name, s.config.Logger), connections, s.config.TLS.Enabled())
	limited.maxIdle += int64(s.config.MaxHeaderBytes)
	s.listener.Store(limited)
	return nil
}

func (s *Server) serve(withTLS bool) {
	defer close(s.failed)
	var err error
	if withTLS {
		err = s.http.ServeTLS(s.listener.Load(), "", "")
	} else {
		err = s.http.Serve(s.listener.Load())
	}
	if !errors.Is(err, http.ErrServerClosed) {
		s.failed <- err
	}
}

// Failed delivers the reason when serving ends by itself.
func (s *Server) Failed() <-chan error { return s.failed }

// Drain asks clients to close their connections after the next answer, so that
// none is in use when the listener closes.
func (s *Server) Drain() { s.draining.Store(true) }

// Stop closes the listener and waits for the calls in flight. When ctx ends
// first it cancels their contexts, closes their connections, and returns an
// error that counts them by route.
func (s *Server) Stop(ctx context.Context) error {
	s.Drain()
	defer s.certificates.Stop()
	defer s.cancelCalls()
	err := s.http.Shutdown(ctx)
	if err == nil {
		return nil
	}
	stuck := s.inFlight()
	s.cancelCalls()
	_ = s.http.Close() // the reason is told below
	return fmt.Errorf("httpapi: gave up calls in flight: %s: %w", stuck, err)
}

// inFlight lists the routes that calls are in: "POST /v1/auth (3)".
func (s *Server) inFlight() string {
	var stuck []string
	for _, rt := range s.routes {
		if n := rt.inFlight.Load(); n > 0 {
			stuck = append(stuck, fmt.Sprintf("%s %s (%d)", rt.binding.Method, rt.binding.Route, n))
		}
	}
	if stuck == nil {
		return "none, only open connections"
	}
	return strings.Join(stuck, ", ")
}

// ServeHTTP makes the request an exchange, with all that is known before its
// body, and hands it to the mux.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := &exchange{server: s, w: w, r: r}
	defer x.lastResort()
	conn, _ := r.Context().Value(connectionKey{}).(*connection)
	if conn != nil && r.ProtoMajor == 2 {
		defer conn.ended(r.Context(), int64(s.config.MaxResets))
	}
	h := w.Header()
	x.out.header = h
	x.call.In, x.call.Out = requestMetadata(r.Header), &x.out
	x.call.Peer = s.peer(conn, r)
	x.call.RequestID = requestID(r.Header)
	x.out.put(transport.RequestIDKey, x.call.RequestID) // is good, however it came
	s.secure.set(h)
	if len(r.TransferEncoding) > 0 {
		// There may have been a Content-Length as well, which net/http has dropped by
		// now. Then the connection must end: what follows could be meant as part of
		// the body (RFC 9112, section 6.1).
		h["Connection"] = closeHeader
	}
	if s.hosts.check(r) != nil {
		s.unmatched.ServeHTTP(x, r)
		return
	}
	if r.Method != http.MethodOptions {
		s.cors.handle(h, r, nil)
	}
	if x.cleanPath = cleanPath(r.URL.EscapedPath()); !x.cleanPath {
		s.unmatched.ServeHTTP(x, r)
		return
	}
	if rt := s.plain[plainRoute{r.Method, r.URL.Path}]; rt != nil {
		x.serve(rt)
		return
	}
	s.mux.ServeHTTP(x, r)
}

func (s *Server) peer(conn *connection, r *http.Request) netip.AddrPort {
	var peer netip.AddrPort
	if conn != nil {
		peer = conn.peer
	} else { // not accepted by Start: a test, or a server around this one
		peer, _ = netip.ParseAddrPort(r.RemoteAddr)
	}
	if !peer.IsValid() {
		return peer // not TCP: a Unix socket
	}
	lines := r.Header["X-Forwarded-For"]
	if s.config.ForwardedHeader == transport.Forwarded {
		lines = r.Header["Forwarded"]
	}
	return transport.ClientAddr(peer, lines, s.config.TrustedProxies, s.config.ForwardedHeader)
}

// lastResort ends what the exchange holds, and answers a panic that no middleware contained.
func (x *exchange) lastResort() {
	x.releaseBody()
	v := recover()
	switch v {
	case nil:
		return
	case http.ErrAbortHandler:
		panic(v)
	}
	err := chassi.Recovered(v)
	x.server.config.Logger.ErrorContext(x.r.Context(), "panic outside of the middleware", "error", chassi.ErrorOf(err), "request_id", x.call.RequestID)
	if x.status != 0 {
		panic(http.ErrAbortHandler)
	}
	x.writeError(err)
}
