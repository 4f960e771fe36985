package httpapi

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/rs/cors"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/internal/listening"
	"github.com/chassi-go/chassi/transport"
	"github.com/chassi-go/chassi/transport/certs"
)

// Server serves endpoints and mounted handlers on one address. Mount, Handle and Use must be called
// before Start; ServeHTTP is safe for concurrent use.
type Server struct {
	config       Config
	progressTime time.Duration // the period of progress; shorter in tests
	middleware   []chassi.Middleware
	mux          *http.ServeMux
	plain        map[plainRoute]*route // routes that need no pattern matching
	patterns     map[string]*route
	mounted      transport.Mounted
	calls        transport.InFlight
	streams      *transport.Streams
	hijacked     hijacked
	methods      []string // methods of all routes
	rooted       bool     // whether the pattern "/" is registered
	hosted       bool     // whether a pattern names a host
	unmatched    *unmatched
	cors         func() *cors.Cors // returns nil without origins
	hosts        *hostPolicy       // nil for a public listener
	secure       *secureHeaders
	bodies       *bodies
	certificates *certs.Certificates
	http         *http.Server
	listener     atomic.Pointer[limitedListener] // nil before Start
	draining     atomic.Bool
	failed       chan error
	cancelCalls  context.CancelFunc
	wrappers     []func(http.Handler) http.Handler // given to Use
	wrapped      http.Handler                      // the server inside wrappers, if any
}

var _ chassi.Transport = (*Server)(nil)

// New returns a server whose calls pass through middleware, the first one outermost. It returns an
// error if a setting is invalid or if a middleware cannot serve the calls of the server.
func New(c Config, middleware ...chassi.Middleware) (*Server, error) {
	c = c.withDefaults()
	s := &Server{
		config: c, progressTime: progressTime, middleware: middleware, mux: http.NewServeMux(), failed: make(chan error, 1),
		plain: make(map[plainRoute]*route), patterns: make(map[string]*route), streams: transport.NewStreams(c.Streams),
	}
	var err error
	if err = c.CORS.check(); err != nil {
		return nil, fmt.Errorf("httpapi: %w", err)
	}
	var headers []string
	if c.Connect {
		headers = connectHeaders
		if c.ConnectCodec == nil {
			return nil, errNoConnectCodec
		}
	}
	s.cors = sync.OnceValue(func() *cors.Cors { return newCORS(c.CORS, s.methods, headers) }) // after all routes
	if s.hosts, err = newHostPolicy(c.Name, c.Hosts); err != nil {
		return nil, fmt.Errorf("httpapi: %w", err)
	}
	s.secure = newSecureHeaders(c.TLS.Enabled())
	s.bodies = newBodies(c)
	s.unmatched = newUnmatched(s)
	if err := s.unmatched.other.refusal(); err != nil {
		return nil, err
	}
	return s, nil
}

// Name returns the configured name, by default "http".
func (s *Server) Name() string { return s.config.Name }

// Addr returns the address that the server listens on, or nil before Start.
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

// Certificate returns the state of the TLS certificate. Without TLS, or before Start, ok is false.
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

// Start begins to listen, and serves in the background until [Server.Stop]. It returns an error if
// the certificates cannot be loaded or the server cannot listen on its address. The contexts of
// calls inherit the values of ctx, but not its cancellation.
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
	s.http.RegisterOnShutdown(s.streams.Stop) // the listener is closed by then
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

// maxStreams is the maximum number of concurrent calls of one HTTP/2 connection.
const maxStreams = 250

// http2 returns the settings for HTTP/2. They replace the deadlines of a connection, which net/http
// ignores over HTTP/2: a connection is closed if its client does not read, or if the client sends
// nothing and does not respond to a ping. A client cannot respond to a ping in the middle of a
// header block.
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
		return fmt.Errorf("httpapi: %w; %s", err, listening.Advice(err)) // err says where
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

// Failed returns a channel that delivers the error if serving ends unexpectedly. The channel is
// closed when serving ends.
func (s *Server) Failed() <-chan error { return s.failed }

// Drain makes the server close each connection after its next response, so that no connection is in
// use when the listener closes. It also makes reads of the connections that handlers have taken
// over fail with [os.ErrDeadlineExceeded].
func (s *Server) Drain() {
	s.draining.Store(true)
	s.hijacked.end()
}

