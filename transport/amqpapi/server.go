package amqpapi

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/transport"
	"github.com/chassi-go/chassi/transport/message"
	amqp "github.com/rabbitmq/amqp091-go"
)

// Server serves endpoints to a RabbitMQ server or cluster. Mount and Consume come
// before Start.
type Server struct {
	config  Config
	options message.Options
	queues  []*serviceQueue
	work    []*worker
	link    *link
	workers *transport.Workers[arrival]
	calls   transport.InFlight
	base    context.Context //nolint:containedctx // of all calls
	cancel  context.CancelFunc
	failed  chan error

	mu       sync.Mutex // guards what follows
	channels []*amqp.Channel
	feeding  sync.WaitGroup // of the goroutines that read deliveries
	stopping bool
}

// serviceQueue is the queue of one mounted service.
type serviceQueue struct {
	name   string
	routes map[string]*message.Route // by routing key
}

var _ chassi.Transport = (*Server)(nil)

// New makes a server whose every call passes through middleware, the first one
// outermost.
func New(c Config, middleware ...chassi.Middleware) *Server {
	c = c.withDefaults()
	return &Server{config: c, failed: make(chan error, 1), options: message.Options{
		Transport: "amqp", MaxBytes: c.MaxMessageBytes, MaxJSONDepth: c.MaxJSONDepth, Logger: c.Logger, Middleware: middleware,
	}}
}

// Name returns "amqp".
func (s *Server) Name() string { return "amqp" }

