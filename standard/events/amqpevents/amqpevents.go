// Package amqpevents lets a program deliver events through RabbitMQ, with events.backend=amqp.
// It is a separate package so that services without AMQP do not link it.
package amqpevents

import (
	"errors"

	"github.com/chassi-go/chassi/event"
	"github.com/chassi-go/chassi/event/amqpevents"
	"github.com/chassi-go/chassi/standard"
	"github.com/chassi-go/chassi/standard/amqpserver"
	"github.com/chassi-go/chassi/standard/events"
	"github.com/chassi-go/chassi/transport/amqpapi"
)

// Backend returns the backend "amqp", which uses the RabbitMQ broker at c.URL. If the backend is
// selected and c.URL is empty or "off", [standard.App.Run] returns an error.
func Backend(c amqpserver.Config) events.Backend {
	return events.Backend{Name: "amqp", Open: func(app *standard.App) (event.Backend, error) {
		if c.URL == "" || c.URL == "off" {
			return nil, errors.New("events.backend is amqp, which requires amqp.url")
		}
		return amqpevents.Open(amqpapi.ClientConfig{URL: c.URL, CAFile: c.CAFile, Prefix: c.Prefix, Logger: app.Logger}), nil
	}}
}
