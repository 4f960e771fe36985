package standard

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/transport"
)

// work contains the arguments of Consume.
type work struct {
	queue    transport.Queue
	endpoint *chassi.Endpoint
}

// Consume makes the App call e for each message of the work queue q, over every transport that
// supports work queues: those of natsserver, natsembedded and amqpserver. The calls pass through
// [App].Stack. The service of e need not be mounted. [App.Run] returns an error if no transport of
// the App supports work queues.
func (a *App) Consume(q transport.Queue, e *chassi.Endpoint) {
	a.work = append(a.work, work{q, e})
}

// consume makes the transports consume the work queues. It returns the errors of the transports,
// and an error for each work queue if no transport supports work queues.
func (a *App) consume() error {
	var errs []error
	for _, w := range a.work {
		consumers := 0
		for _, s := range a.servers {
			if s, ok := s.(interface {
				Consume(q transport.Queue, e *chassi.Endpoint) error
			}); ok {
				consumers++
				errs = append(errs, s.Consume(w.queue, w.endpoint))
			}
		}
		if consumers == 0 {
			errs = append(errs, fmt.Errorf("no transport consumes the work queue %q: add a server for NATS or AMQP, and set nats.url or amqp.url", w.queue.Name))
		}
	}
	return errors.Join(errs...)
}

// QueuePublisher publishes messages to a work queue over one transport. The publishers of packages
// natsapi and amqpapi implement it.
type QueuePublisher interface {
	Publish(ctx context.Context, e *chassi.Endpoint, id string, request any) error
}

// Publisher publishes messages to a work queue. It is returned by [App.AddPublisher] and is safe
// for concurrent use.
type Publisher struct {
	name    string
	open    func() (QueuePublisher, func(), error)
	close   func()
	current atomic.Pointer[QueuePublisher]
}

// AddPublisher returns a publisher for the work queue q. The App starts and stops the publisher.
// The function open is called at the start; it returns a [QueuePublisher] that connects in the
// background, and a function that closes it. Packages such as natsserver call AddPublisher.
func (a *App) AddPublisher(q transport.Queue, open func() (publisher QueuePublisher, end func(), err error)) *Publisher {
	a.refuseLate("AddPublisher")
	_, err := q.WithDefaults()
	a.Fail(err)
	p := &Publisher{name: "queue " + q.Name, open: open}
	a.Add(p)
	return p
}

var errNotStarted = chassi.NewError(chassi.Unavailable, "queue_unavailable", "The work queue cannot be reached")

// Name returns the name of the component, which contains the name of the queue.
func (p *Publisher) Name() string { return p.name }

// Start opens the publisher, and returns an error if that fails. The App calls it.
func (p *Publisher) Start(context.Context) error {
	publisher, end, err := p.open()
	if err != nil {
		return err
	}
	p.close = end
	p.current.Store(&publisher)
	return nil
}

// Stop closes the publisher. The App calls it.
func (p *Publisher) Stop(context.Context) error {
	p.current.Store(nil)
	p.close()
	return nil
}

// Publish stores request, which is a pointer to the request type of e, under id in the work queue,
// and returns the error of the transport's publisher. It returns a [chassi.Unavailable] error
// before the App has started the publisher and after the App has stopped it.
func (p *Publisher) Publish(ctx context.Context, e *chassi.Endpoint, id string, request any) error {
	if publisher := p.current.Load(); publisher != nil {
		return (*publisher).Publish(ctx, e, id, request) //nolint:wrapcheck // says what
	}
	return errNotStarted.WithCause(fmt.Errorf("the publisher of %s is not running", p.name))
}
