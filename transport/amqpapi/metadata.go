package amqpapi

import (
	"strconv"
	"strings"
	"time"

	"github.com/chassi-go/chassi/transport"
	"github.com/chassi-go/chassi/transport/message"
	amqp "github.com/rabbitmq/amqp091-go"
)

// properties shows a delivery's properties and headers as metadata.
type properties struct{ amqp.Delivery }

func (p *properties) Get(key string) string {
	if strings.EqualFold(key, message.ContentTypeKey) {
		return p.ContentType
	}
	if strings.EqualFold(key, message.IDKey) {
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

func (p *properties) Set(key, value string) {
	if strings.EqualFold(key, message.ContentTypeKey) {
		p.ContentType = value
		return
	}
	if p.Headers == nil {
		p.Headers = make(amqp.Table)
	}
	p.Headers[key] = value
}

// publishing makes a message of pairs and a body. It leaves out pairs that AMQP cannot
// carry or that the broker would act on.
func publishing(pairs transport.Pairs, body []byte) amqp.Publishing {
	p := amqp.Publishing{Body: body}
	if len(pairs) > 0 {
		p.Headers = make(amqp.Table, len(pairs))
	}
	room := maxHeaderBytes
	for _, pair := range pairs {
		switch {
		case strings.EqualFold(pair.Key, message.ContentTypeKey):
			p.ContentType = shortString(pair.Value)
		case strings.EqualFold(pair.Key, message.IDKey):
			p.MessageId = shortString(pair.Value)
		default:
			setHeader(p.Headers, pair.Key, pair.Value, &room)
		}
	}
	return p
}

// maxShortString is the length of a short string in AMQP 0.9.1 (section 4.2.5.3), as
// properties and the names of headers are.
const maxShortString = 255

func shortString(s string) string {
	if len(s) > maxShortString {
		return ""
	}
	return s
}

// setHeader sets a header if it may be sent and there is room for it.
func setHeader(headers amqp.Table, key, value string, room *int) {
	size := len(key) + len(value) + 6 // with two lengths and a type
	if key == "" || len(key) > maxShortString || size > *room || actsOnBroker(key) {
		return
	}
	*room -= size
	headers[key] = value
}

// brokerHeaders are those that RabbitMQ and its plugins act on. CC and BCC are further
// routing keys, which write with the rights of the sender; the others are what the
// broker itself keeps on a message.
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

// milliseconds is how AMQP writes an expiration.
func milliseconds(d time.Duration) string { return strconv.FormatInt(max(d.Milliseconds(), 1), 10) }

// expiration returns how long after its arrival a message may wait for its call, and
// false if it may wait for ever. The broker drops it earlier if it expires in the queue.
func expiration(d *amqp.Delivery) (time.Duration, bool) {
	if d.Expiration == "" {
		return 0, false
	}
	ms, err := strconv.ParseUint(d.Expiration, 10, 32) // the broker takes no other form
	if err != nil {
		return 0, false
	}
	return time.Duration(ms) * time.Millisecond, true
}
