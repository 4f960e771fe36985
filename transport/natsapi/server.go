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

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/internal/outage"
	"github.com/chassi-go/chassi/transport"
	"github.com/chassi-go/chassi/transport/message"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/micro"
)

// Server serves endpoints to a NATS server or cluster. Mount and Consume come
// before Start.
type Server struct {
	config    Config
	options   message.Options
	services  []*service
	work      []*worker
	conns     atomic.Pointer[connections]
	calls     *fairQueue
	replies   replies
	refused   atomic.Uint64 // requests that were dropped
	events    *outage.Events
	discovery meter
	base      context.Context //nolint:containedctx // of all calls
	cancel    context.CancelFunc
	subs      subscriptions
	clients   clients // of a Broker
	trouble   trouble
	failed    chan error
	startedAt time.Time
}

var _ chassi.Transport = (*Server)(nil)

// New makes a server whose every call passes through middleware, the first one
// outermost.
func New(c Config, middleware ...chassi.Middleware) *Server {
	c = c.withDefaults()
	s := &Server{config: c, failed: make(chan error, 1), discovery: meter{max: maxDiscovery, maxClient: maxDiscoveryClient}, options: message.Options{
		Transport: "nats", MaxBytes: c.MaxMessageBytes, MaxJSONDepth: c.MaxJSONDepth, Logger: c.Logger, Middleware: middleware,
	}}
	s.events = outage.NewEvents(c.Logger, time.Minute)
	s.calls = newFairQueue(c, s.serve)
	return s
}

// Name returns "nats".
func (s *Server) Name() string { return "nats" }

// Connected tells whether there is a connection now, for requests and for answers.
func (s *Server) Connected() bool {
	cs := s.conns.Load()
	return cs != nil && !slices.ContainsFunc(cs.all(), func(c *nats.Conn) bool { return !c.IsConnected() })
}

// endpoint is one endpoint as it is served here, with what stats tell of it.
type endpoint struct {
	route    *message.Route
	subject  string
	inFlight atomic.Int64

	mu        sync.Mutex
	requests  int
	errors    int
	lastError string
	took      time.Duration
}

// queueGroup is the one group of all instances of a service.
const queueGroup = "q"

// Mount serves the endpoints of service.
func (s *Server) Mount(mounted *chassi.Service) error {
	if err := mounted.Err(); err != nil {
		return err
	}
	sv := newService(s, s.config.Prefix, mounted.Name())
	var errs []error
	for _, e := range mounted.Endpoints() {
		route, err := message.NewRoute(e, &s.options)
		if err != nil {
			errs = append(errs, fmt.Errorf("natsapi: %w", err))
			continue
		}
		sv.endpoints = append(sv.endpoints, &endpoint{route: route, subject: subjectOf(s.config.Prefix, e)})
	}
	s.services = append(s.services, sv)
	return errors.Join(errs...)
}

func subjectOf(prefix string, e *chassi.Endpoint) string {
	subject := strings.ReplaceAll(e.FullName(), "/", ".")
	if prefix != "" {
		subject = prefix + "." + subject
	}
	return subject
}

// Subjects returns the subjects of the endpoints that are mounted, without a client's name.
func (s *Server) Subjects() []string {
	var subjects []string
	for _, sv := range s.services {
		for _, e := range sv.endpoints {
			subjects = append(subjects, e.subject)
		}
	}
	return subjects
}

// longest returns the longest deadline of the endpoints that are mounted.
func (s *Server) longest() time.Duration {
	longest := s.config.Deadline
	for _, sv := range s.services {
		for _, e := range sv.endpoints {
			longest = max(longest, e.route.Endpoint().Deadline())
		}
	}
	return longest
}

