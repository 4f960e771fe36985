package httpapi

import (
	"cmp"
	"log/slog"
	"net/netip"
	"time"

	"github.com/chassi-go/chassi/transport"
	"github.com/chassi-go/chassi/transport/certs"
)

// Config configures a [Server]. The zero value of every field means its default.
type Config struct {
	// Name identifies this server in logs and errors. The default is "http".
	Name string `config:"-"`

	Addr string      `config:"addr" default:"127.0.0.1:8080" format:"addr" help:"host:port to listen on; port 0 chooses a free port"`
	H2C  bool        `config:"h2c" help:"also accept HTTP/2 without TLS (prior knowledge)"`
	TLS  certs.Files `config:"tls"`
	CORS CORS        `config:"cors"`

	// Connect makes the server also serve endpoints over the Connect protocol, at POST
	// /package.Service/Method. These are all endpoints, with or without a route, except streams.
	// An endpoint that [chassi.Transports] limits is served only if both "http" and "grpc" are
	// among its transports. Connect requires ConnectCodec.
	Connect      bool         `config:"connect" help:"serve all endpoints but streams over the Connect protocol too, at POST /package.Service/Method, also those without a route"`
	ConnectCodec ConnectCodec `config:"-"` // connectapi.New(); required if Connect is set

	ReadHeaderTimeout       time.Duration `config:"read_header_timeout" default:"5s" min:"1ms" help:"maximum time to read the header of a request"`
	ReadTimeout             time.Duration `config:"read_timeout" default:"15s" min:"1ms" help:"maximum time to read a whole request, body included"`
	WriteTimeout            time.Duration `config:"write_timeout" default:"60s" min:"1ms" help:"maximum time from the end of the request header to the end of the response"`
	IdleTimeout             time.Duration `config:"idle_timeout" default:"2m" min:"1ms" help:"time after which an idle connection is closed"`
	MaxHeaderBytes          int           `config:"max_header_bytes" default:"16384" min:"1024" help:"maximum size of a request header in bytes; a larger one gets 431"`
	MaxBodyBytes            int64         `config:"max_body_bytes" default:"1048576" min:"1" help:"maximum size of a request body in bytes; a larger one gets 413"`
	MaxBodyBytesPerClient   int64         `config:"max_body_bytes_per_client" default:"33554432" min:"1" help:"maximum total size in bytes of the request bodies above 64 KiB that one client address (IPv6: /64) has in memory, from reading to the end of their calls; further ones get 429; the maximum for all clients is eight times that"`
	MaxJSONDepth            int           `config:"max_json_depth" default:"64" min:"1" max:"1000" help:"maximum nesting depth of a JSON body"`
	MaxConnections          int           `config:"max_connections" default:"10000" min:"1" help:"maximum number of open connections; further ones get 503 and are closed"`
	MaxConnectionsPerClient int           `config:"max_connections_per_client" default:"0" min:"0" help:"maximum number of open connections of one client address (IPv6: /64) that is not in trusted_proxies; 0 is a tenth of max_connections"`
	MaxResets               int           `config:"max_resets" default:"1000" min:"1" help:"number of calls that a client may reset on one HTTP/2 connection; the connection is closed after more resets, if they are more than half of its calls"`
	CompressMinBytes        int           `config:"compress_min_bytes" default:"1024" min:"1" help:"minimum size in bytes of responses that are compressed, if the client accepts gzip or zstd"`

	TrustedProxies  []netip.Prefix `config:"trusted_proxies" help:"networks of the proxies whose forwarding header is trusted"`
	ForwardedHeader string         `config:"forwarded_header" default:"x-forwarded-for" oneof:"x-forwarded-for,forwarded" help:"forwarding header that the trusted proxies set"`

	// Streams configures the streams of the server.
	Streams transport.StreamConfig `config:"-"`

	// Hosts, if not nil, makes the listener private. A private listener serves only requests for
	// localhost, an IP address or one of these host names, on any port, and requests that name no
	// host; requests for other hosts get 421. Cross-origin requests of browsers get 403.
	Hosts []string `config:"-"`

	// Logger receives the log lines that the middleware does not write, such as those about failed
	// handshakes and reloaded certificates. The default is slog.Default().
	Logger *slog.Logger `config:"-"`
}

func (c Config) withDefaults() Config {
	c.Name = cmp.Or(c.Name, "http")
	c.Addr = cmp.Or(c.Addr, "127.0.0.1:8080")
	c.ReadHeaderTimeout = cmp.Or(c.ReadHeaderTimeout, 5*time.Second)
	c.ReadTimeout = cmp.Or(c.ReadTimeout, 15*time.Second)
	c.WriteTimeout = cmp.Or(c.WriteTimeout, time.Minute)
	c.IdleTimeout = cmp.Or(c.IdleTimeout, 2*time.Minute)
	c.MaxHeaderBytes = cmp.Or(c.MaxHeaderBytes, 16<<10)
	c.MaxBodyBytes = cmp.Or(c.MaxBodyBytes, 1<<20)
	c.MaxBodyBytesPerClient = cmp.Or(c.MaxBodyBytesPerClient, 32<<20)
	c.MaxJSONDepth = cmp.Or(c.MaxJSONDepth, 64)
	c.MaxConnections = cmp.Or(c.MaxConnections, 10_000)
	c.MaxResets = cmp.Or(c.MaxResets, 1000)
	c.CompressMinBytes = cmp.Or(c.CompressMinBytes, 1<<10)
	c.ForwardedHeader = cmp.Or(c.ForwardedHeader, "x-forwarded-for")
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return c
}
