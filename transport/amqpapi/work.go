package amqpapi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strconv"
	"sync/atomic"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/internal/broker"
	"github.com/chassi-go/chassi/transport"
)

// worker makes calls of an endpoint with the messages of a work queue.
type worker struct {
	server *Server
	queue  transport.Queue
	route  *broker.Route
	places places // for the messages in progress
	calls  *transport.RouteInFlight
	dead   atomic.Uint64 // number of dead-lettered messages
}

// Consume binds e to the work queue q: e is called with each message of q. It returns an error if q
// is invalid, if e is a stream, if brokers do not support e, if the request or response type of e
// has no Protocol Buffers encoding, or if a middleware cannot serve e. Start declares q, the queues
// of the messages that wait for their next attempt, the dead-letter queue, and their exchanges.
func (s *Server) Consume(q transport.Queue, e *chassi.Endpoint) error {
	q, err := q.WithDefaults()
	if err != nil {
		return fmt.Errorf("amqpapi: %w", err)
	}
	q.Name = prefixed(s.config.Prefix, q.Name)
	route, err := broker.NewRoute(e, &s.options)
	if err = errors.Join(err, broker.RefuseQueue(e, q.Name)); err != nil {
		return fmt.Errorf("amqpapi: %w", err)
	}
	s.work = append(s.work, &worker{server: s, queue: q, route: route, calls: s.working.Route(q.Name), places: make(places, s.config.MaxConcurrent)})
	return nil
}

func deadQueue(q transport.Queue) string { return q.Name + ".dead" }

func retryQueue(q transport.Queue, delay time.Duration) string {
	return q.Name + ".retry." + milliseconds(delay)
}

// movesExchange returns the name of the exchange that routes messages between the queues of q.
// Publishers need no permission for this exchange. They use the exchange with the name of q, to
// which only the queue q itself is bound.
func movesExchange(q transport.Queue) string { return q.Name + ".moves" }

// workNames returns the names of the exchanges and queues of q.
func workNames(q transport.Queue) []string {
	return append(slices.Collect(maps.Keys(workQueues(q))), movesExchange(q)) // the publishers' exchange has the queue's name
}

// deadAge is the maximum time for which dead letters are kept. A full dead-letter queue drops
// them earlier.
const deadAge = 30 * 24 * time.Hour

// workQueues returns the arguments of the queues of q, by the name of the queue. All queues are
// replicated in a cluster. A message that the broker moves is removed from its queue only after the
// next queue has stored it. A full queue rejects messages, except that the dead-letter queue
// drops its oldest message.
func workQueues(q transport.Queue) map[string]amqp.Table {
	quorum := func(length int, more amqp.Table) amqp.Table {
		t := amqp.Table{amqp.QueueTypeArg: amqp.QueueTypeQuorum, "x-max-length": int64(length), "x-max-length-bytes": int64(maxWorkBytes)}
		maps.Copy(t, more)
		return t
	}
	toNext := func(next string, more amqp.Table) amqp.Table {
		more["x-dead-letter-exchange"], more["x-dead-letter-routing-key"] = movesExchange(q), next
		more["x-dead-letter-strategy"], more["x-overflow"] = "at-least-once", "reject-publish"
		return quorum(maxWorkLength, more)
	}
	queues := map[string]amqp.Table{
		deadQueue(q): quorum(maxDeadMessages, amqp.Table{"x-message-ttl": deadAge.Milliseconds()}),
		// A message that crashes its consumer does not return with a count of attempts, so the
		// broker counts deliveries. Instances that stop or lose their connection return
		// messages too, so the broker's limit is higher.
		q.Name: toNext(deadQueue(q), amqp.Table{"x-delivery-limit": int64(q.MaxAttempts + transport.ExtraDeliveries)}),
	}
	for attempts := range q.MaxAttempts - 1 {
		d := q.DelayAfter(attempts + 1)
		queues[retryQueue(q, d)] = toNext(q.Name, amqp.Table{"x-message-ttl": max(d.Milliseconds(), 1)})
	}
	return queues
}

// declareWork declares the exchanges, queues and bindings of q.
func declareWork(t *topology, q transport.Queue) error {
	t.found = false
	for _, exchange := range []string{q.Name, movesExchange(q)} {
		if err := t.exchange(exchange, false); err != nil {
			return err
		}
	}
	for name, args := range workQueues(q) {
		if err := t.queue(name, args); err != nil {
			return err
		}
		if err := t.bind(name, name, movesExchange(q)); err != nil {
			return err
		}
	}
	return t.bind(q.Name, q.Name, q.Name)
}

// consume declares the work queue and starts a consumer that passes each delivery to attempt. end
// is called when the channel or the consumer ends, unless the server is stopping.
func (w *worker) consume(t *topology, end func()) error {
	if err := declareWork(t, w.queue); err != nil {
		return err
	}
	ch, err := t.conn.Channel()
	if err != nil {
		return err //nolint:wrapcheck // the link says whose
	}
	moves, err := newSender(t.conn, ch, &w.server.identity, &w.server.sizes, &w.server.link.running)
	if err != nil {
		return err
	}
	gone := ch.NotifyClose(make(chan *amqp.Error, 1))
	base := w.server.base // which the next Start replaces if this one fails
	err = w.server.feed(ch, w.queue.Name, w.server.config.MaxConcurrent, end, func(d amqp.Delivery) {
		if !w.places.wait(gone, base.Done()) {
			return // the end of the channel returns the message
		}
		if !w.calls.Acquire() {
			w.places.leave()
			return // the end of the connection returns the message
		}
		go func() { // as many as there are places
			defer w.places.leave()
			defer w.calls.Release()
			if err := w.attempt(base, moves, &d); err != nil {
				w.server.warn("AMQP: a message will be delivered again", "queue", w.queue.Name, "error", err.Error())
			}
		}()
	})
	return t.explain("queue", w.queue.Name, err)
}

