package natsapi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/internal/broker"
	"github.com/chassi-go/chassi/internal/outage"
	"github.com/chassi-go/chassi/redact"
	"github.com/chassi-go/chassi/transport"
)

// Server serves endpoints over a NATS server or cluster. Mount and Consume must be called
// before Start.
type Server struct {
	config    Config
	options   broker.Options
	services  []*service
	mounted   transport.Mounted
	work      []*worker
	conns     atomic.Pointer[connections] // connections of the last Start; nil before the first Start
	calls     *fairQueue
	inFlight  transport.InFlight // calls of requests
	streams   *transport.Streams
	outgoing  outgoingStreams
	working   transport.InFlight // calls of messages in work queues
	replies   replies
	refused   atomic.Uint64 // number of requests that were dropped
	events    *outage.Events
	discovery meter
	base      context.Context //nolint:containedctx // of all calls
	cancel    func()
	subs      subscriptions
	clients   clients // connections for the clients of a Broker
	trouble   trouble
	lost      *outage.Log
	failed    chan error
	startedAt time.Time
}

var _ chassi.Transport = (*Server)(nil)

// New returns a server whose calls pass through middleware, the first one outermost.
func New(c Config, middleware ...chassi.Middleware) *Server {
	c = c.withDefaults()
	s := &Server{config: c, failed: make(chan error, 1), discovery: meter{max: maxDiscovery, maxClient: maxDiscoveryClient}, options: broker.Options{
		Transport: "nats", MaxBytes: c.MaxMessageBytes, MaxJSONDepth: c.MaxJSONDepth, Logger: c.Logger, Middleware: middleware,
	}}
	s.events = outage.NewEvents(c.Logger, time.Minute)
	s.lost = disconnections(c.Logger)
	s.calls = newFairQueue(c, s.serve)
	s.streams = transport.NewStreams(c.Streams)
	s.outgoing.init()
	return s
}

// Name returns "nats".
func (s *Server) Name() string { return "nats" }

// LogsOutage reports whether one of the server's connections is lost. The server logs such outages,
// at most six in a minute.
func (s *Server) LogsOutage() bool { return s.lost.Down() }

// Connected reports whether all connections of the server are established: the connection for
// requests, the connection for responses and, if there are work queues, the connection for them.
func (s *Server) Connected() bool {
	cs := s.conns.Load()
	return cs != nil && !slices.ContainsFunc(cs.all(), func(c *nats.Conn) bool { return !c.IsConnected() })
}

// endpoint is one endpoint of a mounted service, with its subject and its statistics.
type endpoint struct {
	route   *broker.Route
	subject string
	calls   *transport.RouteInFlight

	mu        sync.Mutex
	requests  int
	errors    int
	lastError string
	took      time.Duration
}

// queueGroup is the name of the queue group of all instances of a service.
const queueGroup = "q"

// Mount adds the endpoints of mounted that are served over NATS. It returns an error if mounted is
// invalid, if its name is already mounted, or if an endpoint cannot be served.
func (s *Server) Mount(mounted *chassi.Service) error {
	if err := s.mounted.Add(mounted); err != nil {
		return fmt.Errorf("natsapi: %w", err)
	}
	sv := newService(s, s.config.Prefix, mounted.Name())
	var errs []error
	for _, e := range mounted.Endpoints() {
		if !e.ServedOver("nats") {
			continue
		}
		route, err := broker.NewRoute(e, &s.options)
		if err != nil {
			errs = append(errs, fmt.Errorf("natsapi: %w", err))
			continue
		}
		sv.endpoints = append(sv.endpoints, &endpoint{
			route: route, subject: subjectOf(s.config.Prefix, e), calls: s.inFlight.Route(route.Name()),
		})
	}
	if err := errors.Join(errs...); err != nil || len(sv.endpoints) == 0 {
		return err
	}
	s.services = append(s.services, sv)
	return nil
}

func (e *endpoint) streams() bool { return e.route.Endpoint().Streams() }

func subjectOf(prefix string, e *chassi.Endpoint) string {
	subject := strings.ReplaceAll(e.FullName(), "/", ".")
	if prefix != "" {
		subject = prefix + "." + subject
	}
	return subject
}

