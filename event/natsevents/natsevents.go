// Package natsevents delivers events through NATS JetStream.
//
// Each topic has a stream with the subject event.TOPIC, behind the prefix of the client. A
// subscription has no state on the server: its position in the stream is stored in its database,
// together with the events. A stream keeps messages for a limited time, so a subscriber that is
// away for longer loses what has expired, which is logged as an error.
package natsevents

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/chassi-go/chassi/event"
	"github.com/chassi-go/chassi/transport"
	"github.com/chassi-go/chassi/transport/natsapi"
)

// Retention is how long a stream keeps messages. It is shorter than the time for which the inbox
// of a subscription recognizes a repeated message.
const Retention = 6 * 24 * time.Hour

// dedupeWindow is the time in which a repeated id is dropped.
const dedupeWindow = 2 * time.Minute

// Headers of a message.
const (
	keyHeader    = "Event-Key"
	targetHeader = "Event-Target"
	replayHeader = "Event-Replay"
	idHeader     = "Event-Id"
)

// Backend is an [event.Backend] for NATS JetStream.
type Backend struct {
	client *natsapi.Client
	prefix string
	logger *slog.Logger
	js     jetstream.JetStream

	mu       sync.Mutex
	declared map[string]bool // topics whose stream exists
}

var _ event.Backend = (*Backend)(nil)

// Open returns a backend with a connection of its own, which is established as soon as the
// server is available.
func Open(c natsapi.ClientConfig) (*Backend, error) {
	client, err := natsapi.Open(c)
	if err != nil {
		return nil, err //nolint:wrapcheck // says where
	}
	js, err := jetstream.New(client.Conn())
	if err != nil {
		client.Close()
		return nil, fmt.Errorf("natsevents: %w", err)
	}
	b := &Backend{client: client, prefix: c.Prefix, logger: c.Logger, js: js, declared: make(map[string]bool)}
	if b.logger == nil {
		b.logger = slog.Default()
	}
	return b, nil
}

// Close closes the connection.
func (b *Backend) Close() { b.client.Close() }

// names returns the names of the stream and the subject of a topic. Words of the stream's name
// end with "=", which no topic contains.
func (b *Backend) names(topic string) (stream, subject string) {
	subject = "event." + topic
	if b.prefix != "" {
		subject = b.prefix + "." + subject
	}
	return strings.ReplaceAll(subject, ".", "="), subject
}

// timeout limits each exchange with the server.
const timeout = 5 * time.Second

// declare creates the stream of a topic, once.
func (b *Backend) declare(ctx context.Context, topic string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.declared[topic] {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	stream, subject := b.names(topic)
	_, err := b.js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
		Name: stream, Subjects: []string{subject}, MaxAge: Retention, Duplicates: dedupeWindow,
	})
	if err != nil {
		return fmt.Errorf("natsevents: stream %s; is JetStream on, and may this user create streams? %w", stream, err)
	}
	b.declared[topic] = true
	return nil
}

// Publish implements [event.Backend].
func (b *Backend) Publish(ctx context.Context, messages []event.Message) []error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	errs := make([]error, len(messages))
	futures := make([]jetstream.PubAckFuture, len(messages))
	for i, m := range messages {
		if errs[i] = b.declare(ctx, m.Topic); errs[i] != nil {
			continue
		}
		_, subject := b.names(m.Topic)
		futures[i], errs[i] = b.js.PublishMsgAsync(&nats.Msg{Subject: subject, Header: headerOf(m), Data: m.Body}, jetstream.WithMsgID(m.Replay+m.ID))
	}
	for i, f := range futures {
		if f == nil {
			continue
		}
		select {
		case <-f.Ok():
		case errs[i] = <-f.Err():
			if errors.Is(errs[i], nats.ErrNoResponders) {
				b.forget(messages[i].Topic) // the stream was deleted, or the server lost it
			}
		case <-ctx.Done():
			errs[i] = ctx.Err()
		}
	}
	return errs
}

func (b *Backend) forget(topic string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.declared, topic)
}

func headerOf(m event.Message) nats.Header {
	h := make(nats.Header, len(m.Headers)+4)
	for _, p := range m.Headers {
		h.Set(p.Key, p.Value)
	}
	for key, value := range map[string]string{idHeader: m.ID, keyHeader: m.Key, targetHeader: m.Target, replayHeader: m.Replay} {
		if value != "" {
			h.Set(key, strconv.QuoteToASCII(value)) // a key is any text
		}
	}
	return h
}

