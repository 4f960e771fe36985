// Package natsembedded adds NATS to an App of package standard, and runs a NATS server in the
// process if the configuration requires it. It is a separate package so that services without an
// embedded NATS server do not link it.
package natsembedded

import (
	"github.com/chassi-go/chassi/config"
	"github.com/chassi-go/chassi/standard"
	"github.com/chassi-go/chassi/standard/natsserver"
	"github.com/chassi-go/chassi/transport"
	"github.com/chassi-go/chassi/transport/natsapi"
	"github.com/chassi-go/chassi/transport/natsapi/embedded"
)

// Config configures NATS and the embedded NATS server. It is the type of the field with the tag
// `config:"nats"` in the configuration of a program, in place of [natsserver.Config].
type Config struct {
	URL      string `config:"url" format:"urls:nats,tls,ws,wss|embedded|off" mask:"url" default:"off" help:"comma-separated list of nats://[user:password@]host:port; embedded runs a server in this process, off disables NATS"`
	Required bool   `config:"required" default:"false" help:"make the service not ready while NATS is unavailable, instead of degraded"`

	natsapi.Config
	Embedded embedded.Config `config:"embedded"`
}

// inProcess is the URL that selects the server in this process.
const inProcess = "embedded"

// Add makes app serve all of its services over NATS, unless c.URL is empty or "off". If c.URL is
// "embedded", it adds a NATS server in this process to app and returns that server; otherwise it
// returns nil. The settings of c must be in the group "nats".
func Add(app *standard.App, c Config) *embedded.Server {
	if c.URL != inProcess {
		natsserver.Add(app, natsserver.Config{URL: c.URL, Required: c.Required, Config: c.Config})
		return nil
	}
	c.Embedded.Logger = app.Logger
	server := embedded.New(c.Embedded)
	app.Listens(standard.Listener{
		Name: "nats", Setting: "nats.embedded.addr", Addr: c.Embedded.Addr,
		Risk: "passwords and tokens cross the network in clear: the NATS server in this process can be reached from other machines",
		Fix:  "listen on 127.0.0.1, or use a NATS server with TLS and accounts (nats.url), or accept it: exposure.accepted=nats",
	})
	app.Private("nats.embedded.store_dir", config.PrivateFile, c.Embedded.StoreDir)
	app.Descriptors("nats.embedded.max_connections", c.Embedded.MaxConnections, c.Embedded.MaxConnections)
	app.Add(server)
	n := c.Config
	n.URL, n.Broker = "", server
	natsserver.Serve(app, n, true)
	return server
}

// AddPublisher returns a publisher for the work queue q on server, which [Add] has returned. If
// server is nil, the work queue is on the NATS server at c.URL; if c.URL is then empty or "off",
// [standard.App.Run] returns an error. The App starts and stops the publisher.
func AddPublisher(app *standard.App, c Config, server *embedded.Server, q transport.Queue) *standard.Publisher {
	if server == nil {
		return natsserver.AddPublisher(app, natsserver.Config{URL: c.URL, Required: c.Required, Config: c.Config}, q)
	}
	n := c.Config
	n.URL, n.Broker = "", server
	return natsserver.Publish(app, n, q)
}