// Start connects and serves. Its error is [chassi.Unavailable] if the NATS server is away
// or refuses something, and otherwise one of the configuration. It may be called again.
func (s *Server) Start(ctx context.Context) (err error) {
	c := s.config
	if err = c.Validate(); err != nil {
		return err
	}
	if s.replies, err = newReplies(c.ReplySubjects); err != nil {
		return err
	}
	if c.Broker != nil {
		if err := c.Broker.Serve(s.Subjects(), s.longest()); err != nil {
			return err //nolint:wrapcheck // says where
		}
	}
	conns, err := s.open(ctx)
	if err != nil {
		return err
	}
	s.conns.Store(&conns)
	s.startedAt = time.Now().UTC()
	s.base, s.cancel = context.WithCancel(context.WithoutCancel(ctx))
	if err = s.subscribe(conns.requests); err == nil {
		err = s.startWork(ctx, conns.work)
	}
	if err != nil {
		s.undo(conns)
		if errors.Is(err, nats.ErrBadSubject) {
			return err
		}
		return unavailable(err)
	}
	addr := conns.requests.ConnectedUrlRedacted()
	if conns.requests.Opts.InProcessServer != nil {
		addr = "in this process"
	}
	c.Logger.Info("serving", "server", s.Name(), "addr", addr)
	return nil
}

