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

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/internal/broker"
	"github.com/chassi-go/chassi/internal/outage"
	"github.com/chassi-go/chassi/redact"
	"github.com/chassi-go/chassi/transport"
	"github.com/chassi-go/chassi/workpool"
)

// Server serves endpoints over a RabbitMQ server or cluster. Mount and Consume must be called
// before Start.
type Server struct {
	config    Config
	options   broker.Options
	account   account
	identity  identity // of the messages that are moved between work queues
	replyRoot string   // prefix of the names of reply queues
	queues    []*serviceQueue
	mounted   transport.Mounted
	work      []*worker
	link      *link
	responses *responses
	sizes     sizes
	links     atomic.Pointer[map[string]*link] // links by purpose; nil before Start
	places    places                           // for the requests in the pool
	pool      *workpool.Pool
	clients   clients
	calls     transport.InFlight // calls of requests
	working   transport.InFlight // calls of messages in work queues
	events    *outage.Events
	lost      *outage.Log
	base      context.Context //nolint:containedctx // of all calls
	cancel    context.CancelFunc
	failed    chan error
	up        atomic.Bool // whether Start has succeeded

	mu       sync.Mutex // guards the fields below
	channels []*amqp.Channel
	feeding  sync.WaitGroup // waits for the goroutines that read deliveries
	stopping bool
}

// route is an endpoint of a mounted service, with its calls in flight.
type route struct {
	*broker.Route
	calls *transport.RouteInFlight
}

// serviceQueue holds the names of the exchange and of the queue of one mounted service, and its
// endpoints.
type serviceQueue struct {
	exchange, name string
	routes         map[string]*route // endpoints by routing key
}

var _ chassi.Transport = (*Server)(nil)

// New returns a server whose calls pass through middleware, the first one outermost.
func New(c Config, middleware ...chassi.Middleware) *Server {
	c = c.withDefaults()
	s := &Server{config: c, failed: make(chan error, 1), account: accountOf(c.URL), options: broker.Options{
		Transport: "amqp", MaxBytes: c.MaxMessageBytes, MaxJSONDepth: c.MaxJSONDepth, Logger: c.Logger, Middleware: middleware,
	}}
	s.identity.user = s.account.user
	s.events = outage.NewEvents(c.Logger, 0)
	s.lost = disconnections(c.Logger)
	s.clients = clients{limit: c.MaxConcurrentPerClient, busy: make(map[string]*client)}
	if s.replyRoot = c.ReplyQueues; c.ReplyQueues != replyQueuesOff {
		s.replyRoot = prefixed(c.Prefix, c.ReplyQueues)
	}
	return s
}

// LogsOutage reports whether one of the server's connections is lost. The server logs such outages,
// at most six in a minute.
func (s *Server) LogsOutage() bool { return s.lost.Down() }

// Name returns "amqp".
func (s *Server) Name() string { return "amqp" }

// Mount adds the endpoints of service that are served over AMQP. It returns an error if service is
// invalid or already mounted, or if an endpoint cannot be served, for example because it is a
// stream.
func (s *Server) Mount(service *chassi.Service) error {
	if err := s.mounted.Add(service); err != nil {
		return fmt.Errorf("amqpapi: %w", err)
	}
	q := &serviceQueue{
		exchange: exchangeName(s.config.Prefix, service.Name()), name: requestsQueue(s.config.Prefix, service.Name()), routes: make(map[string]*route),
	}
	var errs []error
	for _, e := range service.Endpoints() {
		if !e.ServedOver("amqp") {
			continue
		}
		if err := broker.RefuseStream(e, s.Name()); err != nil {
			errs = append(errs, fmt.Errorf("amqpapi: %w", err))
			continue
		}
		r, err := broker.NewRoute(e, &s.options)
		if err != nil {
			errs = append(errs, fmt.Errorf("amqpapi: %w", err))
			continue
		}
		q.routes[routingKey(e)] = &route{Route: r, calls: s.calls.Route(r.Name())}
	}
	if err := errors.Join(errs...); err != nil || len(q.routes) == 0 {
		return err
	}
	s.queues = append(s.queues, q)
	return nil
}

