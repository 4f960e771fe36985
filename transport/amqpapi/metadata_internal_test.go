package amqpapi

import (
	"testing"

	"github.com/chassi-go/chassi/internal/broker"
	"github.com/chassi-go/chassi/transport"
)

// What is set is what is read, also for the keys that are properties of a message.
func TestMetadataOfADelivery(t *testing.T) {
	t.Parallel()
	for _, key := range []string{"X-Tenant", "x-tenant", broker.ContentTypeKey, transport.IdempotencyKey, "idempotency-key"} {
		p := &properties{}
		p.MessageId = "sent"
		p.Set(key, "ours")
		if got := p.Get(key); got != "ours" {
			t.Errorf("%s: got %q, want %q", key, got, "ours")
		}
	}
}