// undo leaves nothing of a Start that has failed.
func (s *Server) undo(conns connections) {
	s.clients.close()
	s.clients.reset()
	conns.close()
	s.conns.Store(nil)
	s.subs = nil
	s.cancel()
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

// fromPrefix stands in front of a client's name in the subjects of named clients.
const fromPrefix = "from."

// subscribeAll takes requests on the subjects of the endpoints and of the discovery or, if
// client is not empty, on from.NAME.SUBJECT, where client is the name or "*" for any.
func (s *Server) subscribeAll(conn *nats.Conn, client string, subs *subscriptions) error {
	for _, sv := range s.services {
		for _, e := range sv.endpoints {
			accept := func(name string, m *nats.Msg) { s.accept(e, name, m) }
			if err := subs.add(conn, client, e.subject, queueGroup, accept); err != nil {
				return err
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

// overloaded is made once: a flood is answered with it, as fast as it comes.
var overloaded = message.Refuse(errOverloaded)

// accept takes a request of the client called name, "" for one without a name. It runs on
// the client library's goroutine and so never waits.
func (s *Server) accept(e *endpoint, name string, m *nats.Msg) {
	switch {
	case !s.mayAnswer(name, m):
	case len(m.Header) > 0 && !headersFit(m.Header):
		s.respond(e, m, message.Refuse(errHeaders), 0)
	case !s.calls.submit(name, arrival{endpoint: e, msg: m, at: time.Now()}):
		s.respond(e, m, overloaded, 0)
	}
}

// mayAnswer reports whether the answer to m, of the client called name, may go where m wants
// it. If not, m is dropped: writing there, be it an error, is what its sender may want. So is
// a request of a client whose name is too long for logs and counters.
func (s *Server) mayAnswer(name string, m *nats.Msg) bool {
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

// infoHeader is what a server adds to requests that come from other accounts. It is not
// used to learn who calls: a client can hide or forge it (docs/decisions/0016).
const infoHeader = "Nats-Request-Info"

// serve makes one call.
func (s *Server) serve(a arrival) {
	a.endpoint.inFlight.Add(1)
	defer a.endpoint.inFlight.Add(-1)
	request := message.Request{Arrived: a.at, PeerName: a.client.peerName, Header: header(a.msg.Header), Bare: isBare(a.msg.Header), Body: a.msg.Data}
	if a.client.trusted {
		request.Peer = transport.ForwardedAddr(header(a.msg.Header).all(transport.XForwardedFor), nil, transport.XForwardedFor)
	}
	s.respond(a.endpoint, a.msg, a.endpoint.route.Handle(s.base, request), time.Since(a.at))
}

// isBare reports whether a client sent no header.
func isBare(h nats.Header) bool {
	return len(h) == 0 || len(h) == 1 && h[infoHeader] != nil
}

var errAnswerSize = chassi.NewError(chassi.ResourceExhausted, "answer_too_large", "The answer is too large to be sent")

// respond sends the answer to m and counts the call. An answer that the NATS server would
// not take is replaced by an error.
func (s *Server) respond(e *endpoint, m *nats.Msg, answer *message.Answer, took time.Duration) {
	err := s.send(m.Reply, answer)
	if errors.Is(err, nats.ErrMaxPayload) {
		s.events.Log(slog.LevelError, "NATS: an answer is larger than the server's max_payload", "bytes", len(answer.Body), "route", e.route.Name())
		answer = message.Refuse(errAnswerSize)
		err = s.send(m.Reply, answer)
	}
	if err != nil {
		s.events.Log(slog.LevelError, "NATS: an answer is lost", "error", err.Error(), "route", e.route.Name())
	}
	e.count(answer.Err, took)
}

func (s *Server) send(reply string, answer *message.Answer) error {
	var h nats.Header
	if len(answer.Header) > 0 {
		h = make(nats.Header, len(answer.Header)+2)
	}
	for _, p := range answer.Header {
		h[p.Key] = []string{p.Value}
	}
	if answer.Err != nil {
		h[micro.ErrorHeader] = []string{answer.Err.Message}
		h[micro.ErrorCodeHeader] = []string{strconv.Itoa(int(answer.Err.Code))}
	}
	return s.conns.Load().answers.PublishMsg(&nats.Msg{Subject: reply, Header: h, Data: answer.Body}) //nolint:wrapcheck // the caller looks at it
}

func (e *endpoint) count(err *chassi.Error, took time.Duration) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.requests++
	e.took += took
	if err != nil {
		e.errors++
		// Every client may read it. The message may name what another client has asked for.
		e.lastError = strconv.Itoa(int(err.Code)) + ":" + err.Reason
	}
}

// Failed is closed when the server stops; it connects again by itself for as long
// as it takes.
func (s *Server) Failed() <-chan error { return s.failed }

// Stop leaves the subjects, answers what has arrived, and disconnects. When ctx
// ends first it cancels the calls in flight and returns an error that counts them.
func (s *Server) Stop(ctx context.Context) error {
	defer close(s.failed)
	conns := s.conns.Load()
	defer conns.close()
	defer s.clients.close()
	defer s.cancel()
	err := errors.Join(s.stopWork(ctx), s.leave(ctx))
	done := make(chan struct{})
	go func() { s.calls.close(); close(done) }()
	select {
	case <-done:
	case <-ctx.Done():
		err = errors.Join(err, fmt.Errorf("natsapi: gave up calls in flight: %s: %w", s.inFlight(), ctx.Err()))
		s.cancel()
		select { // calls that heed their context still get their answer out
		case <-done:
		case <-time.After(50 * time.Millisecond):
		}
	}
	for _, conn := range conns.all() { // answers, and what work was given back
		if flushErr := conn.FlushTimeout(time.Second); flushErr != nil && conn.IsConnected() {
			err = errors.Join(err, fmt.Errorf("natsapi: flush: %w", flushErr))
		}
	}
	return err
}

// inFlight lists the routes that calls are in: "auth.v1.Auth/Me (3)".
func (s *Server) inFlight() string {
	var stuck []string
	for _, sv := range s.services {
		for _, e := range sv.endpoints {
			if n := e.inFlight.Load(); n > 0 {
				stuck = append(stuck, fmt.Sprintf("%s (%d)", e.route.Name(), n))
			}
		}
	}
	return strings.Join(stuck, ", ")
}

// leave drains the subscriptions: the server sends nothing more, and what it has
// sent already is in the queue when leave returns.
func (s *Server) leave(ctx context.Context) error {
	for _, sub := range append(s.clients.freeze(), s.subs...) {
		if err := sub.drain(ctx); err != nil {
			return err
		}
	}
	return nil
}

// header shows a message's headers as metadata. NATS tells their case apart; we
// do not.
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

// all returns the values of key, in no order if it is spelled in several ways.
func (h header) all(key string) []string {
	var values []string
	for k, v := range h {
		if strings.EqualFold(k, key) {
			values = append(values, v...)
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

// redact hides what stands before the @ of URLs.
func redact(urls string) string {
	list := strings.Split(urls, ",")
	for i := range list {
		u, err := url.Parse(list[i])
		if err != nil {
			list[i] = "(invalid URL)"
			continue
		}
		list[i] = u.Redacted()
	}
	return strings.Join(list, ",")
}

// withoutURL is err, if it is one of parsing a URL without that: it may hold a password.
func withoutURL(err error) error {
	if e, ok := errors.AsType[*url.Error](err); ok {
		return e.Err
	}
	return err
}
