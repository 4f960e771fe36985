package httpapi

import (
	"log/slog"
	"net/netip"
	"time"

	"github.com/chassi-go/chassi/transport/certs"
)

// Config sets up a [Server]. The zero value of every field means the default in
// its tag.
type Config struct {
	// Name tells this server from others in logs and errors. Default "http".
	Name string `config:"-"`

	Addr string      `config:"addr" default:"127.0.0.1:8080" help:"host:port to listen on; port 0 picks a free one"`
	H2C  bool        `config:"h2c" help:"accept HTTP/2 without TLS too (prior knowledge)"`
	TLS  certs.Files `config:"tls"`
	CORS CORS        `config:"cors"`

	ReadHeaderTimeout       time.Duration `config:"read_header_timeout" default:"5s" min:"1ms" help:"for a request's header"`
	ReadTimeout             time.Duration `config:"read_timeout" default:"15s" min:"1ms" help:"for a whole request, its body included"`
	WriteTimeout            time.Duration `config:"write_timeout" default:"60s" min:"1ms" help:"from the end of the header to the end of the answer"`
	IdleTimeout             time.Duration `config:"idle_timeout" default:"2m" min:"1ms" help:"for an idle connection"`
	MaxHeaderBytes          int           `config:"max_header_bytes" default:"16384" min:"1024" help:"a request's header; a longer one gets 431"`
	MaxBodyBytes            int64         `config:"max_body_bytes" default:"1048576" min:"1" help:"a request's body; a longer one gets 413"`
	MaxBodyBytesPerClient   int64         `config:"max_body_bytes_per_client" default:"33554432" min:"1" help:"request bodies of one client address (IPv6: /64) that are longer than 64 KiB, from reading to the end of their calls, together; further ones get 429; eight times that for all clients"`
	MaxJSONDepth            int           `config:"max_json_depth" default:"64" min:"1" max:"1000" help:"nesting of a JSON body"`
	MaxConnections          int           `config:"max_connections" default:"10000" min:"1" help:"open connections; further ones get 503 and are closed"`
	MaxConnectionsPerClient int           `config:"max_connections_per_client" default:"0" min:"0" help:"open connections of one client address (IPv6: /64), those in trusted_proxies excepted; 0 is a tenth of max_connections"`
	MaxResets               int           `config:"max_resets" default:"1000" min:"1" help:"calls that a client may reset on one HTTP/2 connection; with more, and more than half of all, it is closed"`
	CompressMinBytes        int           `config:"compress_min_bytes" default:"1024" min:"1" help:"answers of at least that size are compressed, if the client takes gzip or zstd"`

	TrustedProxies  []netip.Prefix `config:"trusted_proxies" help:"networks whose forwarding header is believed"`
	ForwardedHeader string         `config:"forwarded_header" default:"x-forwarded-for" oneof:"x-forwarded-for,forwarded" help:"the header that the trusted proxies write"`

	// Hosts makes the listener a private one, if it is not nil: only requests for
	// localhost, an IP address or one of these host names are served, on whatever port,
	// and none that a browser makes for a page of another origin. Others get 421 and 403.
	Hosts []string `config:"-"`

	// Logger takes what concerns no call: a failed handshake, reloaded
	// certificates. Default slog.Default().
	Logger *slog.Logger `config:"-"`
}

func (c Config) withDefaults() Config {
	setDefault(&c.Name, "http")
	setDefault(&c.Addr, "127.0.0.1:8080")
	setDefault(&c.ReadHeaderTimeout, 5*time.Second)
	setDefault(&c.ReadTimeout, 15*time.Second)
	setDefault(&c.WriteTimeout, time.Minute)
	setDefault(&c.IdleTimeout, 2*time.Minute)
	setDefault(&c.MaxHeaderBytes, 16<<10)
	setDefault(&c.MaxBodyBytes, 1<<20)
	setDefault(&c.MaxBodyBytesPerClient, 32<<20)
	setDefault(&c.MaxJSONDepth, 64)
	setDefault(&c.MaxConnections, 10_000)
	setDefault(&c.MaxResets, 1000)
	setDefault(&c.CompressMinBytes, 1<<10)
	setDefault(&c.ForwardedHeader, "x-forwarded-for")
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
