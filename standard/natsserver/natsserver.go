// Package natsserver adds NATS to an App of package standard. It is a separate package so that
// services without NATS do not link it.
package natsserver

import (
	"errors"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/config"
	"github.com/chassi-go/chassi/standard"
	"github.com/chassi-go/chassi/transport/natsapi"
)

// Config configures NATS. It is the type of the field with the tag `config:"nats"` in the
// configuration of a program.
type Config struct {
	URL      string `config:"url" format:"urls:nats,tls,ws,wss|off" mask:"url" default:"off" help:"comma-separated list of nats://[user:password@]host:port; off disables NATS"`
	Required bool   `config:"required" default:"false" help:"make the service not ready while NATS is unavailable, instead of degraded"`

	natsapi.Config
}

// off is the URL that disables NATS.
const off = "off"

// Add makes app serve all of its services over NATS, unless c.URL is empty or "off". The settings
// of c must be in the group "nats". If they are invalid, [standard.App.Run] returns an error.
func Add(app *standard.App, c Config) {
	n := c.Config
	n.URL = c.URL
	app.Private("nats.credentials_file", config.PrivateFile, n.CredentialsFile)
	app.Private("nats.nkey_file", config.PrivateFile, n.NkeyFile)
	app.Private("nats.responses.credentials_file", config.PrivateFile, n.Responses.CredentialsFile)
	app.Private("nats.responses.nkey_file", config.PrivateFile, n.Responses.NkeyFile)
	app.Private("nats.ca_file", config.TrustedFile, n.CAFile)
	if c.URL == "" || c.URL == off {
		return
	}
	if len(n.TrustedClients) > 0 && !n.NamedClients {
		app.Fail(errors.New("nats.trusted_clients requires nats.named_clients, without which clients have no names"))
	}
	Serve(app, n, c.Required)
}

// Serve makes app serve all of its services over the NATS server at c.URL, or over c.Broker if that
// is set. If required is true, app is not ready while NATS is unavailable; otherwise it is
// degraded. If c is invalid, [standard.App.Run] returns an error.
func Serve(app *standard.App, c natsapi.Config, required bool) {
	c.Version, c.Logger, c.Timeout, c.Streams = app.Version, app.Logger, app.CallTimeout(), app.Streams()
	app.Fail(c.Validate())
	var err error
	c.Observe, err = app.Telemetry.RegisterEvents("nats_events_total", "Requests over NATS that were dropped, by the reason; bodies of dead letters.")
	app.Fail(err)
	app.AddTransport(standard.Transport{Optional: !required, New: func(middleware []chassi.Middleware) (chassi.Transport, error) {
		server := natsapi.New(c, middleware...)
		return server, app.ObserveBroker(server.Name(), server.Stats)
	}})
}
