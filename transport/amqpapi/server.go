package amqpapi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/internal/outage"
	"github.com/chassi-go/chassi/transport"
	"github.com/chassi-go/chassi/transport/message"
	amqp "github.com/rabbitmq/amqp091-go"
)

// Server serves endpoints to a RabbitMQ server or cluster. Mount and Consume come
// before Start.
type Server struct {
	config    Config
	options   message.Options
	account   account
	identity  identity // of messages that are moved between work queues
	replyRoot string   // what the names of reply queues begin with
	queues    []*serviceQueue
	work      []*worker
	link      *link
	answers   *answers
	links     atomic.Pointer[map[string]*link] // by what they are for, nil before Start
	places    places                           // of requests, at the workers
	workers   *transport.Workers[arrival]
	clients   clients
	calls     transport.InFlight
	events    *outage.Events
	base      context.Context //nolint:containedctx // of all calls
	cancel    context.CancelFunc
	failed    chan error
	up        atomic.Bool // Start has succeeded

	mu       sync.Mutex // guards what follows
	channels []*amqp.Channel
	feeding  sync.WaitGroup // of the goroutines that read deliveries
	stopping bool
}

// serviceQueue is the queue of one mounted service.
type serviceQueue struct {
	exchange, name string
	routes         map[string]*message.Route // by routing key
}

var _ chassi.Transport = (*Server)(nil)

// New makes a server whose every call passes through middleware, the first one
// outermost.
func New(c Config, middleware ...chassi.Middleware) *Server {
	c = c.withDefaults()
	s := &Server{config: c, failed: make(chan error, 1), account: accountOf(c.URL), options: message.Options{
		Transport: "amqp", MaxBytes: c.MaxMessageBytes, MaxJSONDepth: c.MaxJSONDepth, Logger: c.Logger, Middleware: middleware,
	}}
	s.identity.user = s.account.user
	s.events = outage.NewEvents(c.Logger, 0)
	s.clients = clients{limit: c.MaxPerClient, busy: make(map[string]*client)}
	if s.replyRoot = c.ReplyQueues; c.ReplyQueues != replyQueuesOff {
		s.replyRoot = prefixed(c.Prefix, c.ReplyQueues)
	}
	return s
}

// Name returns "amqp".
func (s *Server) Name() string { return "amqp" }

// Mount serves the endpoints of service.
func (s *Server) Mount(service *chassi.Service) error {
	if err := service.Err(); err != nil {
		return err
	}
	q := &serviceQueue{
		exchange: exchangeName(s.config.Prefix, service.Name()), name: requestsQueue(s.config.Prefix, service.Name()), routes: make(map[string]*message.Route),
	}
	var errs []error
	for _, e := range service.Endpoints() {
		route, err := message.NewRoute(e, &s.options)
		if err != nil {
			errs = append(errs, fmt.Errorf("amqpapi: %w", err))
			continue
		}
		q.routes[routingKey(e)] = route
	}
	s.queues = append(s.queues, q)
	return errors.Join(errs...)
}

func routingKey(e *chassi.Endpoint) string { return strings.ReplaceAll(e.FullName(), "/", ".") }

// Start connects and serves. Its error is [chassi.Unavailable] if the broker is away or
// refuses something, with the command to run, and otherwise one of the configuration. It
// may be called again.
func (s *Server) Start(ctx context.Context) error {
	if err := s.config.Validate(); err != nil {
		return fmt.Errorf("amqpapi: %w", err)
	}
	tlsConfig, err := tlsConfig(s.config.CAFile)
	if err != nil {
		return err
	}
	s.base, s.cancel = context.WithCancel(context.WithoutCancel(ctx))
	s.makeRoom()
	account, all := accountOf(s.config.AnswersURL), exactly(s.names()...)
	s.answers = newAnswers(&s.config, &link{
		url: s.config.AnswersURL, tls: tlsConfig, name: "chassi answers", logger: s.config.Logger,
		grant: account.grant(nothing, exactly("amq.default"), nothing),
	}, s.warn)
	s.link = &link{url: s.config.URL, tls: tlsConfig, name: "chassi server", logger: s.config.Logger, grant: s.account.grant(all, all, all), use: s.use}
	s.links.Store(&map[string]*link{"requests": s.link, "answers": s.answers.link})
	if err := s.answers.start(ctx); err != nil {
		s.undo()
		return err
	}
	if err := s.link.start(ctx); err != nil {
		s.answers.stop()
		s.undo()
		return err
	}
	s.up.Store(true)
	s.config.Logger.Info("serving", "server", s.Name(), "addr", redact(s.config.URL))
	return nil
}