// Subjects returns the subjects of the mounted endpoints. The subjects do not begin with from.NAME,
// which precedes them in the requests of named clients.
func (s *Server) Subjects() []string {
	calls, streams := s.subjects()
	return append(calls, streams...)
}

func (s *Server) subjects() (calls, streams []string) {
	for _, sv := range s.services {
		for _, e := range sv.endpoints {
			if e.streams() {
				streams = append(streams, e.subject)
			} else {
				calls = append(calls, e.subject)
			}
		}
	}
	return calls, streams
}

// permit calls the methods Serve and, if there are streams, ServeStreams of b, so that clients may
// call the mounted endpoints.
func (s *Server) permit(b Broker) error {
	calls, streams := s.subjects()
	if err := b.Serve(calls, s.longest()); err != nil || len(streams) == 0 {
		return err //nolint:wrapcheck // says where
	}
	silence := silentIntervals * s.streams.Config().Heartbeat
	return b.ServeStreams(streams, s.longest(), silence+streamSlack) //nolint:wrapcheck // says where
}

// longest returns the longest timeout of the mounted endpoints, or Config.Timeout if that is
// longer.
func (s *Server) longest() time.Duration {
	longest := s.config.Timeout
	for _, sv := range s.services {
		for _, e := range sv.endpoints {
			longest = max(longest, e.route.Endpoint().Timeout())
		}
	}
	return longest
}

// Start connects to the NATS server, subscribes, and begins to serve. The error is
// [chassi.Unavailable] if the NATS server is unavailable or refuses a connection or a work queue;
// any other error is a configuration error. A missing permission to subscribe is not an error of
// Start, but of [Server.Check]. Start may be called again after an error.
func (s *Server) Start(ctx context.Context) (err error) {
	c := s.config
	if err = c.Validate(); err != nil {
		return err
	}
	replies, err := newReplies(c.ReplySubjects)
	if err != nil {
		return err
	}
	if c.Broker != nil {
		if err := s.permit(c.Broker); err != nil {
			return err
		}
	}
	conns, err := s.open(ctx)
	if err != nil {
		return err
	}
	s.conns.Store(&conns)
	if s.base == nil { // calls of an earlier start that failed may still use these
		base, cancel := context.WithCancelCause(context.WithoutCancel(ctx))
		s.base, s.cancel = base, func() { cancel(transport.ErrStopping.WithRetryAfter(time.Second)) }
		s.replies, s.startedAt = replies, time.Now().UTC()
	}
	if err = s.subscribe(conns.requests); err == nil {
		err = s.startWork(ctx)
	}
	if err != nil {
		s.undo(conns)
		if errors.Is(err, nats.ErrBadSubject) || c.Broker != nil && errors.Is(err, errJetStreamOff) { // of the configuration
			return err
		}
		if isRefusal(err) {
			return errRefused.WithCause(err)
		}
		return errSetup.WithCause(err)
	}
	addr := redact.URL(conns.requests.ConnectedUrl())
	if conns.requests.Opts.InProcessServer != nil {
		addr = "in this process"
	}
	c.Logger.Info("connected", "server", s.Name(), "addr", addr)
	return nil
}

// undo releases the connections and subscriptions of a failed Start. Calls that have already begun
// continue. Their responses are lost, unless the next Start has connected before they are sent.
func (s *Server) undo(conns connections) {
	s.clients.close()
	s.clients.reset()
	conns.close()
	s.subs = nil
}

func (s *Server) subscribe(conn *nats.Conn) error {
	switch {
	case s.config.Broker != nil:
		return s.followClients()
	case !s.config.NamedClients:
		return s.subscribeAll(conn, "", &s.subs)
	}
	for _, sv := range s.services { // for users of the service's own account, who have no name
		if err := sv.subscribe(conn, "", &s.subs); err != nil {
			return err
		}
	}
	return s.subscribeAll(conn, "*", &s.subs)
}

// fromPrefix precedes the name of the client in the subjects of named clients.
const fromPrefix = "from."

