package amqpapi

import amqp "github.com/rabbitmq/amqp091-go"

// places bounds the deliveries that are being handled. The prefetch bounds those of one
// connection; after a reconnect, those of the lost connection may still be under way.
type places chan struct{}

// wait takes a place, waiting for one while there is none. It returns false when gone or
// stopped is closed first: gone with the channel of the delivery, which the broker then
// delivers again.
func (p places) wait(gone <-chan *amqp.Error, stopped <-chan struct{}) bool {
	select {
	case p <- struct{}{}:
		return true
	default:
	}
	select {
	case p <- struct{}{}:
		return true
	case <-gone: //nolint:errcheck // whatever the reason
	case <-stopped:
	}
	return false
}

// leave gives a place back.
func (p places) leave() { <-p }