// undo leaves nothing of a Start that has failed.
func (s *Server) undo() {
	s.cancel()
	s.feeding.Wait()
	s.workers.Close()
}

// Check says why no requests are served now: a connection is away or the broker refuses
// something.
func (s *Server) Check(context.Context) error {
	if !s.up.Load() {
		return errUnavailable.WithCause(errors.New("amqpapi: not started"))
	}
	return errors.Join(s.link.check(), s.answers.link.check())
}

// makeRoom makes the workers, and as many places as they run and all prefetches together
// let wait. The workers take more than there are places, because one that has left its
// place counts as busy for a moment more.
func (s *Server) makeRoom() {
	room := s.config.MaxConcurrent * (1 + len(s.queues))
	s.places = make(places, room)
	s.workers = transport.NewWorkers(s.config.MaxConcurrent, room, s.serve)
}

// use declares and consumes everything on a new connection. The channel that it
// returns is closed when any of it ends.
func (s *Server) use(conn *amqp.Connection) (<-chan struct{}, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopping {
		return nil, errors.New("the server is stopping")
	}
	t := &topology{conn: conn, account: s.account, names: s.names(), warn: s.config.Logger.Warn}
	defer t.close()
	s.channels = nil
	lost := make(chan struct{})
	end := sync.OnceFunc(func() { close(lost) })
	for _, q := range s.queues {
		if err := s.consumeService(t, q, end); err != nil {
			return nil, err
		}
	}
	for _, w := range s.work {
		if err := w.consume(t, end); err != nil {
			return nil, err
		}
	}
	return lost, nil
}

// names lists the exchanges and queues that the server needs rights on.
func (s *Server) names() (names []string) {
	for _, q := range s.queues {
		names = append(names, q.exchange, q.name)
	}
	for _, w := range s.work {
		names = append(names, workNames(w.queue)...)
	}
	return names
}

// consumerTag names the one consumer of a channel.
const consumerTag = "chassi"

// consumeService declares the queue of a service with its bindings, and feeds what
// it delivers to the goroutines that make calls.
func (s *Server) consumeService(t *topology, q *serviceQueue, end func()) error {
	args := amqp.Table{"x-max-length": int64(s.config.MaxQueueLength), "x-max-length-bytes": int64(s.config.MaxQueueBytes), "x-overflow": "reject-publish"}
	if d := s.config.Expires; d > 0 {
		args["x-expires"] = d.Milliseconds()
	}
	t.found = false
	if err := t.exchange(q.exchange, s.config.Expires > 0); err != nil {
		return err
	}
	if err := t.queue(q.name, args); err != nil {
		return err
	}
	for key := range q.routes {
		if err := t.bind(q.name, key, q.exchange); err != nil {
			return err
		}
	}
	ch, err := t.conn.Channel()
	if err != nil {
		return err //nolint:wrapcheck // the link says whose
	}
	gone := ch.NotifyClose(make(chan *amqp.Error, 1))
	err = s.feed(ch, q.name, s.config.MaxConcurrent, end, func(d amqp.Delivery) { s.take(q.routes[d.RoutingKey], &d, gone) })
	return t.explain("queue", q.name, err)
}

