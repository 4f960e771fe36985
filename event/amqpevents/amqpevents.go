// Package amqpevents delivers events through RabbitMQ.
//
// Each topic has a fanout exchange with the name event.TOPIC, and each subscription has a quorum
// queue with the name event.SUBSCRIPTION. If the Prefix in the configuration of the backend is not
// empty, these names begin with the prefix and a dot.
package amqpevents

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/chassi-go/chassi/event"
	"github.com/chassi-go/chassi/transport"
	"github.com/chassi-go/chassi/transport/amqpapi"
)

const (
	// timeout is the maximum duration of dialing the broker, and of a call of Publish, including
	// the wait for confirmations.
	timeout = 5 * time.Second
	// maxBytes is the maximum size of a queue in bytes. The broker refuses further messages, which
	// stay in the outbox.
	maxBytes = 4 << 30
	// returns is the maximum number of times that a message may be returned to its queue. The
	// broker returns a message to its original position only if the queue has such a limit.
	returns = 1_000_000
)

// Backend is an [event.Backend] for RabbitMQ.
type Backend struct {
	config amqpapi.ClientConfig

	mu       sync.Mutex
	client   *amqpapi.Client
	conn     *amqp.Connection // the connection of the channel
	channel  *amqp.Channel    // for publishing
	declared map[string]bool  // the topics whose exchanges were declared on conn
}

var _ event.Backend = (*Backend)(nil)

// Open returns a backend with its own connection to the broker that c configures. The connection is
// established by the first method that needs it.
func Open(c amqpapi.ClientConfig) *Backend { return &Backend{config: c} }

// Close closes the connection.
func (b *Backend) Close() {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.client != nil {
		b.client.Close()
	}
	b.client, b.channel = nil, nil
}

func (b *Backend) name(name string) string {
	if b.config.Prefix == "" {
		return "event." + name
	}
	return b.config.Prefix + ".event." + name
}

// connection returns the current connection. If there is no client, it first dials the broker. The
// caller must hold b.mu.
func (b *Backend) connection(ctx context.Context) (*amqp.Connection, error) {
	if b.client == nil {
		ctx, cancel := context.WithTimeout(ctx, timeout)
		defer cancel()
		client, err := amqpapi.Dial(ctx, b.config)
		if err != nil {
			return nil, err //nolint:wrapcheck // says where
		}
		b.client = client
	}
	return b.client.Conn() //nolint:wrapcheck // says what
}

// publisher returns the channel for publishing. It first opens the channel and declares the
// exchange of the topic, if necessary. The caller must hold b.mu.
func (b *Backend) publisher(ctx context.Context, topic string) (*amqp.Channel, error) {
	conn, err := b.connection(ctx)
	if err != nil {
		return nil, err
	}
	if b.channel == nil || b.channel.IsClosed() || b.conn != conn {
		ch, err := conn.Channel()
		if err == nil {
			err = ch.Confirm(false)
		}
		if err != nil {
			return nil, fmt.Errorf("amqpevents: open a channel for publishing: %w", err)
		}
		b.conn, b.channel, b.declared = conn, ch, make(map[string]bool)
	}
	if !b.declared[topic] {
		if err := b.exchange(b.channel, topic); err != nil {
			return nil, fmt.Errorf("amqpevents: declare exchange %s: %w", b.name(topic), err)
		}
		b.declared[topic] = true
	}
	return b.channel, nil
}

func (b *Backend) exchange(ch *amqp.Channel, topic string) error {
	return ch.ExchangeDeclare(b.name(topic), amqp.ExchangeFanout, true, false, false, false, nil)
}

var errNack = errors.New("amqpevents: the broker did not confirm the message: a queue is full, or the channel was closed")

// Publish implements [event.Backend]. It waits at most five seconds for the confirmations of the
// broker.
func (b *Backend) Publish(ctx context.Context, messages []event.Message) []error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	errs := make([]error, len(messages))
	confirms := make([]*amqp.DeferredConfirmation, len(messages))
	b.mu.Lock()
	for i, m := range messages {
		ch, err := b.publisher(ctx, m.Topic)
		if err == nil {
			confirms[i], err = ch.PublishWithDeferredConfirm(b.name(m.Topic), "", false, false, publishing(m))
		}
		errs[i] = err
	}
	b.mu.Unlock()
	for i, c := range confirms {
		if errs[i] != nil {
			continue
		}
		stored, err := c.WaitContext(ctx)
		if errs[i] = err; err == nil && !stored {
			errs[i] = errNack
		}
	}
	return errs
}