// publisherKey is the header that names the original publisher of a message that was moved to
// another queue. It is trusted only in messages that the server itself has published.
const publisherKey = "X-Publisher"

// publisherOf returns the name of the user that originally published d.
func (w *worker) publisherOf(d *amqp.Delivery) string {
	if name, ok := d.Headers[publisherKey].(string); ok && d.UserId != "" && d.UserId == w.server.identity.user {
		return name
	}
	return d.UserId
}

// attempt makes a call with the message d, moves d to another queue if the call is to be retried or
// has failed for good, and acknowledges d. A message with too many headers becomes a dead letter
// without a call. attempt returns an error if d cannot be moved or acknowledged; the broker then
// delivers d again.
func (w *worker) attempt(base context.Context, moves *sender, d *amqp.Delivery) error {
	if len(d.Headers) > maxHeaders {
		w.server.config.Observe(EventMalformed)
		return w.settle(d, w.deadLetter(base, moves, d, 1, errHeaders))
	}
	ctx, cancel := context.WithTimeout(base, w.queue.Timeout)
	defer cancel()
	attempts := 1
	if n, ok := d.Headers[transport.AttemptsKey].(string); ok {
		if n, err := strconv.Atoi(n); err == nil && n > 0 && n < w.queue.MaxAttempts {
			attempts = n + 1
		}
	}
	user, header := w.publisherOf(d), &properties{*d}
	response := w.route.Handle(ctx, broker.Request{
		Arrived: time.Now(), Peer: w.server.peer(user, header), PeerName: peerName(user), Header: header, Body: d.Body,
	})
	var err error
	switch w.queue.Classify(response.Err, attempts) {
	case transport.Done:
	case transport.Retry:
		err = w.move(base, moves, d, retryQueue(w.queue, w.queue.DelayAfter(attempts)), attempts, response.Err)
	case transport.DeadLetter:
		err = w.deadLetter(base, moves, d, attempts, response.Err)
	}
	return w.settle(d, err)
}

// deadLetter moves d to the dead-letter queue, and counts and logs it. It returns an error if d
// cannot be moved.
func (w *worker) deadLetter(ctx context.Context, moves *sender, d *amqp.Delivery, attempts int, failure *chassi.Error) error {
	err := w.move(ctx, moves, d, deadQueue(w.queue), attempts, failure)
	if err == nil {
		w.dead.Add(1)
		w.server.events.Log(slog.LevelError, "AMQP: a message was dead-lettered",
			"queue", w.queue.Name, "in", deadQueue(w.queue), "attempts", attempts, "error", failure)
	}
	return err
}

// settle acknowledges d if err, the result of moving d, is nil. If err is
// [transport.ErrBodyTooLarge], because d cannot be published again, settle makes the broker itself
// dead-letter d. For any other err, it returns d to the broker for redelivery, and returns err. It
// also returns an error if the acknowledgment cannot be sent.
func (w *worker) settle(d *amqp.Delivery, err error) error {
	if errors.Is(err, transport.ErrBodyTooLarge) {
		w.dead.Add(1)
		w.server.events.Log(slog.LevelError, "AMQP: a message was dead-lettered without its error: it is larger than the broker's max_message_size",
			"queue", w.queue.Name, "in", deadQueue(w.queue), "bytes", len(d.Body))
		return d.Nack(false, false) //nolint:wrapcheck // logged with the queue
	}
	if err != nil {
		return errors.Join(err, d.Nack(false, true))
	}
	return d.Ack(false) //nolint:wrapcheck // logged with the queue
}

// move publishes a copy of d to another queue and waits for the confirmation. It copies only text
// headers that the broker does not act on: a header such as CC would take effect with the
// permissions of the service. It returns [transport.ErrBodyTooLarge] if the body of d is larger
// than the broker's max_message_size.
func (w *worker) move(base context.Context, moves *sender, d *amqp.Delivery, queue string, attempts int, why *chassi.Error) error {
	if w.server.sizes.exceeds(len(d.Body)) {
		return transport.ErrBodyTooLarge
	}
	free := maxHeaderBytes
	headers := make(amqp.Table, len(d.Headers)+4)
	for key, value := range map[string]string{
		broker.CodeKey: why.Code.String(), broker.ReasonKey: why.Reason, transport.AttemptsKey: strconv.Itoa(attempts), publisherKey: w.publisherOf(d),
	} {
		setHeader(headers, key, value, &free)
	}
	for key, value := range d.Headers {
		text, isText := value.(string)
		if _, ours := headers[key]; isText && !ours {
			setHeader(headers, key, text, &free)
		}
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(base), 5*time.Second)
	defer cancel()
	return moves.publish(ctx, movesExchange(w.queue), queue, &amqp.Publishing{
		Headers: headers, ContentType: d.ContentType, MessageId: d.MessageId, DeliveryMode: amqp.Persistent, Body: d.Body,
	})
}
