package amqpapi

import (
	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/transport"
	"github.com/chassi-go/chassi/transport/message"
	amqp "github.com/rabbitmq/amqp091-go"
)

// FaultOf returns the error that an answer says, nil for none.
func FaultOf(d amqp.Delivery) error {
	var out transport.Pairs
	code, ok := d.Headers[message.CodeKey].(string)
	if !ok {
		return nil
	}
	out.Set(message.CodeKey, code)
	return new(message.Remote).Read(&chassi.Call{Out: &out}, d.Body)
}