// subscribeAll subscribes to the subjects of the endpoints and of service discovery. If client, a
// name or "*", is not empty, the subscriptions are to from.CLIENT.SUBJECT instead of SUBJECT.
func (s *Server) subscribeAll(conn *nats.Conn, client string, subs *subscriptions) error {
	for _, sv := range s.services {
		for _, e := range sv.endpoints {
			accept := func(name string, m *nats.Msg) { s.accept(e, name, m) }
			if err := subs.add(conn, client, e.subject, queueGroup, accept); err != nil {
				return err
			}
			if e.streams() {
				if err := s.subscribeControl(conn, client, e.subject); err != nil {
					return err
				}
			}
		}
		if err := sv.subscribe(conn, client, subs); err != nil {
			return err
		}
	}
	if err := conn.FlushTimeout(5 * time.Second); err != nil {
		return fmt.Errorf("natsapi: flush the subscriptions: %w", err)
	}
	return nil
}

// arrival is a request that waits for its call.
type arrival struct {
	endpoint *endpoint
	client   *line
	msg      *nats.Msg
	at       time.Time
}

var errOverloaded = chassi.NewError(chassi.Unavailable, "overloaded", "Too many concurrent calls").WithRetryAfter(time.Second)

// overloaded is the response to a request that the queue does not accept. It is allocated only
// once, because a flood of requests may cause many such responses.
var overloaded = broker.Refuse(errOverloaded)

// accept queues m, a request of the client called name, unless mayRespond drops m. If the headers
// of m are too large or the queue is full, accept responds with an error instead. name is "" for an
// anonymous client. accept runs in a goroutine of the client library and must not block.
func (s *Server) accept(e *endpoint, name string, m *nats.Msg) {
	switch {
	case !s.mayRespond(name, m):
	case len(m.Header) > 0 && !headersFit(m.Header):
		s.respond(e, m, broker.Refuse(errHeaders), 0)
	case !s.calls.submit(name, arrival{endpoint: e, msg: m, at: time.Now()}):
		s.respond(e, m, overloaded, 0)
	}
}

// mayRespond reports whether the server may respond to m, a request of the client called name. It
// may not if the name is too long, or if the reply subject is not permitted: even an error that is
// published there could be an attack. mayRespond drops such a request.
func (s *Server) mayRespond(name string, m *nats.Msg) bool {
	switch {
	case len(name) > maxNameLength:
		s.drop(m, "name_refused", "the name of its client is longer than 64 bytes")
	case !s.replies.allow(m.Reply):
		s.drop(m, "reply_refused", "its reply subject is missing, or not among nats.reply_subjects")
	default:
		return true
	}
	return false
}

// drop counts m as dropped, passes event to Config.Observe, and logs reason at most once a minute.
func (s *Server) drop(m *nats.Msg, event, reason string) {
	s.refused.Add(1)
	s.config.Observe(event)
	s.events.Log(slog.LevelWarn, "NATS: a request was dropped: "+reason, "subject", shorten(m.Subject), "reply", shorten(m.Reply))
}

// infoHeader is the header that a NATS server adds to requests from other accounts. It is not used
// to identify clients, because a client can hide or forge the header (docs/decisions/0016).
const infoHeader = "Nats-Request-Info"

// serve makes the call for the request a, or opens the stream.
func (s *Server) serve(a arrival) {
	if a.endpoint.streams() {
		s.serveStream(a)
		return
	}
	a.endpoint.calls.Acquire()
	defer a.endpoint.calls.Release()
	s.respond(a.endpoint, a.msg, a.endpoint.route.Handle(s.base, request(a)), time.Since(a.at))
}

func request(a arrival) broker.Request {
	request := broker.Request{Arrived: a.at, PeerName: a.client.peerName, Header: header(a.msg.Header), Bare: isBare(a.msg.Header), Body: a.msg.Data}
	if a.client.trusted {
		request.Peer = transport.ForwardedAddr(header(a.msg.Header).Values(transport.XForwardedFor), nil, transport.XForwardedFor)
	}
	return request
}

// isBare reports whether h contains no header that a client has sent.
func isBare(h nats.Header) bool {
	return len(h) == 0 || len(h) == 1 && h[infoHeader] != nil
}

