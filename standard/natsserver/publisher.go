package natsserver

import (
	"fmt"

	"github.com/chassi-go/chassi/standard"
	"github.com/chassi-go/chassi/transport"
	"github.com/chassi-go/chassi/transport/natsapi"
)

// AddPublisher returns a publisher for the work queue q on the NATS server at c.URL. The App starts
// and stops the publisher; NATS may be unavailable at the start. Messages pass through
// app.Outgoing. If c.URL is empty or "off", [standard.App.Run] returns an error.
func AddPublisher(app *standard.App, c Config, q transport.Queue) *standard.Publisher {
	if c.URL == "" || c.URL == off {
		app.Fail(fmt.Errorf("the work queue %q requires NATS: set nats.url", q.Name))
	}
	n := c.Config
	n.URL = c.URL
	return Publish(app, n, q)
}

// Publish returns a publisher for the work queue q on the NATS server at c.URL, or on c.Broker if
// that is set. The App starts and stops the publisher; NATS may be unavailable at the start.
// Messages pass through app.Outgoing.
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