func publishing(m event.Message) amqp.Publishing {
	h := make(amqp.Table, len(m.Headers))
	for _, p := range m.Headers {
		h[p.Key] = p.Value
	}
	return amqp.Publishing{Headers: h, MessageId: m.ID, Type: m.Topic, ContentType: "application/json", DeliveryMode: amqp.Persistent, Body: m.Body}
}

// messageOf returns a delivery as an [event.Message], without invalid headers. The ID may be "" if
// the message was not sent by Publish.
func messageOf(d *amqp.Delivery) event.Message {
	m := event.Message{ID: d.MessageId, Topic: d.Type, Body: d.Body}
	for key, value := range d.Headers {
		if text, ok := value.(string); ok && transport.CheckPair(key, text) == nil {
			m.Headers.Set(key, text)
		}
	}
	return m
}

// Declare implements [event.Backend]. It declares the exchange of the topic and the queue of the
// subscription. The position is always "", because the broker keeps the position of a subscription.
func (b *Backend) Declare(ctx context.Context, topic, subscription, _ string) (string, error) {
	ch, err := b.subscribe(ctx, topic, subscription)
	if err != nil {
		return "", err
	}
	_ = ch.Close() // fails if the connection is lost
	return "", nil
}

// subscribe declares the queue of a subscription and returns the new channel on which it was
// declared.
func (b *Backend) subscribe(ctx context.Context, topic, subscription string) (*amqp.Channel, error) {
	b.mu.Lock()
	conn, err := b.connection(ctx)
	b.mu.Unlock()
	if err != nil {
		return nil, err
	}
	ch, err := conn.Channel()
	if err != nil {
		return nil, fmt.Errorf("amqpevents: open a channel for subscription %s: %w", subscription, err)
	}
	if err := b.queue(ch, topic, subscription); err != nil {
		_ = ch.Close() // the error has closed it, or fails this too
		return nil, fmt.Errorf("amqpevents: declare subscription %s of topic %s: %w", subscription, topic, err)
	}
	return ch, nil
}

// queue declares the exchange of a topic and the queue of a subscription, and binds the queue to
// the exchange.
func (b *Backend) queue(ch *amqp.Channel, topic, subscription string) error {
	name := b.name(subscription)
	err := b.exchange(ch, topic)
	if err == nil {
		_, err = ch.QueueDeclare(name, true, false, false, false, amqp.Table{
			amqp.QueueTypeArg: amqp.QueueTypeQuorum, "x-delivery-limit": int64(returns), "x-max-length-bytes": int64(maxBytes), "x-overflow": "reject-publish",
			// A receiver that lost its lease and holds messages must not be overtaken by its successor.
			amqp.SingleActiveConsumerArg: true,
		})
	}
	if err == nil {
		err = ch.QueueBind(name, "", b.name(topic), false, nil)
	}
	return err
}

// Receive implements [event.Backend]. It consumes the queue of the subscription.
func (b *Backend) Receive(ctx context.Context, topic, subscription, _ string, deliver func(context.Context, []event.Message) error) error {
	ch, err := b.subscribe(ctx, topic, subscription)
	if err != nil {
		return err
	}
	var deliveries <-chan amqp.Delivery
	defer func() { end(ch, deliveries) }()
	if err = ch.Qos(2*event.BatchSize, 0, false); err == nil {
		deliveries, err = ch.Consume(b.name(subscription), "", false, false, false, false, nil)
	}
	if err != nil {
		return fmt.Errorf("amqpevents: consume from queue %s: %w", b.name(subscription), err)
	}
	for {
		batch, err := event.Gather(ctx, deliveries)
		if err != nil {
			return fmt.Errorf("amqpevents: consume from queue %s: %w", b.name(subscription), err)
		}
		messages := make([]event.Message, len(batch))
		for i := range batch {
			messages[i] = messageOf(&batch[i])
		}
		if err := deliver(ctx, messages); err != nil {
			return err
		}
		if err := batch[len(batch)-1].Ack(true); err != nil {
			return fmt.Errorf("amqpevents: acknowledge messages of queue %s: %w", b.name(subscription), err)
		}
	}
}

// end closes the channel, so that the broker returns unacknowledged messages to the queue. The
// argument deliveries is nil if the channel has no consumer.
func end(ch *amqp.Channel, deliveries <-chan amqp.Delivery) {
	done := make(chan struct{})
	go func() { // the library waits until its deliveries are taken
		defer close(done)
		if deliveries != nil {
			for range deliveries {
			}
		}
	}()
	_ = ch.Close() // fails if the connection is lost
	<-done
}