// Stop closes the listener, ends all streams that are not [chassi.Finite], and waits for the calls
// in flight, which include the finite streams, and for the connections that handlers have taken
// over. If ctx is done first, Stop cancels the contexts of the calls, closes all connections, and
// returns an error with the number of remaining calls of each route, if any.
func (s *Server) Stop(ctx context.Context) error {
	s.Drain()
	s.hijacked.stop()
	defer s.certificates.Stop()
	defer s.cancelCalls()
	err := cmp.Or(s.http.Shutdown(ctx), s.hijacked.wait(ctx))
	if err == nil {
		return nil
	}
	stuck := "open connections"
	if calls := s.calls.String(); calls != "" {
		stuck = "calls in flight: " + calls
	}
	s.hijacked.close()
	_ = s.http.Close() // the reason is returned below
	return fmt.Errorf("httpapi: stopped with %s: %w", stuck, err)
}

// Use wraps the server in plain HTTP middleware, the first one outermost. The middleware handles
// every request before the server does. Use must be called before Start. A writer that the
// middleware passes on must unwrap to the writer of net/http, for [http.ResponseController]. The
// values of response headers are shared between responses: middleware may replace them, but must
// not change them in place.
func (s *Server) Use(middleware ...func(http.Handler) http.Handler) {
	s.wrappers = append(s.wrappers, middleware...)
	s.wrapped = http.HandlerFunc(s.dispatch)
	for _, wrap := range slices.Backward(s.wrappers) {
		s.wrapped = wrap(s.wrapped)
	}
}

// ServeHTTP implements [http.Handler]. It passes the request through the middleware given to Use.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if s.wrapped != nil {
		s.wrapped.ServeHTTP(w, r)
		return
	}
	s.dispatch(w, r)
}

// dispatch creates the exchange of a request, and passes it to the route that matches the request
// or, if there is none or the request is refused, to s.unmatched.
func (s *Server) dispatch(w http.ResponseWriter, r *http.Request) {
	x := &exchange{server: s, w: w, r: r}
	defer x.lastResort()
	conn, _ := r.Context().Value(connectionKey{}).(*connection)
	if conn != nil && r.ProtoMajor == 2 {
		defer func() {
			if x.stream == nil || x.status == 0 { // leaving a stream is no reset
				conn.ended(r.Context(), int64(s.config.MaxResets))
			}
		}()
	}
	h := w.Header()
	x.out.header = h
	x.call.In, x.call.Out = requestMetadata(r.Header), &x.out
	x.call.Peer = s.peer(conn, r)
	if r.TLS != nil && len(r.TLS.VerifiedChains) > 0 && !transport.IsTrusted(rawPeer(conn, r), s.config.TrustedProxies) {
		x.call.PeerCertificate = r.TLS.VerifiedChains[0][0]
	}
	x.call.RequestID = requestID(r.Header)
	x.out.put(transport.RequestIDKey, x.call.RequestID) // validated by requestID
	s.secure.set(h)
	if len(r.TransferEncoding) > 0 {
		// The request may have had a Content-Length too, which net/http has removed. Then the
		// connection must be closed, because the bytes that follow may be meant as part of the
		// body (RFC 9112, section 6.1).
		h["Connection"] = closeHeader
	}
	if s.hosts.check(r) != nil {
		s.unmatched.ServeHTTP(x, r)
		return
	}
	if r.Method != http.MethodOptions {
		s.setCORS(w, r)
	}
	if r.URL.RawPath == "" { // the usual escapes only, and none in what a plain route matches
		if rt := s.plain[plainRoute{r.Method, r.URL.Path}]; rt != nil {
			x.serve(rt)
			return
		}
	}
	if x.path = kindOf(r.URL.EscapedPath()); x.path == ambiguousPath {
		s.unmatched.ServeHTTP(x, r)
		return
	}
	s.mux.ServeHTTP(x, r)
}

// rawPeer returns the address of the other end of the connection, which may be a proxy. It returns
// the zero value if the address is unknown.
func rawPeer(conn *connection, r *http.Request) (peer netip.AddrPort) {
	if conn != nil {
		return conn.peer
	}
	peer, _ = netip.ParseAddrPort(r.RemoteAddr) // not accepted by Start: a test, or a server around this one
	return peer
}

func (s *Server) peer(conn *connection, r *http.Request) netip.AddrPort {
	peer := rawPeer(conn, r)
	if !peer.IsValid() {
		return peer // not TCP: a Unix socket
	}
	var lines []string
	switch {
	case len(s.config.TrustedProxies) == 0:
	case s.config.ForwardedHeader == transport.Forwarded:
		lines = r.Header["Forwarded"]
	default:
		lines = r.Header["X-Forwarded-For"]
	}
	return transport.ClientAddr(peer, lines, s.config.TrustedProxies, s.config.ForwardedHeader)
}

// lastResort releases the resources of the exchange, and handles a panic that no middleware has
// recovered.
func (x *exchange) lastResort() {
	x.releaseBody()
	if x.stream != nil {
		x.stream.release()
	}
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
