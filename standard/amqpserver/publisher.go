package amqpserver

import (
	"fmt"

	"github.com/chassi-go/chassi/standard"
	"github.com/chassi-go/chassi/transport"
	"github.com/chassi-go/chassi/transport/amqpapi"
)

// AddPublisher returns a publisher for the work queue q on the RabbitMQ broker at the URL in
// settings. The App starts and stops the publisher; RabbitMQ may be unavailable at the start.
// Messages pass through app.Outgoing. If the URL is empty or "off", [standard.App.Run] returns an
// error.
func AddPublisher(app *standard.App, settings Config, q transport.Queue) *standard.Publisher {
	c := settings.Config
	if c.URL == "" || c.URL == off {
		app.Fail(fmt.Errorf("the work queue %q requires RabbitMQ: set amqp.url", q.Name))
	}
	return app.AddPublisher(q, func() (standard.QueuePublisher, func(), error) {
		client, err := amqpapi.Open(amqpapi.ClientConfig{URL: c.URL, CAFile: c.CAFile, Prefix: c.Prefix, Logger: app.Logger})
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
