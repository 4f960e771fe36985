// Package natsevents delivers events through NATS JetStream.
//
// Each topic has a stream with the subject event.TOPIC, or PREFIX.event.TOPIC if the Prefix in the
// configuration of the backend is not empty. A subscription has no state on the server: its position
// in the stream is stored in the database of the subscriber, together with the events. A stream keeps
// messages for the duration [Retention]. A subscriber that is disconnected for longer misses the
// messages that have expired in the meantime, and logs an error.
package natsevents

import (
	"cmp"
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

// Retention is how long a stream keeps messages. It is shorter than the time for which the inbox of
// a subscription recognizes duplicates.
const Retention = 6 * 24 * time.Hour

// dedupeWindow is the period during which the server drops messages with an ID that it has already
// stored.
const dedupeWindow = 2 * time.Minute

// Backend is an [event.Backend] for NATS JetStream.
type Backend struct {
	client *natsapi.Client
	prefix string
	logger *slog.Logger
	js     jetstream.JetStream

	declared sync.Map // topics whose stream exists
}

var _ event.Backend = (*Backend)(nil)

// Open returns a backend with its own connection to the NATS server at c.URL. It makes one attempt
// to connect; if that fails, the backend tries again in the background. Open returns an error only
// if c is invalid.
func Open(c natsapi.ClientConfig) (*Backend, error) {
	client, err := natsapi.Open(c)
	if err != nil {
		return nil, err //nolint:wrapcheck // says where
	}
	js, err := jetstream.New(client.Conn())
	if err != nil {
		client.Close()
		return nil, fmt.Errorf("natsevents: open JetStream: %w", err)
	}
	return &Backend{client: client, prefix: c.Prefix, logger: cmp.Or(c.Logger, slog.Default()), js: js}, nil
}

// Close closes the connection.
func (b *Backend) Close() { b.client.Close() }

// names returns the names of the stream and of the subject of a topic. The name of the stream is
// the subject with "=", which no topic name contains, in place of each dot.
func (b *Backend) names(topic string) (stream, subject string) {
	subject = "event." + topic
	if b.prefix != "" {
		subject = b.prefix + "." + subject
	}
	return strings.ReplaceAll(subject, ".", "="), subject
}

// timeout is the maximum duration of the creation or update of a stream, and of a call of Publish.
const timeout = 5 * time.Second

// stream creates the stream of a topic, or updates the configuration of the existing stream, and
// returns the state of the stream.
func (b *Backend) stream(ctx context.Context, topic string) (jetstream.StreamState, error) {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	name, subject := b.names(topic)
	stream, err := b.js.CreateOrUpdateStream(ctx, jetstream.StreamConfig{
		Name: name, Subjects: []string{subject}, MaxAge: Retention, Duplicates: dedupeWindow,
	})
	if err != nil {
		return jetstream.StreamState{}, fmt.Errorf("natsevents: create or update stream %s (JetStream must be enabled and the user permitted to create streams): %w", name, err)
	}
	b.declared.Store(topic, true)
	return stream.CachedInfo().State, nil
}

// Publish implements [event.Backend]. It creates missing streams, and waits at most five seconds
// for the acknowledgments of the server.
func (b *Backend) Publish(ctx context.Context, messages []event.Message) []error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	errs := make([]error, len(messages))
	futures := make([]jetstream.PubAckFuture, len(messages))
	for i, m := range messages {
		if _, declared := b.declared.Load(m.Topic); !declared {
			if _, errs[i] = b.stream(ctx, m.Topic); errs[i] != nil {
				continue
			}
		}
		_, subject := b.names(m.Topic)
		futures[i], errs[i] = b.js.PublishMsgAsync(&nats.Msg{Subject: subject, Header: headerOf(m), Data: m.Body})
	}
	for i, f := range futures {
		if f == nil {
			continue
		}
		select {
		case <-f.Ok():
		case errs[i] = <-f.Err():
			if errors.Is(errs[i], nats.ErrNoResponders) {
				b.declared.Delete(messages[i].Topic) // the stream was deleted, or the server lost it
			}
		case <-ctx.Done():
			errs[i] = ctx.Err()
		}
	}
	return errs
}

func headerOf(m event.Message) nats.Header {
	h := nats.Header{jetstream.MsgIDHeader: {m.ID}}
	for _, p := range m.Headers {
		h.Set(p.Key, p.Value)
	}
	return h
}