// feed consumes a queue and passes each delivery on, until the channel or the
// consumer ends.
func (s *Server) feed(ch *amqp.Channel, queue string, prefetch int, end func(), take func(amqp.Delivery)) error {
	if err := ch.Qos(prefetch, 0, false); err != nil {
		return err //nolint:wrapcheck // explained by the caller
	}
	deliveries, err := ch.Consume(queue, consumerTag, false, false, false, false, nil)
	if err != nil {
		return err //nolint:wrapcheck // explained by the caller
	}
	s.channels = append(s.channels, ch)
	s.feeding.Go(func() {
		for d := range deliveries {
			take(d)
		}
		s.mu.Lock()
		stopping := s.stopping
		s.mu.Unlock()
		if !stopping { // then the channel is needed for the acknowledgements
			_ = ch.Close()
			end()
		}
	})
	return nil
}

// arrival is a request that waits for its call.
type arrival struct {
	route *message.Route
	amqp.Delivery
	at      time.Time
	to      replyTo
	client  string // its name
	refusal *chassi.Error
}

// What a request can be refused for without a call.
var (
	errNoSuchMethod = chassi.NewError(chassi.Unimplemented, "no_such_method", "There is no such method")
	errBusy         = chassi.NewError(chassi.ResourceExhausted, "too_many_calls", "Too many calls of this client at once")
	errTooLarge     = chassi.NewError(chassi.ResourceExhausted, "body_too_large", "The message is too large")
	errHeaders      = chassi.NewError(chassi.InvalidArgument, "too_many_headers", "The message has too many headers")
	errMayBeDone    = chassi.NewError(chassi.Aborted, "may_have_been_done", "The call was interrupted and may have been carried out")
	errAnswerSize   = chassi.NewError(chassi.ResourceExhausted, "answer_too_large", "The answer is too large to be sent")
)

// take hands a request over to the workers. One whose answer may not go where it says
// is not carried out. It waits for a place while there is none, which is so only after a
// reconnect, and gives the request back to the broker if the server gives up meanwhile.
func (s *Server) take(route *message.Route, d *amqp.Delivery, gone <-chan *amqp.Error) {
	to, ok := s.replyToOf(d.ReplyTo, d.UserId)
	if !ok {
		s.config.Observe(EventReplyToRefused)
		s.warn("AMQP: a request was not carried out because its answer may not go to its reply_to",
			"reply_to", short(d.ReplyTo), "user_id", short(d.UserId), "route", d.RoutingKey)
		s.acknowledge(d)
		return
	}
	at := time.Now()
	if !s.places.wait(gone, s.base.Done()) {
		_ = d.Nack(false, true) // fails without its channel, whose end gives it back, too
		return
	}
	a := arrival{route: route, Delivery: *d, at: at, to: to}
	switch {
	case route == nil: // bound by an older version of the service, or by an operator
		a.refusal = errNoSuchMethod
	case len(d.Body) > s.config.MaxMessageBytes:
		a.refusal = s.malformed(errTooLarge)
		a.Body = nil
	case len(d.Headers) > maxHeaders:
		a.refusal = s.malformed(errHeaders)
	default:
		if a.client, ok = s.clients.enter(d.UserId); !ok {
			s.config.Observe(EventClientBusy)
			a.refusal = errBusy
		}
	}
	s.workers.Submit(a) // takes it: there was a place, and it is closed when nothing feeds it any more
}

// warn logs what clients can cause, now and then.
func (s *Server) warn(msg string, args ...any) { s.events.Log(slog.LevelWarn, msg, args...) }

func (s *Server) malformed(err *chassi.Error) *chassi.Error {
	s.config.Observe(EventMalformed)
	return err
}

// serve makes one call, or says why not.
func (s *Server) serve(a arrival) {
	defer s.places.leave()
	if a.refusal != nil {
		s.respond(&a, message.Refuse(a.refusal))
		s.acknowledge(&a.Delivery)
		return
	}
	switch wait, expires := expiration(&a.Delivery); {
	case expires && time.Since(a.at) >= wait: // its caller has gone
		s.clients.leave(a.UserId)
		s.config.Observe(EventExpired)
		s.acknowledge(&a.Delivery)
		return
	case a.Redelivered && !a.route.Endpoint().Idempotent():
		s.clients.leave(a.UserId)
		s.config.Observe(EventRedelivered)
		s.respond(&a, message.Refuse(errMayBeDone))
		s.acknowledge(&a.Delivery)
		return
	case a.Redelivered: // it is carried out a last time, even if this instance dies of it
		s.acknowledge(&a.Delivery)
		s.call(&a)
	default:
		s.call(&a)
		s.acknowledge(&a.Delivery)
	}
}

