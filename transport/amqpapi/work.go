package amqpapi

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"strconv"
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
	calls  transport.InFlight
}

// Consume binds e to the work queue q. The queue, and those for what waits and
// for what is put aside, are declared at the start.
func (s *Server) Consume(q message.Queue, e *chassi.Endpoint) error {
	q, err := q.WithDefaults()
	if err != nil {
		return fmt.Errorf("amqpapi: %w", err)
	}
	q.Name = queueName(s.config.Prefix, q.Name)
	route, err := message.NewRoute(e, &s.options)
	if err != nil {
		return fmt.Errorf("amqpapi: %w", err)
	}
	s.work = append(s.work, &worker{server: s, queue: q, route: route})
	return nil
}

func deadQueue(q message.Queue) string { return q.Name + ".dead" }

func retryQueue(q message.Queue, delay time.Duration) string {
	return q.Name + ".retry." + milliseconds(delay)
}

// deadAge is how long what was put aside is kept.
const deadAge = 30 * 24 * time.Hour

// poisonMargin is how many deliveries that were no tries a message may have.
const poisonMargin = 20

// declare makes the queues of q. All are replicated where the broker is a cluster,
// and hand a message on only once the next queue has it.
func declare(ch *amqp.Channel, q message.Queue) error {
	quorum := func(more amqp.Table) amqp.Table {
		t := amqp.Table{amqp.QueueTypeArg: amqp.QueueTypeQuorum}
		maps.Copy(t, more)
		return t
	}
	toNext := func(next string, more amqp.Table) amqp.Table {
		more["x-dead-letter-exchange"], more["x-dead-letter-routing-key"] = "", next
		more["x-dead-letter-strategy"], more["x-overflow"] = "at-least-once", "reject-publish"
		return quorum(more)
	}
	queues := map[string]amqp.Table{
		deadQueue(q): quorum(amqp.Table{"x-message-ttl": deadAge.Milliseconds()}),
		// Messages that take their consumer down with them never come back to us to be
		// counted: the broker counts. Instances that stop or lose their connection give
		// messages back too, so it counts further than we do.
		q.Name: toNext(deadQueue(q), amqp.Table{"x-delivery-limit": int64(q.Tries + poisonMargin)}),
	}
	for tries := range q.Tries - 1 {
		d := q.DelayAfter(tries + 1)
		queues[retryQueue(q, d)] = toNext(q.Name, amqp.Table{"x-message-ttl": max(d.Milliseconds(), 1)})
	}
	for name, args := range queues {
		if _, err := ch.QueueDeclare(name, true, false, false, false, args); err != nil {
			return fmt.Errorf("declare %s: %w", name, err)
		}
	}
	return nil
}

// consume declares the queues and works on what is delivered.
func (w *worker) consume(conn *amqp.Connection, end func()) error {
	ch, err := conn.Channel()
	if err == nil {
		err = declare(ch, w.queue)
	}
	if err == nil {
		err = ch.Confirm(false)
	}
	if err != nil {
		return err
	}
	return w.server.feed(ch, w.queue.Name, w.server.config.MaxConcurrent, end, func(d amqp.Delivery) {
		if !w.calls.Enter(w.queue.Name) {
			return // the end of the connection gives it back
		}
		go func() { // as many as the prefetch
			defer w.calls.Leave(w.queue.Name)
			if err := w.try(ch, d); err != nil {
				w.server.config.Logger.Warn("AMQP: a message will come again", "queue", w.queue.Name, "error", err.Error())
			}
		}()
	})
}

// try makes a call of the message and settles what becomes of it.
func (w *worker) try(ch *amqp.Channel, d amqp.Delivery) error {
	ctx, cancel := context.WithTimeout(w.server.base, w.queue.Timeout)
	defer cancel()
	tries := 1
	if n, ok := d.Headers[message.TriesKey].(string); ok {
		if n, err := strconv.Atoi(n); err == nil && n > 0 {
			tries = n + 1
		}
	}
	answer := w.route.Handle(ctx, message.Request{Arrived: time.Now(), PeerName: "amqp:", Header: &properties{d}, Body: d.Body})
	var err error
	switch w.queue.Judge(answer.Err, tries) {
	case message.Done:
		return d.Ack(false)
	case message.Retry:
		err = w.move(ch, d, retryQueue(w.queue, w.queue.DelayAfter(tries)), tries, answer.Err)
	case message.PutAside:
		if err = w.move(ch, d, deadQueue(w.queue), tries, answer.Err); err == nil {
			w.server.config.Logger.Error("AMQP: a message was put aside", "queue", w.queue.Name, "in", deadQueue(w.queue), "tries", tries, "error", answer.Err)
		}
	}
	if err != nil {
		return errors.Join(err, d.Nack(false, true))
	}
	return d.Ack(false)
}

// move puts a copy of the message into another queue and waits until the broker
// has it.
func (w *worker) move(ch *amqp.Channel, d amqp.Delivery, queue string, tries int, why *chassi.Error) error {
	headers := amqp.Table{message.CodeKey: why.Code.String(), message.ReasonKey: why.Reason, message.TriesKey: strconv.Itoa(tries)}
	for key, value := range d.Headers {
		if _, ours := headers[key]; !ours && key != "x-death" && key != "x-delivery-count" {
			headers[key] = value
		}
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(w.server.base), 5*time.Second)
	defer cancel()
	return publishConfirmed(ctx, ch, "", queue, amqp.Publishing{
		Headers: headers, ContentType: d.ContentType, MessageId: d.MessageId, DeliveryMode: amqp.Persistent, Body: d.Body,
	})
}

// publishConfirmed returns once the broker has the message.
func publishConfirmed(ctx context.Context, ch *amqp.Channel, exchange, key string, p amqp.Publishing) error {
	confirmation, err := ch.PublishWithDeferredConfirmWithContext(ctx, exchange, key, false, false, p)
	if err != nil {
		return fmt.Errorf("publish to %s: %w", key, err)
	}
	ok, err := confirmation.WaitContext(ctx)
	switch {
	case err != nil:
		return fmt.Errorf("publish to %s: no confirmation: %w", key, err)
	case !ok:
		return fmt.Errorf("publish to %s: the broker refused the message", key)
	default:
		return nil
	}
}
