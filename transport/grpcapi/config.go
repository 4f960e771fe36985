package grpcapi

import (
	"cmp"
	"context"
	"log/slog"
	"net/netip"
	"time"

	"github.com/chassi-go/chassi/transport"
	"github.com/chassi-go/chassi/transport/certs"
)

// Config configures a [Server]. A zero value of a field with a default in its tag means this
// default. The zero Config is valid.
type Config struct {
	Addr string      `config:"addr" default:"127.0.0.1:9090" format:"addr|off" help:"host:port to listen on; port 0 chooses a free port, off disables gRPC"`
	TLS  certs.Files `config:"tls"`

	MaxMessageBytes         int           `config:"max_message_bytes" default:"1048576" min:"1" help:"maximum size of a request in bytes, after decompression; a larger one gets RESOURCE_EXHAUSTED"`
	MaxHeaderBytes          uint32        `config:"max_header_bytes" default:"16384" min:"1024" help:"maximum size of the metadata of a request in bytes"`
	MaxStreams              uint32        `config:"max_streams" default:"250" min:"1" help:"maximum number of concurrent calls on one connection; further calls wait at the client"`
	MaxStreamsPerClient     int           `config:"max_streams_per_client" default:"1000" min:"1" help:"maximum number of concurrent calls of one client address (IPv6: /64) on all of its connections, counted from their metadata on; further calls get RESOURCE_EXHAUSTED"`
	MaxConnections          int           `config:"max_connections" default:"5000" min:"1" help:"maximum number of open connections; further ones are closed"`
	MaxConnectionsPerClient int           `config:"max_connections_per_client" default:"0" min:"0" help:"maximum number of open connections of one client address (IPv6: /64) that is not in trusted_proxies; 0 is a tenth of max_connections"`
	MaxResets               int           `config:"max_resets" default:"1000" min:"1" help:"number of calls that a client may reset on one connection; the connection is closed after more resets, if they are more than half of its calls"`
	MaxControlFrames        int           `config:"max_control_frames" default:"10000" min:"100" help:"maximum number of control frames, such as PING and SETTINGS, on one connection in excess of what its calls need; with more it is closed"`
	ConnectionTimeout       time.Duration `config:"connection_timeout" default:"5s" min:"1ms" help:"maximum time of the handshake of a connection, and to receive the metadata of a call"`
	CallTimeout             time.Duration `config:"call_timeout" default:"60s" min:"1ms" help:"maximum time from the metadata of a call to the end of its response; a client that reads nothing for that long is disconnected"`
	IdleTimeout             time.Duration `config:"idle_timeout" default:"15m" min:"1s" help:"time after which a connection without calls is closed"`
	MaxConnectionAge        time.Duration `config:"max_connection_age" default:"30m" min:"1s" help:"age at which a client must reconnect; its calls may finish"`
	PingInterval            time.Duration `config:"ping_interval" default:"2m" min:"1s" help:"inactivity after which a ping checks the connection; the client has 20s to answer"`
	MinPingInterval         time.Duration `config:"min_ping_interval" default:"10s" min:"1s" help:"minimum interval between the pings of a client; a client that pings more often is disconnected"`
	Reflection              *bool         `config:"reflection" default:"true" help:"serve server reflection, which lists the methods and their messages"`

	TrustedProxies  []netip.Prefix `config:"trusted_proxies" help:"networks of the proxies whose forwarding header is trusted"`
	ForwardedHeader string         `config:"forwarded_header" default:"x-forwarded-for" oneof:"x-forwarded-for,forwarded" help:"forwarding header that the trusted proxies set"`

	// Streams configures the streams of endpoints made with [chassi.NewStream]. A zero field means
	// its default.
	Streams transport.StreamConfig `config:"-"`
	// Ready reports whether the server accepts new work, for the health service. It is called at
	// most once per second. Nil means that the server is always ready.
	Ready func(context.Context) bool `config:"-"`
	// Logger receives the log lines that the middleware does not write. The default is
	// slog.Default().
	Logger *slog.Logger `config:"-"`
}

func (c Config) withDefaults() Config {
	c.Addr = cmp.Or(c.Addr, "127.0.0.1:9090")
	c.MaxMessageBytes = cmp.Or(c.MaxMessageBytes, 1<<20)
	c.MaxHeaderBytes = cmp.Or(c.MaxHeaderBytes, 16<<10)
	c.MaxStreams = cmp.Or(c.MaxStreams, 250)
	c.MaxStreamsPerClient = cmp.Or(c.MaxStreamsPerClient, 1000)
	c.MaxConnections = cmp.Or(c.MaxConnections, 5000)
	c.MaxResets = cmp.Or(c.MaxResets, 1000)
	c.MaxControlFrames = cmp.Or(c.MaxControlFrames, 10_000)
	c.ConnectionTimeout = cmp.Or(c.ConnectionTimeout, 5*time.Second)
	c.CallTimeout = cmp.Or(c.CallTimeout, time.Minute)
	c.IdleTimeout = cmp.Or(c.IdleTimeout, 15*time.Minute)
	c.MaxConnectionAge = cmp.Or(c.MaxConnectionAge, 30*time.Minute)
	c.PingInterval = cmp.Or(c.PingInterval, 2*time.Minute)
	c.MinPingInterval = cmp.Or(c.MinPingInterval, 10*time.Second)
	c.ForwardedHeader = cmp.Or(c.ForwardedHeader, transport.XForwardedFor)
	c.Reflection = cmp.Or(c.Reflection, new(true))
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return c
}
