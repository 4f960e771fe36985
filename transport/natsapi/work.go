package natsapi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/internal/broker"
	"github.com/chassi-go/chassi/transport"
)

// worker is an endpoint bound to a work queue.
type worker struct {
	server   *Server
	queue    workQueue
	route    *broker.Route
	pulls    []jetstream.MessagesContext
	pulling  sync.WaitGroup // a goroutine for each of pulls
	slots    chan struct{}  // for attempts of this instance
	calls    *transport.RouteInFlight
	dead     atomic.Uint64 // dead-lettered messages
	stopping chan struct{}
}

// maxPulls is the maximum number of messages of a queue that an instance asks for at once.
const maxPulls = 16

// Consume binds e to the work queue q. Start creates or updates the stream, its consumer and
// the stream of its dead letters.
func (s *Server) Consume(q transport.Queue, e *chassi.Endpoint) error {
	queue, err := newWorkQueue(s.config.Prefix, q)
	if err != nil {
		return err
	}
	route, err := broker.NewRoute(e, &s.options)
	if err = errors.Join(err, broker.RefuseQueue(e, q.Name)); err != nil {
		return fmt.Errorf("natsapi: %w", err)
	}
	s.work = append(s.work, &worker{
		server: s, queue: queue, route: route,
		calls: s.working.Route(queue.Name), slots: make(chan struct{}, s.config.MaxConcurrent), stopping: make(chan struct{}),
	})
	return nil
}

