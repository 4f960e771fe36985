package natsapi

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/chassi-go/chassi/transport"
)

// workQueue is a queue with its objects on the NATS server: streams with one subject each.
type workQueue struct {
	transport.Queue

	stream, subject         string
	deadStream, deadSubject string
}

const (
	// dedupeWindow is the time in which a repeated id is dropped.
	dedupeWindow = 2 * time.Minute
	// deadAge is how long dead letters are kept.
	deadAge = 30 * 24 * time.Hour
	// deadSuffix ends the name of a stream of dead letters.
	deadSuffix = "_dead"
)

// newWorkQueue returns q with its defaults and the names of its subjects and streams, which begin
// with prefix. In the name of a stream, each word of prefix is followed by "=", which no word
// contains, so that stream names are unique.
func newWorkQueue(prefix string, q transport.Queue) (workQueue, error) {
	q, err := q.WithDefaults()
	if err != nil {
		return workQueue{}, fmt.Errorf("natsapi: %w", err)
	}
	if strings.HasSuffix(q.Name, deadSuffix) {
		return workQueue{}, fmt.Errorf("natsapi: queue name %q: the suffix %s is reserved for streams of dead letters; choose another name", q.Name, deadSuffix)
	}
	words, stream := "", ""
	if prefix != "" {
		words, stream = prefix+".", strings.ReplaceAll(prefix, ".", "=")+"="
	}
	return workQueue{
		Queue: q, stream: stream + q.Name, subject: words + "work." + q.Name,
		deadStream: stream + q.Name + deadSuffix, deadSubject: words + "dead." + q.Name,
	}, nil
}

// declare creates or updates the streams of q.
func (q workQueue) declare(ctx context.Context, js jetstream.JetStream) error {
	for _, c := range []jetstream.StreamConfig{
		{Name: q.stream, Subjects: []string{q.subject}, Retention: jetstream.WorkQueuePolicy, Duplicates: dedupeWindow},
		{Name: q.deadStream, Subjects: []string{q.deadSubject}, MaxAge: deadAge},
	} {
		if _, err := js.CreateOrUpdateStream(ctx, c); err != nil {
			return q.explain(err)
		}
	}
	return nil
}

// explain returns err with advice for an operator.
func (q workQueue) explain(err error) error {
	switch {
	case errors.Is(err, nats.ErrNoResponders), errors.Is(err, jetstream.ErrJetStreamNotEnabled), errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount):
		return fmt.Errorf("natsapi: work queue %s: %w; switch it on: with nats.embedded.store_dir in the server of this process, "+
			"or with jetstream in the configuration of the NATS server and of the account: %w", q.Name, errJetStreamOff, err)
	default:
		return fmt.Errorf("natsapi: work queue %s, stream %s: %w", q.Name, q.stream, err)
	}
}

var errJetStreamOff = errors.New("JetStream, which stores work queues, is disabled")
