package grpcapi

import (
	"context"
	"log/slog"
	"net/netip"
	"time"

	"github.com/chassi-go/chassi/transport"
	"github.com/chassi-go/chassi/transport/certs"
)

// Config sets up a [Server]. The zero value of every field means the default in
// its tag.
type Config struct {
	Addr string      `config:"addr" default:"127.0.0.1:9090" help:"host:port to listen on; port 0 picks a free one, off is no gRPC"`
	TLS  certs.Files `config:"tls"`

	MaxMessageBytes         int           `config:"max_message_bytes" default:"1048576" min:"1" help:"a request, after decompression; a longer one gets RESOURCE_EXHAUSTED"`
	MaxHeaderBytes          uint32        `config:"max_header_bytes" default:"16384" min:"1024" help:"a request's metadata"`
	MaxStreams              uint32        `config:"max_streams" default:"250" min:"1" help:"calls at once on one connection; further ones wait at the client"`
	MaxStreamsPerClient     int           `config:"max_streams_per_client" default:"1000" min:"1" help:"calls at once of one client address (IPv6: /64) on all of its connections, from their metadata on; further ones get RESOURCE_EXHAUSTED"`
	MaxConnections          int           `config:"max_connections" default:"10000" min:"1" help:"open connections; further ones are closed"`
	MaxConnectionsPerClient int           `config:"max_connections_per_client" default:"0" min:"0" help:"open connections of one client address (IPv6: /64), those in trusted_proxies excepted; 0 is a tenth of max_connections"`
	MaxResets               int           `config:"max_resets" default:"1000" min:"1" help:"calls that a client may reset on one connection; with more, and more than half of all, it is closed"`
	MaxControlFrames        int           `config:"max_control_frames" default:"10000" min:"100" help:"pings, settings and the like on one connection, beyond what its calls account for; with more it is closed"`
	ConnectionTimeout       time.Duration `config:"connection_timeout" default:"5s" min:"1ms" help:"for the handshake of a connection, and for a call's metadata"`
	CallTimeout             time.Duration `config:"call_timeout" default:"60s" min:"1ms" help:"from a call's metadata to the end of its answer; a client that takes no byte for so long is disconnected"`
	IdleTimeout             time.Duration `config:"idle_timeout" default:"15m" min:"1s" help:"for a connection without calls"`
	MaxConnectionAge        time.Duration `config:"max_connection_age" default:"30m" min:"1s" help:"then a client has to connect again; its calls may end"`
	PingInterval            time.Duration `config:"ping_interval" default:"2m" min:"1s" help:"from silence to the ping that tells a dead connection; it has 20s for its answer"`
	MinPingInterval         time.Duration `config:"min_ping_interval" default:"10s" min:"1s" help:"a client that pings more often is disconnected"`
	NoReflection            bool          `config:"no_reflection" help:"tell nobody which methods there are"`

	TrustedProxies  []netip.Prefix `config:"trusted_proxies" help:"networks whose forwarding header is believed"`
	ForwardedHeader string         `config:"forwarded_header" default:"x-forwarded-for" oneof:"x-forwarded-for,forwarded" help:"the header that the trusted proxies write"`

	// Ready tells the health service whether new work is welcome. It is asked at
	// most once a second. Nil is yes.
	Ready func(context.Context) bool `config:"-"`
	// Logger takes what concerns no call. Default slog.Default().
	Logger *slog.Logger `config:"-"`
}

func (c Config) withDefaults() Config {
	setDefault(&c.Addr, "127.0.0.1:9090")
	setDefault(&c.MaxMessageBytes, 1<<20)
	setDefault(&c.MaxHeaderBytes, 16<<10)
	setDefault(&c.MaxStreams, 250)
	setDefault(&c.MaxStreamsPerClient, 1000)
	setDefault(&c.MaxConnections, 10_000)
	setDefault(&c.MaxResets, 1000)
	setDefault(&c.MaxControlFrames, 10_000)
	setDefault(&c.ConnectionTimeout, 5*time.Second)
	setDefault(&c.CallTimeout, time.Minute)
	setDefault(&c.IdleTimeout, 15*time.Minute)
	setDefault(&c.MaxConnectionAge, 30*time.Minute)
	setDefault(&c.PingInterval, 2*time.Minute)
	setDefault(&c.MinPingInterval, 10*time.Second)
	setDefault(&c.ForwardedHeader, transport.XForwardedFor)
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return c
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}