func (s *Server) startWork(ctx context.Context) error {
	for _, w := range s.work {
		if err := w.start(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (w *worker) js() jetstream.JetStream { return w.server.conns.Load().js }

// start creates or updates the consumer, whose messages all instances share, and begins to pull.
// MaxAckPending would count the messages of all instances and those that wait for their next
// attempt, so it is unlimited: slots limits each instance.
func (w *worker) start(ctx context.Context) error {
	if err := w.queue.declare(ctx, w.js()); err != nil {
		return err
	}
	consumer, err := w.js().CreateOrUpdateConsumer(ctx, w.queue.stream, jetstream.ConsumerConfig{
		Durable: w.queue.Name, AckPolicy: jetstream.AckExplicitPolicy, AckWait: ackWait,
		MaxAckPending: unlimited, MaxDeliver: unlimited,
	})
	if err != nil {
		return fmt.Errorf("natsapi: consumer of %s: %w", w.queue.Name, err)
	}
	w.pulls = nil
	for range min(cap(w.slots), maxPulls) {
		messages, err := consumer.Messages(jetstream.PullMaxMessages(1))
		if err != nil {
			return fmt.Errorf("natsapi: consume %s: %w", w.queue.Name, err)
		}
		w.pulls = append(w.pulls, messages)
		w.pulling.Go(func() { w.pull(messages) })
	}
	return nil
}

// unlimited is the value of a limit of a consumer that does not apply.
const unlimited = -1

// pull asks for one message at a time and passes it to a goroutine of its own, until messages is
// closed. It asks only when there is a free slot: a message that waited here would not be worked
// on by another instance, and would be delivered again after ackWait.
func (w *worker) pull(messages jetstream.MessagesContext) {
	for {
		select {
		case w.slots <- struct{}{}:
		case <-w.stopping:
			return // no message has been asked for
		}
		m, err := messages.Next()
		switch {
		case err != nil:
			<-w.slots
			if errors.Is(err, jetstream.ErrMsgIteratorClosed) {
				return
			}
			w.server.events.Log(slog.LevelWarn, "NATS: work queue", "queue", w.queue.Name, "error", err.Error())
		case !w.accept(m):
			<-w.slots
			_ = m.Nak() // for immediate redelivery to another instance
		}
	}
}

// accept passes a message to a goroutine of its own, which releases the slot. It returns false
// if the server is stopping.
func (w *worker) accept(m jetstream.Msg) bool {
	select {
	case <-w.stopping:
		return false
	default:
	}
	if !w.calls.Acquire() {
		return false
	}
	go func() {
		defer w.calls.Release()
		defer func() { <-w.slots }()
		if err := w.attempt(m); err != nil {
			w.server.events.Log(slog.LevelWarn, "NATS: a message will be delivered again", "queue", w.queue.Name, "error", err.Error())
		}
	}()
	return true
}

// attempt makes a call with the message and settles the message according to the result.
func (w *worker) attempt(m jetstream.Msg) error {
	meta, err := m.Metadata()
	if err != nil {
		return errors.Join(err, m.Term())
	}
	attempts := int(meta.NumDelivered)
	if attempts > w.queue.MaxAttempts+transport.ExtraDeliveries { // its calls have crashed the process
		return w.deadLetter(m, attempts, chassi.NewError(chassi.Aborted, "poison", "No attempt at this message finished"))
	}
	ctx, cancel := context.WithTimeout(w.server.base, w.queue.Timeout)
	defer cancel()
	var takenOver atomic.Bool
	holding, release := context.WithCancel(context.WithoutCancel(ctx))
	defer release()
	go w.hold(holding, m, func() { takenOver.Store(true); cancel() })
	in := header(m.Headers())
	if in == nil {
		in = make(header)
	}
	if id := in.Get(jetstream.MsgIDHeader); id != "" {
		in.Set(transport.IdempotencyKey, id)
	}
	response := w.route.Handle(ctx, broker.Request{Arrived: time.Now(), PeerName: "nats:", Header: in, Body: m.Data()})
	if response.Err != nil && takenOver.Load() {
		return errTakenOver // another instance settles the message
	}
	switch w.queue.Classify(response.Err, attempts) {
	case transport.Done:
		return w.acknowledge(m)
	case transport.Retry:
		return m.NakWithDelay(w.queue.RetryDelay(attempts, response.Err))
	default:
		return w.deadLetter(m, attempts, response.Err)
	}
}

// deadLetter moves the message to the dead letters. If it would then exceed the server's limit,
// first the headers that the work does not need are omitted, then the added ones. A message
// that is itself too large, because the server's max_payload has been reduced, is redelivered
// for as long as [transport.ExtraDeliveries] allows; then its body is dropped.
func (w *worker) deadLetter(m jetstream.Msg, attempts int, why *chassi.Error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(w.server.base), 5*time.Second)
	defer cancel()
	var letter *nats.Msg
	var err error
	for _, letter = range w.deadLetters(m, attempts, why) {
		if _, err = w.js().PublishMsg(ctx, letter); !isTooLarge(err) {
			break
		}
	}
	switch {
	case isTooLarge(err):
		err = fmt.Errorf("it has %d bytes, more than the server accepts; raise max_payload: %w", len(m.Data()), err)
		return errors.Join(fmt.Errorf("dead letter: %w", err), m.NakWithDelay(w.queue.MaxDelay))
	case err != nil:
		return errors.Join(fmt.Errorf("dead letter: %w", err), m.NakWithDelay(w.queue.Delay))
	}
	w.dead.Add(1)
	text, dropped := "NATS: a message was dead-lettered", len(m.Data())-len(letter.Data)
	if dropped > 0 {
		text += " without its body: it is larger than the server's max_payload"
		w.server.config.Observe("body_dropped")
	}
	w.server.events.Log(slog.LevelError, text,
		"queue", w.queue.Name, "subject", w.queue.deadSubject, "attempts", attempts, "error", why, "bytes_dropped", dropped)
	return w.acknowledge(m)
}

const (
	ackTimeout  = 2 * time.Second // for the server to confirm an acknowledgement
	ackPatience = 4               // maximum number of times that it is sent
)

// acknowledge acknowledges a message, and returns after the server has confirmed this. If an
// acknowledgement were lost with a connection, the message would remain in the queue for ackWait,
// and the work would then be repeated.
func (w *worker) acknowledge(m jetstream.Msg) error {
	var err error
	for range ackPatience {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(w.server.base), ackTimeout)
		if err = m.DoubleAck(ctx); err != nil {
			<-ctx.Done() // an earlier error comes from the connection
		}
		cancel()
		if err == nil {
			return nil
		}
	}
	return fmt.Errorf("acknowledge: %w", err)
}

// droppedKey is the header with the size of the body that a dead letter has lost.
const droppedKey = "Dropped-Bytes"

// deadLetters returns the possible forms of the message as a dead letter, the most complete
// first.
func (w *worker) deadLetters(m jetstream.Msg, attempts int, why *chassi.Error) []*nats.Msg {
	full := make(nats.Header, len(m.Headers())+3)
	maps.Copy(full, m.Headers())
	full.Set(broker.CodeKey, why.Code.String())
	full.Set(broker.ReasonKey, why.Reason)
	full.Set(transport.AttemptsKey, strconv.Itoa(attempts))
	short := make(nats.Header, len(full))
	for key, values := range full {
		switch key {
		case broker.CodeKey, broker.ReasonKey, transport.AttemptsKey, broker.ContentTypeKey, transport.RequestIDKey, jetstream.MsgIDHeader:
			short[key] = values
		}
	}
	var letters []*nats.Msg
	for _, h := range []nats.Header{full, short, m.Headers()} {
		letters = append(letters, &nats.Msg{Subject: w.queue.deadSubject, Data: m.Data(), Header: h})
	}
	if attempts >= w.queue.MaxAttempts+transport.ExtraDeliveries {
		cut := maps.Clone(short)
		cut.Set(droppedKey, strconv.Itoa(len(m.Data())))
		letters = append(letters, &nats.Msg{Subject: w.queue.deadSubject, Header: cut})
	}
	return letters
}

// stopWork stops accepting messages, returns those that have not begun, and waits for the
// others.
func (s *Server) stopWork(ctx context.Context) error {
	pulled := make(chan struct{})
	for _, w := range s.work {
		close(w.stopping)
		for _, messages := range w.pulls {
			if w.js().Conn().IsConnected() {
				messages.Drain()
			} else {
				messages.Stop() // draining would wait for the server
			}
		}
	}
	go func() {
		defer close(pulled)
		for _, w := range s.work {
			w.pulling.Wait()
		}
	}()
	select {
	case <-pulled:
	case <-ctx.Done():
	}
	if err := s.working.Close(ctx); err != nil {
		return fmt.Errorf("natsapi: %w", err)
	}
	return nil
}
