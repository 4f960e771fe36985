package amqpapi_test

import (
	"strings"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/chassi-go/chassi/transport/amqpapi"
)

const goodAddress = "amq.rabbitmq.reply-to.g1h2AA1yZXBseUA5MjQ4ODg0AAAUlAAAAABrByCf.zrH/plOzARjI0ccUFEcz/A=="

func TestParseDirect(t *testing.T) {
	t.Parallel()
	if node, ok := amqpapi.ParseDirect(goodAddress); !ok || node != "reply@9248884" {
		t.Errorf("an address of RabbitMQ 3.10: %q, %v", node, ok)
	}
	if node, ok := amqpapi.ParseDirect(unknownNode(123, "zrH/plOzARjI0ccUFEcz/A==")); !ok || node != "reply@123" {
		t.Errorf("another node: %q, %v", node, ok)
	}
	for _, bad := range malformed(goodAddress) {
		if node, ok := amqpapi.ParseDirect(bad); ok {
			t.Errorf("%q is taken, node %q", bad, node)
		}
	}
}

func TestReplyQueues(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		queue, root, user string
		want              bool
	}{
		{"reply.ann", "reply", "ann", true},
		{"reply.ann.1", "reply", "ann", true},
		{"reply.ann.a.b", "reply", "ann", true},
		{"staging.reply.ann", "staging.reply", "ann", true},
		{"reply.anonymous.1", "reply", "", true},
		{"reply.ann", "off", "ann", false},
		{"reply.ann", "reply", "", false},
		{"reply.anna", "reply", "ann", false},
		{"reply.bob", "reply", "ann", false},
		{"replyxann", "reply", "ann", false},
		{"reply.", "reply", "", false},
		{"reply", "reply", "ann", false},
		{"reply.a.b", "reply", "a.b", false}, // may be the queue of user a
		{"reply..1", "reply", ".", false},
		{"", "reply", "ann", false},
	} {
		if got := amqpapi.IsReplyQueue(c.queue, c.root, c.user); got != c.want {
			t.Errorf("%q of %q below %q: %v", c.queue, c.user, c.root, got)
		}
	}
}

func FuzzParseDirect(f *testing.F) {
	for _, address := range append(malformed(goodAddress), goodAddress, "reply.ann.1") {
		f.Add(address)
	}
	f.Fuzz(func(t *testing.T, address string) {
		node, ok := amqpapi.ParseDirect(address)
		if !ok {
			return
		}
		digits, found := strings.CutPrefix(node, "reply@")
		if !found || strings.Trim(digits, "0123456789") != "" || strings.Count(address, ".") != 4 || strings.Trim(address[len("amq.rabbitmq.reply-to."):], "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/=.") != "" {
			t.Errorf("%q is taken, node %q", address, node)
		}
	})
}

// A header that occurs in several spellings is not used, whatever the values are and in whatever
// order the map is read.
func TestHeaderInSeveralSpellings(t *testing.T) {
	t.Parallel()
	for range 100 {
		for _, other := range []any{"192.0.2.1", 7, nil} {
			if value, ok := amqpapi.Only(amqp.Table{"X-Forwarded-For": "192.0.2.2", "x-forwarded-for": other}, "X-Forwarded-For"); ok {
				t.Fatalf("beside %v: %q is used", other, value)
			}
		}
	}
	if value, ok := amqpapi.Only(amqp.Table{"x-forwarded-for": "192.0.2.2"}, "X-Forwarded-For"); !ok || value != "192.0.2.2" {
		t.Errorf("one header: %q, %v", value, ok)
	}
}
