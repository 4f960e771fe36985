package amqpapi

import amqp "github.com/rabbitmq/amqp091-go"

// places limits the number of deliveries being handled. The prefetch count limits only those of one
// connection; after a reconnect, deliveries of the lost connection may still be in progress.
type places chan struct{}

// wait acquires a place, waiting for a free one. It returns false when gone or stopped is
// closed first: gone is closed with the channel of the delivery, which the broker then
// redelivers.
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

// leave releases a place.
func (p places) leave() { <-p }