// Mount serves the endpoints of service.
func (s *Server) Mount(service *chassi.Service) error {
	if err := service.Err(); err != nil {
		return err
	}
	q := &serviceQueue{name: queueName(s.config.Prefix, service.Name()), routes: make(map[string]*message.Route)}
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

// Start connects, trying until ctx ends, and serves.
func (s *Server) Start(ctx context.Context) error {
	tlsConfig, err := tlsConfig(s.config.CAFile)
	if err != nil {
		return err
	}
	s.base, s.cancel = context.WithCancel(context.WithoutCancel(ctx))
	// Each queue has the prefetch for itself; together they never have more at once.
	s.workers = transport.NewWorkers(s.config.MaxConcurrent, s.config.MaxConcurrent*len(s.queues), s.serve)
	s.link = &link{url: s.config.URL, tls: tlsConfig, name: "chassi server", logger: s.config.Logger, use: s.use}
	if err := s.link.start(ctx); err != nil {
		s.cancel()
		return err
	}
	s.config.Logger.Info("serving", "server", s.Name(), "addr", redact(s.config.URL))
	return nil
}

// use declares and consumes everything on a new connection. The channel that it
// returns is closed when any of it ends.
func (s *Server) use(conn *amqp.Connection) (<-chan struct{}, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.stopping {
		return nil, errors.New("the server is stopping")
	}
	s.channels = nil
	lost := make(chan struct{})
	var once sync.Once
	end := func() { once.Do(func() { close(lost) }) }
	for _, q := range s.queues {
		if err := s.consumeService(conn, q, end); err != nil {
			return nil, fmt.Errorf("queue %s: %w", q.name, err)
		}
	}
	for _, w := range s.work {
		if err := w.consume(conn, end); err != nil {
			return nil, fmt.Errorf("queue %s: %w", w.queue.Name, err)
		}
	}
	return lost, nil
}

// consumerTag names the one consumer of a channel.
const consumerTag = "chassi"

// consumeService declares the queue of a service with its bindings, and feeds what
// it delivers to the goroutines that make calls.
func (s *Server) consumeService(conn *amqp.Connection, q *serviceQueue, end func()) error {
	ch, err := conn.Channel()
	if err != nil {
		return err
	}
	exchange := exchangeName(s.config.Prefix)
	var expires amqp.Table
	if d := s.config.Expires; d > 0 {
		expires = amqp.Table{"x-expires": d.Milliseconds()}
	}
	if err := ch.ExchangeDeclare(exchange, amqp.ExchangeDirect, true, expires != nil, false, false, nil); err != nil {
		return err
	}
	if _, err := ch.QueueDeclare(q.name, true, false, false, false, expires); err != nil {
		return err
	}
	for key := range q.routes {
		if err := ch.QueueBind(q.name, key, exchange, false, nil); err != nil {
			return err
		}
	}
	return s.feed(ch, q.name, s.config.MaxConcurrent, end, func(d amqp.Delivery) {
		s.workers.Submit(arrival{q.routes[d.RoutingKey], ch, d, time.Now()}) // the prefetch is the room there is
	})
}

// feed consumes a queue and passes each delivery on, until the channel or the
// consumer ends.
func (s *Server) feed(ch *amqp.Channel, queue string, prefetch int, end func(), take func(amqp.Delivery)) error {
	if err := ch.Qos(prefetch, 0, false); err != nil {
		return err
	}
	deliveries, err := ch.Consume(queue, consumerTag, false, false, false, false, nil)
	if err != nil {
		return err
	}
	s.channels = append(s.channels, ch)
	s.feeding.Go(func() {
		for d := range deliveries {
			take(d)
		}
		s.mu.Lock()
		stopping := s.stopping
		s.mu.Unlock()
		if !stopping { // then the channel is needed for the answers
			_ = ch.Close()
			end()
		}
	})
	return nil
}

// arrival is a request that waits for its call.
type arrival struct {
	route   *message.Route
	channel *amqp.Channel
	amqp.Delivery
	at time.Time
}

var errNoSuchMethod = chassi.NewError(chassi.Unimplemented, "no_such_method", "There is no such method")

// serve makes one call.
func (s *Server) serve(a arrival) {
	if a.route == nil { // bound by an older version of the service, or by hand
		s.respond(a, message.Refuse(errNoSuchMethod))
		return
	}
	s.calls.Enter(a.route.Name())
	defer s.calls.Leave(a.route.Name())
	s.respond(a, a.route.Handle(s.base, message.Request{
		Arrived: a.at, PeerName: "amqp:", Header: &properties{a.Delivery}, Bare: len(a.Headers) == 0, Body: a.Body,
	}))
}

// respond sends the answer and then acknowledges the request, on one channel: the
// broker takes them in this order.
func (s *Server) respond(a arrival, answer *message.Answer) {
	if a.ReplyTo != "" {
		p := publishing(answer.Header, answer.Body)
		p.CorrelationId = a.CorrelationId
		if err := a.channel.PublishWithContext(context.WithoutCancel(s.base), "", a.ReplyTo, false, false, p); err != nil {
			s.config.Logger.Warn("AMQP: an answer is lost; the request will come again", "error", err.Error(), "route", a.RoutingKey)
			return
		}
	}
	if err := a.Ack(false); err != nil {
		s.config.Logger.Warn("AMQP: an acknowledgement is lost; the request will come again", "error", err.Error(), "route", a.RoutingKey)
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

// properties shows a delivery's properties and headers as metadata.
type properties struct{ amqp.Delivery }

func (p *properties) Get(key string) string {
	if strings.EqualFold(key, message.ContentTypeKey) {
		return p.ContentType
	}
	if strings.EqualFold(key, message.IDKey) {
		return p.MessageId
	}
	if v, ok := p.Headers[key]; ok {
		text, _ := v.(string)
		return text
	}
	for k, v := range p.Headers {
		if strings.EqualFold(k, key) {
			text, _ := v.(string)
			return text
		}
	}
	return ""
}

func (p *properties) Set(key, value string) {
	if strings.EqualFold(key, message.ContentTypeKey) {
		p.ContentType = value
		return
	}
	if p.Headers == nil {
		p.Headers = make(amqp.Table)
	}
	p.Headers[key] = value
}

// publishing makes a message of pairs and a body.
func publishing(pairs transport.Pairs, body []byte) amqp.Publishing {
	p := amqp.Publishing{Body: body}
	if len(pairs) > 0 {
		p.Headers = make(amqp.Table, len(pairs))
	}
	for _, pair := range pairs {
		switch {
		case strings.EqualFold(pair.Key, message.ContentTypeKey):
			p.ContentType = pair.Value
		case strings.EqualFold(pair.Key, message.IDKey):
			p.MessageId = pair.Value
		default:
			p.Headers[pair.Key] = pair.Value
		}
	}
	return p
}

// milliseconds is how AMQP writes an expiration.
func milliseconds(d time.Duration) string { return strconv.FormatInt(max(d.Milliseconds(), 1), 10) }

// counter makes correlation ids.
type counter struct{ n atomic.Uint64 }

func (c *counter) next() string { return strconv.FormatUint(c.n.Add(1), 36) }
