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

// workQueue is a work queue with the names of its two streams on the NATS server, for messages and
// for dead letters, and with the subject of each stream.
type workQueue struct {
	transport.Queue

	stream, subject         string
	deadStream, deadSubject string
}

const (
	// dedupeWindow is the time within which JetStream drops a message with a repeated ID.
	dedupeWindow = 2 * time.Minute
	// deadAge is the time for which dead letters are kept.
	deadAge = 30 * 24 * time.Hour
	// deadSuffix is the suffix of the name of a stream of dead letters.
	deadSuffix = "_dead"
)

// newWorkQueue returns q with its defaults, and with the names of its subjects and streams, which
// begin with prefix. In the name of a stream, each word of prefix is followed by "=", which no word
// contains, so that stream names are unique. newWorkQueue returns an error if q is invalid.
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
			return q.explain(c.Name, err)
		}
	}
	return nil
}

// explain wraps err, the error of declaring the named stream, in an error with the names of the
// queue and the stream. If JetStream is disabled, the error contains advice for an operator instead
// of the name of the stream.
func (q workQueue) explain(stream string, err error) error {
	switch {
	case errors.Is(err, nats.ErrNoResponders), errors.Is(err, jetstream.ErrJetStreamNotEnabled), errors.Is(err, jetstream.ErrJetStreamNotEnabledForAccount):
		return fmt.Errorf("natsapi: work queue %s: %w; enable it with nats.embedded.store_dir in the server of this process, "+
			"or with jetstream in the configuration of the NATS server and of the account: %w", q.Name, errJetStreamOff, err)
	default:
		return fmt.Errorf("natsapi: work queue %s, stream %s: %w", q.Name, stream, err)
	}
}

var errJetStreamOff = errors.New("JetStream, which stores work queues, is disabled")
