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

// worker makes calls of an endpoint with the messages of a work queue.
type worker struct {
	server   *Server
	queue    workQueue
	route    *broker.Route
	pulls    []jetstream.MessagesContext
	pulling  sync.WaitGroup // one goroutine for each element of pulls
	slots    chan struct{}  // limits the concurrent attempts of this instance for this queue
	calls    *transport.RouteInFlight
	dead     atomic.Uint64 // number of dead-lettered messages
	stopping chan struct{}
}

// maxPulls is the maximum number of concurrent pull requests of one instance for one queue. Each
// pull request is for one message.
const maxPulls = 16

// Consume binds e to the work queue q: e is called with each message of q. It returns an error if q
// is invalid, if e is a stream, or if e cannot be served. Start creates or updates the stream of q,
// its consumer, and the stream of its dead letters.
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

// start creates or updates the streams and the consumer of the queue, and begins to pull. All
// instances share the messages of the consumer. MaxAckPending is unlimited, because it would count
// the messages of all instances, and the messages that wait for their next attempt; slots limits
// each instance instead.
func (w *worker) start(ctx context.Context) error {
	if err := w.queue.declare(ctx, w.js()); err != nil {
		return err
	}
	consumer, err := w.js().CreateOrUpdateConsumer(ctx, w.queue.stream, jetstream.ConsumerConfig{
		Durable: w.queue.Name, AckPolicy: jetstream.AckExplicitPolicy, AckWait: ackWait,
		MaxAckPending: unlimited, MaxDeliver: unlimited,
	})
	if err != nil {
		return fmt.Errorf("natsapi: work queue %s: create the consumer: %w", w.queue.Name, err)
	}
	w.pulls = nil
	for range min(cap(w.slots), maxPulls) {
		messages, err := consumer.Messages(jetstream.PullMaxMessages(1))
		if err != nil {
			return fmt.Errorf("natsapi: work queue %s: pull messages: %w", w.queue.Name, err)
		}
		w.pulls = append(w.pulls, messages)
		w.pulling.Go(func() { w.pull(messages) })
	}
	return nil
}

// unlimited is the value that disables a limit of a consumer.
const unlimited = -1

// pull repeatedly requests one message and passes it to a new goroutine, until messages is closed
// or w is stopping. It requests a message only when there is a free slot: a message that had to
// wait for a slot would not be available to other instances, and would be redelivered after
// ackWait.
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

// accept starts a goroutine that makes an attempt at the message m and then releases the slot. It
// returns false if the server is stopping.
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
			w.server.events.Log(slog.LevelWarn, "NATS: a message was not settled and may be delivered again", "queue", w.queue.Name, "error", err.Error())
		}
	}()
	return true
}

// attempt makes a call with the message m, unless m was delivered too often. According to the
// result, it acknowledges m, schedules the next attempt, or moves m to the dead letters. It returns
// an error if one of these actions fails, if the call has failed after another instance may have
// received m, or if m has no metadata.
func (w *worker) attempt(m jetstream.Msg) error {
	meta, err := m.Metadata()
	if err != nil {
		return errors.Join(err, m.Term())
	}
	attempts := int(meta.NumDelivered)
	if attempts > w.queue.MaxAttempts+transport.ExtraDeliveries { // its calls have crashed the process
		return w.deadLetter(m, attempts, chassi.NewError(chassi.Aborted, "poison", "The message was delivered too often"))
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

// deadLetter moves the message m to the dead letters. Of the forms that deadLetters returns, it
// stores the first form that is not too large for the server. If all forms are too large, for
// example because the server's max_payload has been reduced, m is redelivered for as long as
// [transport.ExtraDeliveries] allows; then its body is dropped.
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
		err = fmt.Errorf("the message, a body of %d bytes and headers, is larger than the server accepts; raise max_payload or the max_msg_size of the stream %s: %w",
			len(m.Data()), w.queue.deadStream, err)
		return errors.Join(fmt.Errorf("publish the dead letter: %w", err), m.NakWithDelay(w.queue.MaxDelay))
	case err != nil:
		return errors.Join(fmt.Errorf("publish the dead letter: %w", err), m.NakWithDelay(w.queue.Delay))
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
	ackTimeout  = 2 * time.Second // maximum time until the server confirms an acknowledgment
	ackPatience = 4               // maximum number of times that an acknowledgment is sent
)

// acknowledge acknowledges the message m, and waits until the server has confirmed the
// acknowledgment. Without the confirmation, an acknowledgment could be lost with the connection,
// and the work would be repeated after ackWait. acknowledge returns an error if the server does not
// confirm any of ackPatience acknowledgments.
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

// droppedKey is the key of a header of a dead letter whose body was dropped. The value of the
// header is the size of the body in bytes.
const droppedKey = "Dropped-Bytes"

// deadLetters returns the forms in which m may be stored as a dead letter, in order of preference:
// with the headers of m and of its error; with those of its error and, of the headers of m, only the
// IDs and the content type; and with the headers of m alone. After the last delivery of m, there is
// also a form without its body.
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

// stopWork stops accepting messages, returns to the server the messages whose attempts have not
// begun, and waits for the attempts in progress. It returns an error if ctx is done first.
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
