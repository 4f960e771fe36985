// Package natsevents lets a program deliver events through NATS JetStream, with
// events.backend=nats. It is a separate package so that services without NATS do not link it.
package natsevents

import (
	"errors"

	"github.com/chassi-go/chassi/event"
	"github.com/chassi-go/chassi/event/natsevents"
	"github.com/chassi-go/chassi/standard"
	"github.com/chassi-go/chassi/standard/events"
	"github.com/chassi-go/chassi/standard/natsembedded"
	"github.com/chassi-go/chassi/transport/natsapi"
	"github.com/chassi-go/chassi/transport/natsapi/embedded"
)

// Backend returns the backend "nats". The backend uses server, which natsembedded.Add has returned,
// or the NATS server at c.URL if server is nil. If the backend is selected although server is nil
// and c.URL is empty or "off", [standard.App.Run] returns an error.
func Backend(c natsembedded.Config, server *embedded.Server) events.Backend {
	return events.Backend{Name: "nats", Open: func(app *standard.App) (event.Backend, error) {
		client := natsapi.ClientConfig{URL: c.URL, CAFile: c.CAFile, Prefix: c.Prefix, Login: c.Login, Options: c.Options, Logger: app.Logger}
		switch {
		case server != nil:
			client.URL, client.Options = "", append(server.WorkOptions(), client.Options...)
		case c.URL == "" || c.URL == "off":
			return nil, errors.New("events.backend is nats, which requires nats.url")
		}
		return natsevents.Open(client)
	}}
}
