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

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/transport"
	"github.com/chassi-go/chassi/transport/message"
	amqp "github.com/rabbitmq/amqp091-go"
)

// worker is an endpoint bound to a work queue.
type worker struct {
	server *Server
	queue  message.Queue
	route  *message.Route
	places places // of messages that are worked on
	calls  transport.InFlight
	dead   atomic.Uint64 // messages that were put aside
}

// Consume binds e to the work queue q. The queue, those for messages that wait and
// for messages that failed, and their exchanges are declared at the start.
func (s *Server) Consume(q message.Queue, e *chassi.Endpoint) error {
	q, err := q.WithDefaults()
	if err != nil {
		return fmt.Errorf("amqpapi: %w", err)
	}
	q.Name = prefixed(s.config.Prefix, q.Name)
	route, err := message.NewRoute(e, &s.options)
	if err != nil {
		return fmt.Errorf("amqpapi: %w", err)
	}
	s.work = append(s.work, &worker{server: s, queue: q, route: route, places: make(places, s.config.MaxConcurrent)})
	return nil
}

func deadQueue(q message.Queue) string { return q.Name + ".dead" }

func retryQueue(q message.Queue, delay time.Duration) string {
	return q.Name + ".retry." + milliseconds(delay)
}

// movesExchange routes messages between the queues of q. Publishers have no right to
// it: theirs is the exchange of the queue's name, which leads to the queue alone.
func movesExchange(q message.Queue) string { return q.Name + ".moves" }

// workNames lists the exchanges and queues of q.
func workNames(q message.Queue) []string {
	return append(slices.Collect(maps.Keys(workQueues(q))), movesExchange(q)) // the publishers' exchange has the queue's name
}

// deadAge is how long what was put aside is kept.
const deadAge = 30 * 24 * time.Hour

// poisonMargin is how many deliveries that were no tries a message may have.
const poisonMargin = 20

// workQueues returns the queues of q with their arguments. All are replicated where the
// broker is a cluster, and hand a message on only once the next queue has it. A full
// one refuses messages to their publisher, but the one of failed messages drops its
// oldest.
func workQueues(q message.Queue) map[string]amqp.Table {
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
		// Messages that take their consumer down with them never come back to us to be
		// counted: the broker counts. Instances that stop or lose their connection give
		// messages back too, so it counts further than we do.
		q.Name: toNext(deadQueue(q), amqp.Table{"x-delivery-limit": int64(q.Tries + poisonMargin)}),
	}
	for tries := range q.Tries - 1 {
		d := q.DelayAfter(tries + 1)
		queues[retryQueue(q, d)] = toNext(q.Name, amqp.Table{"x-message-ttl": max(d.Milliseconds(), 1)})
	}
	return queues
}

// declareWork declares the exchanges and queues of q.
func declareWork(t *topology, q message.Queue) error {
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

// consume declares the queues and works on what is delivered.
func (w *worker) consume(t *topology, end func()) error {
	if err := declareWork(t, w.queue); err != nil {
		return err
	}
	ch, err := t.conn.Channel()
	if err != nil {
		return err //nolint:wrapcheck // the link says whose
	}
	moves, err := newSender(ch, &w.server.identity, &w.server.link.running)
	if err != nil {
		return err
	}
	gone := ch.NotifyClose(make(chan *amqp.Error, 1))
	err = w.server.feed(ch, w.queue.Name, w.server.config.MaxConcurrent, end, func(d amqp.Delivery) {
		if !w.places.wait(gone, w.server.base.Done()) {
			return // the end of the channel gives it back
		}
		if !w.calls.Enter(w.queue.Name) {
			w.places.leave()
			return // the end of the connection gives it back
		}
		go func() { // as many as there are places
			defer w.places.leave()
			defer w.calls.Leave(w.queue.Name)
			if err := w.try(moves, &d); err != nil {
				w.server.warn("AMQP: a message will be delivered again", "queue", w.queue.Name, "error", err.Error())
			}
		}()
	})
	return t.explain("queue", w.queue.Name, err)
}

// publisherKey names the publisher on a message that waits for a further try. It is
// believed on messages that the server itself published.
const publisherKey = "X-Publisher"

// publisherOf returns the user that published the message first.
func (w *worker) publisherOf(d *amqp.Delivery) string {
	if name, ok := d.Headers[publisherKey].(string); ok && d.UserId != "" && d.UserId == w.server.identity.user {
		return name
	}
	return d.UserId
}

// try makes a call of the message and settles what becomes of it.
func (w *worker) try(moves *sender, d *amqp.Delivery) error {
	if len(d.Headers) > maxHeaders {
		w.server.config.Observe(EventMalformed)
		err := w.move(moves, d, deadQueue(w.queue), 1, errHeaders)
		return w.settle(d, err)
	}
	ctx, cancel := context.WithTimeout(w.server.base, w.queue.Timeout)
	defer cancel()
	tries := 1
	if n, ok := d.Headers[message.TriesKey].(string); ok {
		if n, err := strconv.Atoi(n); err == nil && n > 0 && n < w.queue.Tries {
			tries = n + 1
		}
	}
	user, header := w.publisherOf(d), &properties{*d}
	answer := w.route.Handle(ctx, message.Request{
		Arrived: time.Now(), Peer: w.server.peer(user, header), PeerName: peerName(user), Header: header, Body: d.Body,
	})
	var err error
	switch w.queue.Judge(answer.Err, tries) {
	case message.Done:
	case message.Retry:
		err = w.move(moves, d, retryQueue(w.queue, w.queue.DelayAfter(tries)), tries, answer.Err)
	case message.PutAside:
		if err = w.move(moves, d, deadQueue(w.queue), tries, answer.Err); err == nil {
			w.dead.Add(1)
			w.server.events.Log(slog.LevelError, "AMQP: a message was put aside",
				"queue", w.queue.Name, "in", deadQueue(w.queue), "tries", tries, "error", answer.Err)
		}
	}
	return w.settle(d, err)
}

// settle acknowledges the message, or gives it back if it could not be moved.
func (w *worker) settle(d *amqp.Delivery, err error) error {
	if err != nil {
		return errors.Join(err, d.Nack(false, true))
	}
	return d.Ack(false) //nolint:wrapcheck // logged with the queue
}

// move puts a copy of the message into another queue and waits until the broker
// has it. Of the headers it copies those that are text: the broker acts on some of the
// others, such as CC, with the rights of the service.
func (w *worker) move(moves *sender, d *amqp.Delivery, queue string, tries int, why *chassi.Error) error {
	room := maxHeaderBytes
	headers := make(amqp.Table, len(d.Headers)+4)
	for key, value := range map[string]string{
		message.CodeKey: why.Code.String(), message.ReasonKey: why.Reason, message.TriesKey: strconv.Itoa(tries), publisherKey: w.publisherOf(d),
	} {
		setHeader(headers, key, value, &room)
	}
	for key, value := range d.Headers {
		text, isText := value.(string)
		if _, ours := headers[key]; isText && !ours {
			setHeader(headers, key, text, &room)
		}
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(w.server.base), 5*time.Second)
	defer cancel()
	return moves.publish(ctx, movesExchange(w.queue), queue, &amqp.Publishing{
		Headers: headers, ContentType: d.ContentType, MessageId: d.MessageId, DeliveryMode: amqp.Persistent, Body: d.Body,
	})
}