// respond sends the response to m and counts the call. A response that is larger than the
// max_payload of the NATS server is replaced with an error. The end of a stream is followed by an
// empty message without headers (ADR-47), after which a NATS server with accounts deletes its entry
// for the reply subject.
func (s *Server) respond(e *endpoint, m *nats.Msg, response *broker.Response, took time.Duration) {
	err := s.send(m.Reply, response)
	if errors.Is(err, nats.ErrMaxPayload) {
		s.events.Log(slog.LevelError, "NATS: a response is larger than the server's max_payload", "bytes", len(response.Body), "route", e.route.Name())
		response = response.Small()
		err = s.send(m.Reply, response)
	}
	if e.streams() && err == nil {
		err = s.conns.Load().responses.Publish(m.Reply, nil)
	}
	if err != nil {
		s.events.Log(slog.LevelError, "NATS: a response is lost", "error", err.Error(), "route", e.route.Name())
	}
	e.count(response.Err, took)
}

func (s *Server) send(reply string, response *broker.Response) error {
	var h nats.Header
	if len(response.Header) > 0 {
		h = make(nats.Header, len(response.Header)+2)
	}
	for _, p := range response.Header {
		h[p.Key] = []string{p.Value}
	}
	if response.Err != nil {
		h[micro.ErrorHeader] = []string{response.Err.Message}
		h[micro.ErrorCodeHeader] = []string{strconv.Itoa(int(response.Err.Code))}
	}
	return s.conns.Load().responses.PublishMsg(&nats.Msg{Subject: reply, Header: h, Data: response.Body}) //nolint:wrapcheck // the caller looks at it
}

func (e *endpoint) count(err *chassi.Error, took time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.requests++
	e.took += took
	if err != nil {
		e.errors++
		// Every client may read the statistics, and the message may contain another client's
		// data.
		e.lastError = strconv.Itoa(int(err.Code)) + ":" + err.Reason
	}
}

// Failed returns a channel that is closed when the server stops. No error is sent on the channel,
// because the server reconnects without a time limit.
func (s *Server) Failed() <-chan error { return s.failed }

// Stop waits for the calls of work queues, unsubscribes, handles the requests that have arrived,
// and disconnects. Streams that are not [chassi.Finite] end with [chassi.Unavailable] and a retry
// delay. If ctx is done first, Stop cancels the calls in flight, and returns an error with the
// number of these calls.
func (s *Server) Stop(ctx context.Context) error {
	defer close(s.failed)
	conns := s.conns.Load()
	defer conns.close()
	defer s.clients.close()
	defer s.cancel()
	err := errors.Join(s.stopWork(ctx), s.leave(ctx))
	s.streams.Stop()
	done := make(chan struct{})
	go func() { s.calls.close(); s.outgoing.running.Wait(); close(done) }()
	select {
	case <-done:
	case <-ctx.Done():
		err = errors.Join(err, fmt.Errorf("natsapi: stopped with calls in flight: %s: %w", &s.inFlight, ctx.Err()))
		s.cancel()
		select { // calls that watch their context still send their response
		case <-done:
		case <-time.After(50 * time.Millisecond):
		}
	}
	return errors.Join(err, conns.flush())
}

// leave drains the subscriptions: the NATS server sends no further requests, and when leave returns
// nil, accept has handled all requests that have arrived.
func (s *Server) leave(ctx context.Context) error {
	for _, sub := range append(s.clients.freeze(), s.subs...) {
		if err := sub.drain(ctx); err != nil {
			return err
		}
	}
	return nil
}

// header implements [chassi.Metadata] with the headers of a message. It compares keys without
// regard to case, although NATS headers are case-sensitive.
type header nats.Header

func (h header) Get(key string) string {
	if v, ok := h[key]; ok && len(v) > 0 {
		return v[0]
	}
	for k, v := range h {
		if strings.EqualFold(k, key) && len(v) > 0 {
			return v[0]
		}
	}
	return ""
}

// Values returns the values of key in order. It returns nil if key occurs in several spellings: one
// of them may come from the client of a gateway that adds the header in another spelling.
func (h header) Values(key string) []string {
	var values []string
	for k, v := range h {
		switch {
		case !strings.EqualFold(k, key):
		case values != nil:
			return nil
		default:
			values = v
		}
	}
	return values
}

func (h header) Set(key, value string) {
	for k := range h {
		if strings.EqualFold(k, key) {
			delete(h, k)
		}
	}
	if h != nil {
		h[key] = []string{value}
	}
}

// withoutURL returns err without the URL that a [url.Error] quotes, which may contain a password.
func withoutURL(err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		return e.Err
	}
	return err
}