// messageOf returns a received message as an [event.Message], without invalid headers and without
// the headers of NATS. The ID may be "" if the message was not sent by Publish. The error is not
// nil if m is not a message of JetStream.
func messageOf(topic string, m jetstream.Msg) (event.Message, error) {
	meta, err := m.Metadata()
	if err != nil {
		return event.Message{}, fmt.Errorf("natsevents: read the metadata of a message of topic %s: %w", topic, err)
	}
	out := event.Message{ID: m.Headers().Get(jetstream.MsgIDHeader), Topic: topic, Position: strconv.FormatUint(meta.Sequence.Stream, 10), Body: m.Data()}
	for key := range m.Headers() {
		if value := m.Headers().Get(key); !strings.HasPrefix(key, "Nats-") && transport.CheckPair(key, value) == nil {
			out.Headers.Set(key, value)
		}
	}
	return out, nil
}

// Declare implements [event.Backend]. It creates or updates the stream of the topic. The position
// of a new subscription is the end of the stream.
func (b *Backend) Declare(ctx context.Context, topic, subscription, position string) (string, error) {
	at, err := b.declareAt(ctx, topic, subscription, position)
	return strconv.FormatUint(at, 10), err
}

// declareAt creates or updates the stream of a topic, and returns the sequence number for which
// position stands. This is the number of the last message in the stream if position is "", and 0 if
// position is greater than the number of the last message, which means that the stream was deleted
// and created again. declareAt logs an error if events after the position have expired. The error
// wraps [event.ErrPosition] if position is not a number.
func (b *Backend) declareAt(ctx context.Context, topic, subscription, position string) (at uint64, err error) {
	state, err := b.stream(ctx, topic)
	if err != nil || position == "" {
		return state.LastSeq, err
	}
	at, err = strconv.ParseUint(position, 10, 64)
	switch {
	case err != nil:
		return 0, fmt.Errorf("natsevents: subscription %s: %w: %.100q in chassi_subscriptions.position of its database is not a sequence number; "+
			"restore it, or set it to '0' to receive all that the stream keeps, of which the inbox drops what was received before",
			subscription, event.ErrPosition, position)
	case at > state.LastSeq: // the stream was deleted and created again
		return 0, nil
	case at+1 < state.FirstSeq:
		b.logger.Error("NATS: events expired before the subscription received them",
			"topic", topic, "subscription", subscription, "events", state.FirstSeq-at-1)
	}
	return at, nil
}

// Receive implements [event.Backend]. It reads the stream with an ordered consumer, which needs no
// acknowledgments.
func (b *Backend) Receive(ctx context.Context, topic, subscription, position string, deliver func(context.Context, []event.Message) error) error {
	at, err := b.declareAt(ctx, topic, subscription, position)
	if err != nil {
		return err
	}
	name, _ := b.names(topic)
	consumer, err := b.js.OrderedConsumer(ctx, name, jetstream.OrderedConsumerConfig{
		DeliverPolicy: jetstream.DeliverByStartSequencePolicy, OptStartSeq: at + 1,
	})
	if err != nil {
		return fmt.Errorf("natsevents: create a consumer of stream %s: %w", name, err)
	}
	received := make(chan jetstream.Msg)
	ctx, cancel := context.WithCancelCause(ctx)
	consuming, err := consumer.Consume(func(m jetstream.Msg) {
		select {
		case received <- m:
		case <-ctx.Done():
		}
	}, jetstream.PullMaxMessages(2*event.BatchSize), jetstream.ConsumeErrHandler(func(_ jetstream.ConsumeContext, err error) {
		if !b.client.Conn().IsConnected() {
			cancel(fmt.Errorf("natsevents: consume stream %s: the connection was lost: %w", name, err))
		}
	}))
	if err != nil {
		cancel(nil)
		return fmt.Errorf("natsevents: consume stream %s: %w", name, err)
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		<-consuming.Closed()
		cancel(fmt.Errorf("natsevents: consume stream %s: the delivery ended", name))
	}()
	defer func() { cancel(nil); consuming.Stop(); <-ended }()
	for {
		batch, err := event.Gather(ctx, received)
		if err != nil {
			return err //nolint:wrapcheck // says what
		}
		messages := make([]event.Message, len(batch))
		for i, m := range batch {
			if messages[i], err = messageOf(topic, m); err != nil {
				return err
			}
		}
		if err := deliver(ctx, messages); err != nil {
			return err
		}
	}
}