func routingKey(e *chassi.Endpoint) string { return strings.ReplaceAll(e.FullName(), "/", ".") }

// Start connects to the broker, declares the exchanges and queues, and begins to serve. The error
// has the code [chassi.Unavailable] if the broker is unavailable or refuses a connection or a
// declaration; any other error is a configuration error. The error of a refusal names the command
// that resolves it, if there is one. Start may be called again after an error.
func (s *Server) Start(ctx context.Context) error {
	if err := s.config.Validate(); err != nil {
		return fmt.Errorf("amqpapi: %w", err)
	}
	tlsConfig, err := tlsConfig("amqp.ca_file", s.config.CAFile)
	if err != nil {
		return fmt.Errorf("amqpapi: %w", err)
	}
	s.base, s.cancel = context.WithCancel(context.WithoutCancel(ctx))
	s.createPool()
	account, all := accountOf(s.config.Responses.URL), exactly(s.names()...)
	s.responses = newResponses(&s.config, &link{
		url: s.config.Responses.URL, tls: tlsConfig, name: "chassi responses", logger: s.config.Logger, outage: s.lost.Part(),
		grant: account.grant(nothing, exactly("amq.default"), nothing),
	}, &s.sizes, s.warn)
	s.link = &link{
		url: s.config.URL, tls: tlsConfig, name: "chassi server", logger: s.config.Logger, outage: s.lost.Part(),
		grant: s.account.grant(all, all, all), use: s.use,
	}
	s.links.Store(&map[string]*link{"requests": s.link, "responses": s.responses.link})
	if err := s.responses.start(ctx); err != nil {
		s.undo()
		return err
	}
	if err := s.link.start(ctx); err != nil {
		s.responses.stop()
		s.undo()
		return err
	}
	s.up.Store(true)
	s.config.Logger.Info("connected", "server", s.Name(), "addr", redact.URL(s.config.URL))
	return nil
}

// undo releases everything that a failed Start has created, except the connections.
func (s *Server) undo() {
	s.cancel()
	s.feeding.Wait()
	_ = s.pool.Stop(context.Background()) // fails only if its context ends
}

// Check returns an error if Start has not succeeded yet, if a connection is lost or cannot be set
// up, for example because a permission is missing, or if the broker currently accepts no messages.
func (s *Server) Check(context.Context) error {
	if !s.up.Load() {
		return errUnavailable.WithCause(errors.New("amqpapi: the server has not started"))
	}
	return errors.Join(s.link.check(), s.responses.link.check())
}

// createPool creates the pool and the places. There is one place for each concurrent call and for
// each prefetched delivery. The pool accepts more calls than there are places, because a worker
// still counts as busy for a moment after it has released its place.
func (s *Server) createPool() {
	capacity := s.config.MaxConcurrent * (1 + len(s.queues))
	s.places = make(places, capacity)
	s.pool = workpool.New(workpool.Options{Name: "amqpapi", Workers: s.config.MaxConcurrent, Queue: capacity})
}

// use sets up the consumers on conn, a new connection. The returned channel is closed when any of
// the consumers ends, unless the server is stopping.
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

// names returns the names of the exchanges and queues for which the server needs permissions.
func (s *Server) names() (names []string) {
	for _, q := range s.queues {
		names = append(names, q.exchange, q.name)
	}
	for _, w := range s.work {
		names = append(names, workNames(w.queue)...)
	}
	return names
}

// consumerTag is the consumer tag on every channel. Each channel has only one consumer.
const consumerTag = "chassi"

// consumeService declares the exchange, the queue and the bindings of a service, and starts a
// consumer that submits the deliveries of the queue to the pool. end is called when the consumer
// ends, unless the server is stopping.
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

