package amqpapi

import (
	"strconv"
	"strings"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/chassi-go/chassi/internal/broker"
	"github.com/chassi-go/chassi/transport"
)

// properties presents a delivery's properties and headers as metadata.
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

// only returns the value of the header key. ok is false if there is no such header, if its value is
// not text, or if it occurs in several spellings: a gateway that adds its own spelling also passes
// on its client's spelling.
func (p *properties) only(key string) (value string, ok bool) {
	for k, v := range p.Headers {
		if !strings.EqualFold(k, key) {
			continue
		}
		if ok {
			return "", false
		}
		value, ok = v.(string)
	}
	return value, ok
}

func (p *properties) Set(key, value string) {
	if strings.EqualFold(key, broker.ContentTypeKey) {
		p.ContentType = value
		return
	}
	if p.Headers == nil {
		p.Headers = make(amqp.Table)
	}
	p.Headers[key] = value
}

// publishing returns a message of pairs and a body. It omits pairs that AMQP cannot carry, that the
// broker would act on, or that would exceed maxHeaderBytes.
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

// maxShortString is the maximum length of a short string in AMQP 0.9.1 (section 4.2.5.3), the
// type of properties and header names.
const maxShortString = 255

func shortString(s string) string {
	if len(s) > maxShortString {
		return ""
	}
	return s
}

// setHeader sets a header if it may be sent and fits into free, the number of bytes left, which it
// updates.
func setHeader(headers amqp.Table, key, value string, free *int) {
	size := len(key) + len(value) + 6 // with two lengths and a type
	if key == "" || len(key) > maxShortString || size > *free || actsOnBroker(key) {
		return
	}
	*free -= size
	headers[key] = value
}

// brokerHeaders are the headers that RabbitMQ and its plugins act on, or set themselves. CC and BCC
// are further routing keys, which are used with the permissions of the sender.
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

// milliseconds formats a duration as an AMQP expiration, of at least 1 ms.
func milliseconds(d time.Duration) string { return strconv.FormatInt(max(d.Milliseconds(), 1), 10) }

// expiration returns how long after its arrival a message may wait for its call, and false if
// there is no limit. The broker drops the message if it expires in the queue.
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
