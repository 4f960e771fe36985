// Package amqpserver adds RabbitMQ to an App of package standard. It is a separate package so
// that services without AMQP do not link it.
package amqpserver

import (
	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/config"
	"github.com/chassi-go/chassi/standard"
	"github.com/chassi-go/chassi/transport/amqpapi"
)

// Config configures AMQP. It is the type of the field with the tag `config:"amqp"` in the
// configuration of a program.
type Config struct {
	Required bool `config:"required" default:"false" help:"make the service not ready while the broker is unavailable, instead of degraded"`

	amqpapi.Config
}

// off is the URL that disables AMQP.
const off = "off"

// Add makes app serve all of its services over AMQP, unless the URL in settings is empty or "off".
// The settings must be in the group "amqp". If they are invalid, [standard.App.Run] returns an
// error.
func Add(app *standard.App, settings Config) {
	c := settings.Config
	if c.URL == "" || c.URL == off {
		return
	}
	app.Private("amqp.ca_file", config.TrustedFile, c.CAFile)
	app.Fail(c.Validate())
	c.Logger = app.Logger
	var err error
	c.Observe, err = app.Telemetry.RegisterEvents("amqp_events_total", "Requests over AMQP that were not carried out, and responses that were not sent.")
	app.Fail(err)
	app.AddTransport(standard.Transport{Optional: !settings.Required, New: func(middleware []chassi.Middleware) (chassi.Transport, error) {
		server := amqpapi.New(c, middleware...)
		return server, app.ObserveBroker(server.Name(), server.Stats)
	}})
}