// feed starts a consumer of a queue and returns. A goroutine passes each delivery to take until the
// channel or the consumer ends; it then calls end, unless the server is stopping.
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
		if !stopping { // otherwise the channel is needed for acknowledgments
			_ = ch.Close()
			end()
		}
	})
	return nil
}

// arrival is a request that waits for its call.
type arrival struct {
	route *route
	amqp.Delivery
	at      time.Time
	to      replyTo
	client  string // name of the client
	refusal *chassi.Error
}

// Errors of requests that are refused without a call.
var (
	errNoSuchMethod = chassi.NewError(chassi.Unimplemented, "no_such_method", "There is no such method")
	errBusy         = chassi.NewError(chassi.ResourceExhausted, "too_many_calls", "Too many concurrent calls from this client")
	errHeaders      = chassi.NewError(chassi.InvalidArgument, "too_many_headers", "The message has too many headers")
	errMayBeDone    = chassi.NewError(chassi.Aborted, "may_have_been_done", "The call may already have been carried out")
)

// take submits a request to the pool. A request with a disallowed reply address is acknowledged
// without being executed. After a reconnect, take may have to wait for a place; if the channel is
// closed or the server stops meanwhile, it returns the request to the broker.
func (s *Server) take(r *route, d *amqp.Delivery, gone <-chan *amqp.Error) {
	to, ok := s.replyToOf(d.ReplyTo, d.UserId)
	if !ok {
		s.config.Observe(EventReplyToRefused)
		s.warn("AMQP: a request was not carried out because its response may not go to its reply_to",
			"reply_to", short(d.ReplyTo), "user_id", short(d.UserId), "route", d.RoutingKey)
		s.acknowledge(d)
		return
	}
	at := time.Now()
	if !s.places.wait(gone, s.base.Done()) {
		_ = d.Nack(false, true) // fails only without its channel, whose end also returns the request
		return
	}
	a := arrival{route: r, Delivery: *d, at: at, to: to}
	switch {
	case r == nil: // bound by an older version of the service, or by an operator
		a.refusal = errNoSuchMethod
	case len(d.Body) > s.config.MaxMessageBytes:
		a.refusal = s.malformed(transport.ErrBodyTooLarge)
		a.Body = nil
	case len(d.Headers) > maxHeaders:
		a.refusal = s.malformed(errHeaders)
	default:
		if a.client, ok = s.clients.enter(d.UserId); !ok {
			s.config.Observe(EventClientBusy)
			a.refusal = errBusy
		}
	}
	if s.pool.TrySubmit(s.base, func(context.Context) { s.serve(a) }) != nil { // the queue holds as many as there are places
		s.places.leave()
		if a.refusal == nil {
			s.clients.leave(d.UserId)
		}
		_ = d.Nack(false, true)
	}
}

// warn logs an event that clients can cause, at a limited rate.
func (s *Server) warn(msg string, args ...any) { s.events.Log(slog.LevelWarn, msg, args...) }

func (s *Server) malformed(err *chassi.Error) *chassi.Error {
	s.config.Observe(EventMalformed)
	return err
}

// serve handles the request a: it makes the call, refuses the request, or drops the request if it
// has expired. It acknowledges the request in each case.
func (s *Server) serve(a arrival) {
	defer s.places.leave()
	if a.refusal != nil {
		s.respond(&a, broker.Refuse(a.refusal))
		s.acknowledge(&a.Delivery)
		return
	}
	switch wait, expires := expiration(&a.Delivery); {
	case expires && time.Since(a.at) >= wait: // the client no longer waits
		s.clients.leave(a.UserId)
		s.config.Observe(EventExpired)
		s.acknowledge(&a.Delivery)
		return
	case a.Redelivered && !a.route.Endpoint().Idempotent():
		s.clients.leave(a.UserId)
		s.config.Observe(EventRedelivered)
		s.respond(&a, broker.Refuse(errMayBeDone))
		s.acknowledge(&a.Delivery)
		return
	case a.Redelivered: // it is executed a last time, even if the instance fails because of it
		s.acknowledge(&a.Delivery)
		s.call(&a)
	default:
		s.call(&a)
		s.acknowledge(&a.Delivery)
	}
}

