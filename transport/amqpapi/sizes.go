package amqpapi

import (
	"errors"
	"regexp"
	"strconv"
	"sync/atomic"

	amqp "github.com/rabbitmq/amqp091-go"
)

// sizes records what is known about the broker's max_message_size. The broker reports this limit
// only when it refuses a message, and then closes the channel. While the limit is unknown, a
// message that is larger than both usualSize and every accepted message therefore uses a separate
// channel, so that a refusal affects no other message. The zero value is ready to use. sizes is
// safe for concurrent use.
type sizes struct {
	accepted atomic.Int64 // size in bytes of the largest message that the broker has accepted
	limit    atomic.Int64 // max_message_size in bytes, 0 if unknown
}

// usualSize is the size in bytes up to which messages are assumed to be accepted while the broker's
// limit is unknown.
const usualSize = 64 << 10

// fits reports whether the broker is known, or assumed because of usualSize, to accept messages of
// n bytes.
func (s *sizes) fits(n int) bool {
	limit := s.limit.Load()
	return n <= int(s.accepted.Load()) || n <= usualSize && limit == 0 || limit != 0 && n <= int(limit)
}

// exceeds reports whether the broker is known to refuse messages of n bytes.
func (s *sizes) exceeds(n int) bool {
	limit := s.limit.Load()
	return limit != 0 && n > int(limit)
}

// accept records that the broker has accepted a message of n bytes.
func (s *sizes) accept(n int) {
	for old := s.accepted.Load(); int64(n) > old && !s.accepted.CompareAndSwap(old, int64(n)); {
		old = s.accepted.Load()
	}
}

// forget resets s for a new connection, because the broker's configuration may have changed.
func (s *sizes) forget() {
	s.limit.Store(0)
	s.accepted.Store(0)
}

// sizeRefused matches RabbitMQ's reason for refusing a message because of its size, and captures
// the limit (rabbit_channel:check_msg_size).
var sizeRefused = regexp.MustCompile(`message size \d+ is larger than (?:configured )?max size (\d+)`)

// refused reports whether err means that the broker has refused a message because of its size. If
// so, refused records the broker's limit.
func (s *sizes) refused(err error) bool {
	reason, ok := errors.AsType[*amqp.Error](err)
	if !ok || reason == nil || reason.Code != amqp.PreconditionFailed {
		return false
	}
	found := sizeRefused.FindStringSubmatch(reason.Reason)
	if found == nil {
		return false
	}
	limit, err := strconv.ParseInt(found[1], 10, 64)
	if err != nil || limit <= 0 {
		return false
	}
	s.limit.Store(limit)
	s.accepted.Store(min(s.accepted.Load(), limit))
	return true
}
