package amqpapi

import (
	"strconv"
	"strings"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/chassi-go/chassi/internal/broker"
	"github.com/chassi-go/chassi/transport"
)

// properties implements [chassi.Metadata] with the properties and headers of a delivery.
type properties struct{ amqp.Delivery }

func (p *properties) Get(key string) string {
	if strings.EqualFold(key, broker.ContentTypeKey) {
		return p.ContentType
	}
	if strings.EqualFold(key, transport.IdempotencyKey) {
		return p.MessageId
	}
	if v, ok := p.Headers[key]; ok {
		text, _ := v.(string)
		return text
	}
	for k, v := range p.Headers {
		if strings.EqualFold(k, key) {
			text, _ := v.(string)
			return text
		}
	}
	return ""
}

// only returns the value of the header whose name equals key, ignoring case. ok is false if there
// is no such header, if its value is not text, or if it occurs in several spellings: one of them
// may come from a client whose gateway adds the header in another spelling.
func (p *properties) only(key string) (value string, ok bool) {
	found := 0
	for k, v := range p.Headers {
		if strings.EqualFold(k, key) {
			found++
			value, ok = v.(string)
		}
	}
	if found != 1 {
		return "", false
	}
	return value, ok
}

func (p *properties) Set(key, value string) {
	switch {
	case strings.EqualFold(key, broker.ContentTypeKey):
		p.ContentType = value
	case strings.EqualFold(key, transport.IdempotencyKey):
		p.MessageId = value
	default:
		if p.Headers == nil {
			p.Headers = make(amqp.Table)
		}
		p.Headers[key] = value
	}
}

// publishing returns a message with the given body and with pairs as its properties and headers. It
// omits pairs that AMQP cannot carry, that the broker would act on, or that would exceed
// maxHeaderBytes.
func publishing(pairs transport.Pairs, body []byte) amqp.Publishing {
	p := amqp.Publishing{Body: body}
	if len(pairs) > 0 {
		p.Headers = make(amqp.Table, len(pairs))
	}
	free := maxHeaderBytes
	for _, pair := range pairs {
		switch {
		case strings.EqualFold(pair.Key, broker.ContentTypeKey):
			p.ContentType = shortString(pair.Value)
		case strings.EqualFold(pair.Key, transport.IdempotencyKey):
			p.MessageId = shortString(pair.Value)
		default:
			setHeader(p.Headers, pair.Key, pair.Value, &free)
		}
	}
	return p
}

// maxShortString is the maximum length in bytes of a short string, which is the type of properties
// and header names (AMQP 0.9.1, section 4.2.5.3).
const maxShortString = 255

func shortString(s string) string {
	if len(s) > maxShortString {
		return ""
	}
	return s
}

// setHeader sets a header and reduces *free, the number of bytes left for headers, by its size. It
// omits a header that AMQP cannot carry, that the broker would act on, or that is larger than
// *free.
func setHeader(headers amqp.Table, key, value string, free *int) {
	size := len(key) + len(value) + 6 // with two lengths and a type
	if key == "" || len(key) > maxShortString || size > *free || actsOnBroker(key) {
		return
	}
	*free -= size
	headers[key] = value
}

// brokerHeaders are the headers that RabbitMQ and its plugins act on or set themselves. CC and BCC
// hold further routing keys, which RabbitMQ uses with the permissions of the sender.
var brokerHeaders = []string{
	"CC", "BCC", "x-death", "x-delivery-count", "x-acquired-count", "x-first-death-queue", "x-first-death-exchange", "x-first-death-reason",
	"x-last-death-queue", "x-last-death-exchange", "x-last-death-reason", "x-delay", "x-deduplication-header",
}

func actsOnBroker(key string) bool {
	for _, name := range brokerHeaders {
		if strings.EqualFold(name, key) {
			return true
		}
	}
	return false
}

// milliseconds returns d in milliseconds, at least 1, in the format of the AMQP property
// expiration.
func milliseconds(d time.Duration) string { return strconv.FormatInt(max(d.Milliseconds(), 1), 10) }

// expiration returns the maximum time from the arrival of a message to its call, and false if there
// is no limit. A message that expires in the queue is dropped by the broker.
func expiration(d *amqp.Delivery) (time.Duration, bool) {
	if d.Expiration == "" {
		return 0, false
	}
	ms, err := strconv.ParseUint(d.Expiration, 10, 32) // the broker accepts no other format
	if err != nil {
		return 0, false
	}
	return time.Duration(ms) * time.Millisecond, true
}