// messageOf returns a received message, or an error for one that was not sent by Publish.
func messageOf(topic string, m jetstream.Msg) (event.Message, error) {
	out := event.Message{Topic: topic, Body: m.Data()}
	own := map[string]*string{idHeader: &out.ID, keyHeader: &out.Key, targetHeader: &out.Target, replayHeader: &out.Replay}
	for key := range m.Headers() {
		into, value := own[key], m.Headers().Get(key)
		switch {
		case into != nil:
			var err error
			if *into, err = strconv.Unquote(value); err != nil {
				return out, fmt.Errorf("header %s: %w", key, err)
			}
		case !strings.HasPrefix(key, "Nats-") && transport.CheckPair(key, value) == nil:
			out.Headers.Set(key, value)
		}
	}
	if out.ID == "" {
		return out, fmt.Errorf("no header %s", idHeader)
	}
	return out, nil
}

// Declare implements [event.Backend]. A new subscription begins at the end of the stream.
func (b *Backend) Declare(ctx context.Context, topic, subscription, position string) (string, error) {
	if err := b.declare(ctx, topic); err != nil {
		return "", err
	}
	state, err := b.state(ctx, topic)
	if err != nil {
		return "", err
	}
	if position == "" {
		return strconv.FormatUint(state.LastSeq, 10), nil
	}
	at, err := parsePosition(subscription, position)
	switch {
	case err != nil:
		return "", err
	case at > state.LastSeq: // the stream was deleted and created again
		return "0", nil
	case at+1 < state.FirstSeq:
		b.logger.Error("NATS: events expired before the subscription received them",
			"topic", topic, "subscription", subscription, "events", state.FirstSeq-at-1)
	}
	return position, nil
}

// parsePosition returns the sequence number that is the position of a subscription.
func parsePosition(subscription, position string) (uint64, error) {
	at, err := strconv.ParseUint(position, 10, 64)
	if err != nil {
		return 0, fmt.Errorf("natsevents: subscription %s: %w: %.100q in chassi_subscriptions.position of its database is not a sequence number; "+
			"restore it, or set it to '0' to receive all that the stream keeps, of which the inbox drops what was received before",
			subscription, event.ErrPosition, position)
	}
	return at, nil
}

func (b *Backend) state(ctx context.Context, topic string) (jetstream.StreamState, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	name, _ := b.names(topic)
	stream, err := b.js.Stream(ctx, name)
	if err != nil {
		b.forget(topic)
		return jetstream.StreamState{}, fmt.Errorf("natsevents: stream %s: %w", name, err)
	}
	return stream.CachedInfo().State, nil
}

// batchSize is the maximum number of messages that are delivered together.
const batchSize = 100

var errStopped = errors.New("natsevents: the server ended the delivery")

// Receive implements [event.Backend].
func (b *Backend) Receive(ctx context.Context, topic, subscription, position string, deliver func(context.Context, []event.Message) error) error {
	position, err := b.Declare(ctx, topic, subscription, position)
	if err != nil {
		return err
	}
	at, err := parsePosition(subscription, position)
	if err != nil {
		return err
	}
	name, _ := b.names(topic)
	consumer, err := b.js.OrderedConsumer(ctx, name, jetstream.OrderedConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: at + 1,
	})
	if err != nil {
		return fmt.Errorf("natsevents: consumer of %s: %w", name, err)
	}
	received := make(chan jetstream.Msg)
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	consuming, err := consumer.Consume(func(m jetstream.Msg) {
		select {
		case received <- m:
		case <-ctx.Done():
		}
	}, jetstream.PullMaxMessages(2*batchSize), jetstream.ConsumeErrHandler(func(_ jetstream.ConsumeContext, err error) {
		if !b.client.Conn().IsConnected() {
			cancel(errors.Join(errStopped, err))
		}
	}))
	if err != nil {
		return fmt.Errorf("natsevents: consume %s: %w", name, err)
	}
	closed := consuming.Closed()
	defer func() { cancel(nil); consuming.Stop(); <-closed }()
	for {
		batch, err := b.gather(ctx, topic, received, closed)
		if err != nil {
			return err
		}
		if err := deliver(ctx, batch); err != nil {
			return err
		}
	}
}

// gather waits for a message and returns it with those that follow at once.
func (b *Backend) gather(ctx context.Context, topic string, received <-chan jetstream.Msg, closed <-chan struct{}) (batch []event.Message, err error) {
	more := time.NewTimer(time.Hour)
	defer more.Stop()
	for len(batch) < batchSize {
		select {
		case m := <-received:
			meta, err := m.Metadata()
			if err != nil {
				return nil, fmt.Errorf("natsevents: %w", err)
			}
			out, err := messageOf(topic, m)
			if err != nil {
				b.logger.Error("NATS: a message is no event, and is ignored", "topic", topic, "sequence", meta.Sequence.Stream, "error", err.Error())
				continue
			}
			out.Position = strconv.FormatUint(meta.Sequence.Stream, 10)
			batch = append(batch, out)
			more.Reset(gatherTime)
		case <-more.C:
			if len(batch) > 0 {
				return batch, nil
			}
			more.Reset(time.Hour)
		case <-closed:
			return nil, errStopped
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
	return batch, nil
}

// gatherTime is how long a batch waits for another message.
const gatherTime = time.Millisecond