// call makes the call for the request a, and sends the response.
func (s *Server) call(a *arrival) {
	a.route.calls.Acquire()
	defer a.route.calls.Release()
	ctx, header := s.base, &properties{a.Delivery}
	if wait, expires := expiration(&a.Delivery); expires && header.Get(transport.TimeoutKey) == "" {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, a.at.Add(wait))
		defer cancel()
	}
	result := a.route.Handle(ctx, broker.Request{
		Arrived: a.at, Peer: s.peer(a.UserId, header), PeerName: a.client, Header: header, Bare: len(a.Headers) == 0, Body: a.Body,
	})
	s.clients.leave(a.UserId) // before the client gets the response and sends its next request
	s.respond(a, result)
}

// peer returns the address in the header X-Forwarded-For of a request from a trusted user, such as
// a gateway. It returns the zero value for any other user, and if the header is missing, ambiguous
// or invalid.
func (s *Server) peer(user string, header *properties) netip.AddrPort {
	if user == "" || !slices.Contains(s.config.TrustedClients, user) {
		return netip.AddrPort{}
	}
	line, ok := header.only(transport.XForwardedFor)
	if !ok {
		return netip.AddrPort{}
	}
	return transport.ForwardedAddr([]string{line}, nil, transport.XForwardedFor)
}

// respond sends result, or a small error if result is too large, to the reply address of a, if any.
func (s *Server) respond(a *arrival, result *broker.Response) {
	if a.to.address == "" {
		return
	}
	if len(result.Body) > maxResponseBytes {
		result = result.Small()
	}
	s.responses.send(&response{to: a.to, user: a.UserId, route: a.RoutingKey, result: result, id: a.CorrelationId})
}

// acknowledge acknowledges a request, so that the broker does not redeliver it. If the
// acknowledgment is lost with the connection, the broker redelivers the request.
func (s *Server) acknowledge(d *amqp.Delivery) {
	if err := d.Ack(false); err != nil {
		s.warn("AMQP: an acknowledgment is lost; the request will be delivered again", "error", err.Error(), "route", d.RoutingKey)
	}
}

// Failed returns a channel that is closed when the server stops. No error is sent on the channel,
// because the server reconnects without a time limit.
func (s *Server) Failed() <-chan error { return s.failed }

// Stop cancels the consumers, handles the messages that have been delivered, and disconnects. If
// ctx is done first, Stop cancels the calls in flight and returns an error, with the routes of
// these calls if there are any; the broker redelivers the messages to another instance.
func (s *Server) Stop(ctx context.Context) error {
	defer close(s.failed)
	defer s.responses.stop()
	defer s.link.stop()
	defer s.cancel()
	done := make(chan struct{})
	go func() {
		defer close(done)
		s.leave()
		s.feeding.Wait()
		_ = s.pool.Stop(context.WithoutCancel(ctx))     // fails only if its context ends
		_ = s.working.Close(context.WithoutCancel(ctx)) // fails only if its context ends
	}()
	select {
	case <-done:
		return nil
	case <-ctx.Done():
	}
	stuck := strings.Trim(s.calls.String()+", "+s.working.String(), ", ")
	s.cancel()
	select { // calls that watch their context still send their response
	case <-done:
	case <-time.After(50 * time.Millisecond):
	}
	if stuck == "" {
		return fmt.Errorf("amqpapi: stopped while the broker did not respond: %w", ctx.Err())
	}
	return fmt.Errorf("amqpapi: stopped with calls in flight: %s: %w", stuck, ctx.Err())
}

// leave cancels the consumers. It waits until the broker has confirmed this or the connection is
// closed.
func (s *Server) leave() {
	s.mu.Lock() // which use holds
	s.stopping = true
	channels := s.channels
	s.mu.Unlock()
	for _, ch := range channels {
		_ = ch.Cancel(consumerTag, false) // fails only without a connection
	}
}
