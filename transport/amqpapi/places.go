package amqpapi

import amqp "github.com/rabbitmq/amqp091-go"

// places limits the number of deliveries that are handled at once. The prefetch count is not
// sufficient: it applies to a single connection, and after a reconnect, deliveries of the lost
// connection may still be in progress.
type places chan struct{}

// wait waits for a free place and acquires it. It returns false if gone or stopped is closed first.
// gone is closed together with the channel of the delivery; the broker then redelivers the message.
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

// leave releases a place that wait has acquired.
func (p places) leave() { <-p }
