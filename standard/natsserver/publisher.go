package natsserver

import (
	"fmt"

	"github.com/chassi-go/chassi/standard"
	"github.com/chassi-go/chassi/transport"
	"github.com/chassi-go/chassi/transport/natsapi"
)

// AddPublisher returns a publisher for the work queue q of the NATS server that c names. The
// App starts and stops it; NATS may be unavailable at the start. Messages pass through app.Outgoing.
func AddPublisher(app *standard.App, c Config, q transport.Queue) *standard.Publisher {
	if c.URL == "" || c.URL == off {
		app.Fail(fmt.Errorf("nats.url is off, but the work queue %q requires NATS", q.Name))
	}
	n := c.Config
	n.URL = c.URL
	return Publish(app, n, q)
}

// Publish is [AddPublisher] for the NATS server that c names, or c.Broker.
func Publish(app *standard.App, c natsapi.Config, q transport.Queue) *standard.Publisher {
	return app.AddPublisher(q, func() (standard.QueuePublisher, func(), error) {
		o := natsapi.ClientConfig{
			URL: c.URL, CAFile: c.CAFile, Prefix: c.Prefix, Login: c.Login, Options: c.Options, Logger: app.Logger,
		}
		if c.Broker != nil {
			o.Options = append(c.Broker.WorkOptions(), o.Options...)
		}
		client, err := natsapi.Open(o)
		if err != nil {
			return nil, nil, err //nolint:wrapcheck // says where
		}
		publisher, err := client.Publisher(q, app.Outgoing...)
		if err != nil {
			client.Close()
			return nil, nil, err //nolint:wrapcheck // says where
		}
		return publisher, client.Close, nil
	})
}
