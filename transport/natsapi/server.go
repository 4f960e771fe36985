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
	conns     atomic.Pointer[connections] // of the last Start; nil before the first
	calls     *fairQueue
	inFlight  transport.InFlight // requests
	streams   *transport.Streams
	outgoing  outgoingStreams
	working   transport.InFlight // messages of work queues
	replies   replies
	refused   atomic.Uint64 // requests that were dropped
	events    *outage.Events
	discovery meter
	base      context.Context //nolint:containedctx // of all calls
	cancel    func()
	subs      subscriptions
	clients   clients // of a Broker
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

// LogsOutage reports whether the server has logged the current outage of its connection.
func (s *Server) LogsOutage() bool { return s.lost.Down() }

// Connected reports whether the connections for requests, for responses and, if there are work
// queues, for these are all established.
func (s *Server) Connected() bool {
	cs := s.conns.Load()
	return cs != nil && !slices.ContainsFunc(cs.all(), func(c *nats.Conn) bool { return !c.IsConnected() })
}

// endpoint is one endpoint as served here, with its statistics.
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

// queueGroup is the queue group of all instances of a service.
const queueGroup = "q"

// Mount adds the endpoints of service.
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

// Subjects returns the subjects of the mounted endpoints, without a client's name.
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

// permit makes b permit clients to call the mounted endpoints.
func (s *Server) permit(b Broker) error {
	calls, streams := s.subjects()
	if err := b.Serve(calls, s.longest()); err != nil || len(streams) == 0 {
		return err //nolint:wrapcheck // says where
	}
	silence := silentIntervals * s.streams.Config().Heartbeat
	return b.ServeStreams(streams, s.longest(), silence+streamSlack) //nolint:wrapcheck // says where
}

// longest returns the longest timeout of the mounted endpoints, which is at least Config.Timeout.
func (s *Server) longest() time.Duration {
	longest := s.config.Timeout
	for _, sv := range s.services {
		for _, e := range sv.endpoints {
			longest = max(longest, e.route.Endpoint().Timeout())
		}
	}
	return longest
}

// Start connects and serves. The error is [chassi.Unavailable] if the NATS server is
// unavailable or refuses something, otherwise a configuration error. It may be called again
// after an error.
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
		return unavailable(err)
	}
	addr := redact.URL(conns.requests.ConnectedUrl())
	if conns.requests.Opts.InProcessServer != nil {
		addr = "in this process"
	}
	c.Logger.Info("serving", "server", s.Name(), "addr", addr)
	return nil
}

// undo releases the connections of a failed Start. Calls that have begun end by themselves: they
// respond over the closed connections, or over those of the next Start.
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

// fromPrefix precedes a client's name in the subjects of named clients.
const fromPrefix = "from."

// subscribeAll subscribes to the subjects of the endpoints and of service discovery or, if
// client is not empty, to from.CLIENT.SUBJECT, where client is a name or "*".
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
		return fmt.Errorf("natsapi: subscribe: %w", err)
	}
	return nil
}

// arrival is a message that waits for its call.
type arrival struct {
	endpoint *endpoint
	client   *line
	msg      *nats.Msg
	at       time.Time
}

var errOverloaded = chassi.NewError(chassi.Unavailable, "overloaded", "Too many calls at once").WithRetryAfter(time.Second)

// overloaded is allocated once, because it is sent for every request of a flood.
var overloaded = broker.Refuse(errOverloaded)

// accept queues a request of the client called name, "" for an anonymous one. It runs in the
// client library's goroutine and must not block.
func (s *Server) accept(e *endpoint, name string, m *nats.Msg) {
	switch {
	case !s.mayRespond(name, m):
	case len(m.Header) > 0 && !headersFit(m.Header):
		s.respond(e, m, broker.Refuse(errHeaders), 0)
	case !s.calls.submit(name, arrival{endpoint: e, msg: m, at: time.Now()}):
		s.respond(e, m, overloaded, 0)
	}
}

// mayRespond reports whether the server may respond to m, a request of the client called name. If
// not, it drops m: if the reply subject is not permitted, because publishing even an error there
// could be an attack, or if the name is too long.
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

// drop counts m as dropped, and logs it at most once a minute.
func (s *Server) drop(m *nats.Msg, event, reason string) {
	s.refused.Add(1)
	s.config.Observe(event)
	s.events.Log(slog.LevelWarn, "NATS: a request was dropped: "+reason, "subject", shorten(m.Subject), "reply", shorten(m.Reply))
}

// infoHeader is the header that a server adds to requests from other accounts. It is not used
// to identify clients, because they can hide or forge it (docs/decisions/0016).
const infoHeader = "Nats-Request-Info"

// serve makes one call, or opens one stream.
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

// isBare reports whether a client sent no header.
func isBare(h nats.Header) bool {
	return len(h) == 0 || len(h) == 1 && h[infoHeader] != nil
}

// respond sends the response to m and counts the call. A response larger than the server's
// max_payload is replaced by an error. The end of a stream is followed by an empty message without
// headers (ADR-47), after which a server with accounts deletes its entry of the reply subject.
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

// Failed returns a channel that is closed when the server stops. The server never fails: it
// reconnects without a time limit.
func (s *Server) Failed() <-chan error { return s.failed }

// Stop unsubscribes, handles the requests that have arrived, and disconnects. Subscriptions,
// which are streams that are not [chassi.Finite], end as Unavailable with a retry delay. When
// ctx ends first, it cancels the calls in flight and returns an error with their number.
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

// leave drains the subscriptions: the server sends nothing more, and all messages that it has
// sent are in the queue when leave returns.
func (s *Server) leave(ctx context.Context) error {
	for _, sub := range append(s.clients.freeze(), s.subs...) {
		if err := sub.drain(ctx); err != nil {
			return err
		}
	}
	return nil
}

// header presents a message's headers as metadata. Keys are case-sensitive in NATS but not
// here.
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

// Values returns the values of key in order. It returns nil if key occurs in several spellings: a
// gateway that adds its own spelling also passes on its client's spelling.
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

// withoutURL returns err without the URL of a parse error, which may contain a password.
func withoutURL(err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		return e.Err
	}
	return err
}
