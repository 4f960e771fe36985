package transport

import (
	"fmt"
	"regexp"
	"time"

	"github.com/chassi-go/chassi"
)

// IdempotencyKey is the metadata key of the ID under which a message of a [Queue] was published, and
// of the ID of an event or a job in the call that handles the event or job. A method gets the ID
// with chassi.CallFrom(ctx).In.Get(transport.IdempotencyKey). A message may be delivered more than
// once, for example after a crash between the work and its acknowledgment; a method that stores the
// ID together with its effect can ignore duplicates.
const IdempotencyKey = "Idempotency-Key"

// AttemptsKey is the metadata key of the number of attempts to process a message. It is set on dead
// letters and, over AMQP, on messages that wait for another attempt. The headers of such messages
// also contain the code and the reason of the last error. A dead letter that is too large to be
// published with these headers lacks them. In a call that handles an event or a job, the number
// includes the current attempt.
const AttemptsKey = "Attempts"

// Queue describes a durable work queue. An endpoint is called with each message until a call
// succeeds. The delays between the attempts increase; over NATS, each delay is also at least the
// RetryAfter of the last error, up to MaxDelay. A message that fails permanently, or fails
// MaxAttempts times, becomes a dead letter, which is kept for inspection.
type Queue struct {
	Name        string        // 1 to 100 letters, digits, "_" and "-"
	MaxAttempts int           // maximum number of attempts for each message; default 5
	Delay       time.Duration // delay after the first attempt, then doubled each time; default 1 s
	MaxDelay    time.Duration // maximum delay before any attempt; default 1 minute
	Timeout     time.Duration // maximum duration of one attempt; default 30 s
}

// ExtraDeliveries is the number of deliveries of a message that are allowed in addition to
// [Queue].MaxAttempts. Additional deliveries occur because an instance that stops or loses its
// connection returns messages that it has not begun to process, and the broker counts the
// deliveries of these messages too. A message with more deliveries is assumed to crash the
// instances that receive it, and becomes a dead letter.
const ExtraDeliveries = 20

var queueName = regexp.MustCompile(`^[a-zA-Z0-9_-]{1,100}$`)

// WithDefaults returns a copy of q in which every number or duration that is not positive is
// replaced by its default. It returns an error if the name is invalid.
func (q Queue) WithDefaults() (Queue, error) {
	if !queueName.MatchString(q.Name) {
		return q, fmt.Errorf("queue name %q: want 1 to 100 ASCII letters, digits, _ and -", q.Name)
	}
	if q.MaxAttempts <= 0 {
		q.MaxAttempts = 5
	}
	for d, fallback := range map[*time.Duration]time.Duration{&q.Delay: time.Second, &q.MaxDelay: time.Minute, &q.Timeout: 30 * time.Second} {
		if *d <= 0 {
			*d = fallback
		}
	}
	return q, nil
}

// DelayAfter returns how long a message waits after the given number of attempts: Delay after the
// first attempt, twice as long after each further attempt, but at most MaxDelay.
func (q Queue) DelayAfter(attempts int) time.Duration {
	d := q.Delay
	for range attempts - 1 {
		if d *= 2; d >= q.MaxDelay {
			return q.MaxDelay
		}
	}
	return min(d, q.MaxDelay)
}

// RetryDelay returns how long a message waits after the given number of attempts, the last of which
// failed with err. This is the result of [Queue.DelayAfter] or err.RetryAfter, whichever is longer,
// but at most MaxDelay, because err.RetryAfter may come from another service.
func (q Queue) RetryDelay(attempts int, err *chassi.Error) time.Duration {
	return min(max(q.DelayAfter(attempts), err.RetryAfter), q.MaxDelay)
}

// Outcome is the action to be taken for a message after an attempt.
type Outcome int

// The outcomes of an attempt: the message is done, is attempted again, or becomes a dead letter.
const (
	Done Outcome = iota
	Retry
	DeadLetter
)

// Classify returns the outcome of the attempt with the given number, counted from 1, which ended
// with err. A nil err means success.
func (q Queue) Classify(err *chassi.Error, attempt int) Outcome {
	switch {
	case err == nil:
		return Done
	case isPermanent(err) || attempt >= q.MaxAttempts:
		return DeadLetter
	default:
		return Retry
	}
}

// isPermanent reports whether further attempts would also fail with err.
func isPermanent(err *chassi.Error) bool {
	if err.Is(ErrBodyTooLarge) || err.Is(ErrResponseTooLarge) {
		return true
	}
	switch err.Code {
	case chassi.InvalidArgument, chassi.NotFound, chassi.AlreadyExists, chassi.PermissionDenied, chassi.FailedPrecondition,
		chassi.OutOfRange, chassi.Unimplemented, chassi.DataLoss, chassi.Unauthenticated:
		return true
	default:
		return false
	}
}

// BrokerStats holds the statistics of a server or client of a message broker, for metrics.
type BrokerStats struct {
	Connected    map[string]bool   // whether each connection is up, by name: "requests", "responses", "work", "client"
	Reconnects   map[string]uint64 // number of times that each connection was restored, by name
	Consumers    int               // number of queues and subjects that are being consumed
	InFlight     int               // number of calls and messages in progress
	DeadLettered map[string]uint64 // number of messages dead-lettered so far, by work queue
}
