package message

import (
	"fmt"
	"regexp"
	"time"

	"github.com/chassi-go/chassi"
)

// IDKey names the id under which a message of a [Queue] was published. A method
// finds it with chassi.CallFrom(ctx).In.Get(message.IDKey): a message may come
// twice, after a crash between the work and its acknowledgement, and with the id
// of what is done kept where the work is kept, it is done once.
const IDKey = "Idempotency-Key"

// TriesKey and the error's headers stand on a message that was put aside.
const TriesKey = "Tries"

// Queue is durable work: each message calls an endpoint until a call succeeds,
// with growing delays between. A message whose fault is permanent, or that has
// used up its tries, is put aside for people to look at.
type Queue struct {
	Name     string        // letters, digits, "_" and "-"
	Tries    int           // calls of a message; default 5
	Delay    time.Duration // before the second try, doubled for each further one; default 1 s
	MaxDelay time.Duration // default 1 minute
	Timeout  time.Duration // for one try; default 30 s
}

var queueName = regexp.MustCompile(`^[a-zA-Z0-9_-]{1,100}$`)

// WithDefaults returns q complete, or an error for a name that is none.
func (q Queue) WithDefaults() (Queue, error) {
	if !queueName.MatchString(q.Name) {
		return q, fmt.Errorf("queue name %q: want letters, digits, _ and -", q.Name)
	}
	if q.Tries <= 0 {
		q.Tries = 5
	}
	for d, otherwise := range map[*time.Duration]time.Duration{&q.Delay: time.Second, &q.MaxDelay: time.Minute, &q.Timeout: 30 * time.Second} {
		if *d <= 0 {
			*d = otherwise
		}
	}
	return q, nil
}

// DelayAfter returns how long a message waits after that many tries.
func (q Queue) DelayAfter(tries int) time.Duration {
	d := q.Delay
	for range tries - 1 {
		if d *= 2; d >= q.MaxDelay {
			return q.MaxDelay
		}
	}
	return min(d, q.MaxDelay)
}

// Verdict is what becomes of a message after a try.
type Verdict int

// The three of them.
const (
	Done Verdict = iota
	Retry
	PutAside
)

// Judge returns the verdict on a message after its try number tries failed with
// err, nil for success.
func (q Queue) Judge(err *chassi.Error, tries int) Verdict {
	switch {
	case err == nil:
		return Done
	case isPermanent(err.Code) || tries >= q.Tries:
		return PutAside
	default:
		return Retry
	}
}

// isPermanent tells whether a further try would end the same.
func isPermanent(code chassi.Code) bool {
	switch code {
	case chassi.InvalidArgument, chassi.NotFound, chassi.AlreadyExists, chassi.PermissionDenied, chassi.FailedPrecondition,
		chassi.OutOfRange, chassi.Unimplemented, chassi.DataLoss, chassi.Unauthenticated:
		return true
	default:
		return false
	}
}
