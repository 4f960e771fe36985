package natsapi

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/transport"
	"github.com/chassi-go/chassi/transport/message"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
)

// worker is an endpoint bound to a work queue.
type worker struct {
	server   *Server
	queue    message.Queue
	route    *message.Route
	js       jetstream.JetStream
	consumer jetstream.ConsumeContext
	slots    chan struct{}
	calls    transport.InFlight
	dead     atomic.Uint64 // messages that were put aside
	stopping atomic.Bool
}

// Consume binds e to the work queue q. The stream, its consumer and the stream
// for what is put aside are made, or brought up to date, at the start.
func (s *Server) Consume(q message.Queue, e *chassi.Endpoint) error {
	q, err := q.WithDefaults()
	if err != nil {
		return fmt.Errorf("natsapi: %w", err)
	}
	route, err := message.NewRoute(e, &s.options)
	if err != nil {
		return fmt.Errorf("natsapi: %w", err)
	}
	s.work = append(s.work, &worker{server: s, queue: q, route: route, slots: make(chan struct{}, s.config.MaxConcurrent)})
	return nil
}

// The subjects of a queue.
func workSubject(q message.Queue) string { return "work." + q.Name }
func deadSubject(q message.Queue) string { return "dead." + q.Name }

const (
	// dedupeWindow is how long an id that was published is remembered.
	dedupeWindow = 2 * time.Minute
	// deadAge is how long what was put aside is kept.
	deadAge = 30 * 24 * time.Hour
)

func declare(ctx context.Context, js jetstream.JetStream, q message.Queue) error {
	for _, c := range []jetstream.StreamConfig{
		{Name: q.Name, Subjects: []string{workSubject(q)}, Retention: jetstream.WorkQueuePolicy, Duplicates: dedupeWindow},
		{Name: q.Name + "_dead", Subjects: []string{deadSubject(q)}, MaxAge: deadAge},
	} {
		if _, err := js.CreateOrUpdateStream(ctx, c); err != nil {
			return fmt.Errorf("natsapi: stream %s: %w", c.Name, err)
		}
	}
	return nil
}

func (s *Server) startWork(ctx context.Context, conn *nats.Conn) error {
	if len(s.work) == 0 {
		return nil
	}
	js, err := jetstream.New(conn)
	if err != nil {
		return fmt.Errorf("natsapi: %w", err)
	}
	for _, w := range s.work {
		w.js = js
		if err := w.start(ctx); err != nil {
			return err
		}
	}
	return nil
}

func (w *worker) start(ctx context.Context) error {
	if err := declare(ctx, w.js, w.queue); err != nil {
		return err
	}
	consumer, err := w.js.CreateOrUpdateConsumer(ctx, w.queue.Name, jetstream.ConsumerConfig{
		Durable: w.queue.Name, AckPolicy: jetstream.AckExplicitPolicy, AckWait: w.queue.Timeout + 10*time.Second,
		MaxAckPending: cap(w.slots), MaxDeliver: -1,
	})
	if err != nil {
		return fmt.Errorf("natsapi: consumer of %s: %w", w.queue.Name, err)
	}
	w.consumer, err = consumer.Consume(w.accept, jetstream.PullMaxMessages(cap(w.slots)),
		jetstream.ConsumeErrHandler(func(_ jetstream.ConsumeContext, err error) {
			w.server.events.Log(slog.LevelWarn, "NATS: work queue", "queue", w.queue.Name, "error", err.Error())
		}))
	if err != nil {
		return fmt.Errorf("natsapi: consume %s: %w", w.queue.Name, err)
	}
	return nil
}

// accept hands a message to a goroutine of its own. It waits for a slot: the
// stream keeps the rest.
func (w *worker) accept(m jetstream.Msg) {
	w.slots <- struct{}{}
	if w.stopping.Load() || !w.calls.Enter(w.queue.Name) {
		<-w.slots
		_ = m.Nak() // at once for another instance
		return
	}
	go func() {
		defer w.calls.Leave(w.queue.Name)
		defer func() { <-w.slots }()
		if err := w.try(m); err != nil {
			w.server.events.Log(slog.LevelWarn, "NATS: a message will be delivered again", "queue", w.queue.Name, "error", err.Error())
		}
	}()
}

// try makes a call of the message and settles what becomes of it.
func (w *worker) try(m jetstream.Msg) error {
	meta, err := m.Metadata()
	if err != nil {
		return errors.Join(err, m.Term())
	}
	tries := int(meta.NumDelivered)
	if tries > w.queue.Tries { // its calls took the process down with them
		return w.putAside(m, tries, chassi.NewError(chassi.Aborted, "poison", "No try of this message came to an end"))
	}
	ctx, cancel := context.WithTimeout(w.server.base, w.queue.Timeout)
	defer cancel()
	in := header(m.Headers())
	if in == nil {
		in = make(header)
	}
	if id := in.Get(jetstream.MsgIDHeader); id != "" {
		in.Set(message.IDKey, id)
	}
	answer := w.route.Handle(ctx, message.Request{Arrived: time.Now(), PeerName: "nats:", Header: in, Body: m.Data()})
	switch w.queue.Judge(answer.Err, tries) {
	case message.Done:
		return m.Ack()
	case message.Retry:
		return m.NakWithDelay(max(w.queue.DelayAfter(tries), answer.Err.RetryAfter))
	default:
		return w.putAside(m, tries, answer.Err)
	}
}

// putAside takes the message from the queue once the dead one has it.
func (w *worker) putAside(m jetstream.Msg, tries int, why *chassi.Error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(w.server.base), 5*time.Second)
	defer cancel()
	dead := &nats.Msg{Subject: deadSubject(w.queue), Data: m.Data(), Header: make(nats.Header)}
	maps.Copy(dead.Header, m.Headers())
	dead.Header.Set(message.CodeKey, why.Code.String())
	dead.Header.Set(message.ReasonKey, why.Reason)
	dead.Header.Set(message.TriesKey, strconv.Itoa(tries))
	if _, err := w.js.PublishMsg(ctx, dead); err != nil {
		return errors.Join(fmt.Errorf("put aside: %w", err), m.NakWithDelay(w.queue.Delay))
	}
	w.dead.Add(1)
	w.server.events.Log(slog.LevelError, "NATS: a message was put aside", "queue", w.queue.Name, "subject", deadSubject(w.queue), "tries", tries, "error", why)
	return m.Ack()
}

// stopWork takes no more messages, gives back those that have not begun, and
// waits for the rest.
func (s *Server) stopWork(ctx context.Context) error {
	var errs []error
	for _, w := range s.work {
		w.stopping.Store(true)
		w.consumer.Drain()
	}
	for _, w := range s.work {
		select {
		case <-w.consumer.Closed():
		case <-ctx.Done():
		}
		if err := w.calls.Close(ctx); err != nil {
			errs = append(errs, fmt.Errorf("natsapi: %w", err))
		}
	}
	return errors.Join(errs...)
}