// call makes the call and sends its answer.
func (s *Server) call(a *arrival) {
	s.calls.Enter(a.route.Name())
	defer s.calls.Leave(a.route.Name())
	ctx, header := s.base, &properties{a.Delivery}
	if wait, expires := expiration(&a.Delivery); expires && header.Get(transport.TimeoutKey) == "" {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, a.at.Add(wait))
		defer cancel()
	}
	result := a.route.Handle(ctx, message.Request{
		Arrived: a.at, Peer: s.peer(a.UserId, header), PeerName: a.client, Header: header, Bare: len(a.Headers) == 0, Body: a.Body,
	})
	s.clients.leave(a.UserId) // before the client knows and makes its next call
	s.respond(a, result)
}

// peer returns the address of the client that a trusted user, such as a gateway, calls
// for; the zero value if there is none.
func (s *Server) peer(user string, header chassi.Metadata) netip.AddrPort {
	if user == "" || !slices.Contains(s.config.TrustedClients, user) {
		return netip.AddrPort{}
	}
	line := header.Get(transport.XForwardedFor)
	if line == "" {
		return netip.AddrPort{}
	}
	return transport.ForwardedAddr([]string{line}, nil, transport.XForwardedFor)
}

// respond sends the answer, if the request wants one.
func (s *Server) respond(a *arrival, result *message.Answer) {
	if a.to.address == "" {
		return
	}
	if len(result.Body) > maxAnswerBytes {
		result = message.Refuse(errAnswerSize)
	}
	m := answer{to: a.to, user: a.UserId, route: a.RoutingKey, result: publishing(result.Header, result.Body)}
	m.result.CorrelationId = a.CorrelationId
	s.answers.send(&m)
}

// acknowledge tells the broker that a request has been dealt with, whatever became of
// its answer. If that is lost with the connection, the request comes again, marked as
// redelivered.
func (s *Server) acknowledge(d *amqp.Delivery) {
	if err := d.Ack(false); err != nil {
		s.warn("AMQP: an acknowledgement is lost; the request will be delivered again", "error", err.Error(), "route", d.RoutingKey)
	}
}

// Failed is closed when the server stops; it connects again by itself for as long
// as it takes.
func (s *Server) Failed() <-chan error { return s.failed }

// Stop cancels its consumers, answers what has been delivered, and disconnects.
// When ctx ends first it cancels the calls in flight and returns an error that
// counts them; the broker gives their messages to another instance.
func (s *Server) Stop(ctx context.Context) error {
	defer close(s.failed)
	defer s.answers.stop()
	defer s.link.stop()
	defer s.cancel()
	s.mu.Lock()
	s.stopping = true
	channels := s.channels
	s.mu.Unlock()
	for _, ch := range channels {
		_ = ch.Cancel(consumerTag, false) // fails only without a connection, when there is nothing to cancel
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.feeding.Wait()
		s.workers.Close()
		for _, w := range s.work {
			_ = w.calls.Close(context.WithoutCancel(ctx))
		}
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
	}
	stuck := s.inFlight()
	s.cancel()
	select { // calls that heed their context still get their answer out
	case <-done:
	case <-time.After(50 * time.Millisecond):
	}
	return fmt.Errorf("amqpapi: gave up calls in flight: %s: %w", stuck, ctx.Err())
}

func (s *Server) inFlight() string {
	list := []string{s.calls.String()}
	for _, w := range s.work {
		list = append(list, w.calls.String())
	}
	return strings.Trim(strings.Join(list, ", "), ", ")
}
