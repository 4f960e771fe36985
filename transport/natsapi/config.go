package natsapi

import (
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/nats-io/nats.go"
)

// Config sets up a [Server]. The zero value of every field means the default in
// its tag.
type Config struct {
	// URL is nats://[user:password@]host:port, several with commas between. Default
	// nats://127.0.0.1:4222. Programs have a setting of their own for it.
	URL string `config:"-"`

	CredentialsFile string `config:"credentials_file" help:"a .creds file with JWT and key"`
	CAFile          string `config:"ca_file" help:"CAs in PEM that may have signed the server's certificate; turns TLS on"`

	Prefix string `config:"prefix" help:"words in front of all subjects, such as staging; callers need the same"`

	MaxMessageBytes int `config:"max_message_bytes" default:"1048576" min:"1" help:"a request; a longer one gets resource_exhausted"`
	MaxJSONDepth    int `config:"max_json_depth" default:"64" min:"1" max:"1000" help:"nesting of a JSON message"`
	MaxConcurrent   int `config:"max_concurrent" default:"128" min:"1" help:"calls at once"`
	MaxQueued       int `config:"max_queued" default:"1024" min:"1" help:"calls that wait for that; further ones get unavailable"`

	// Version is told to the discovery of services: digits and dots, "1.2.3".
	Version string `config:"-"`
	// Options go to the client library too, such as nats.InProcessServer.
	Options []nats.Option `config:"-"`
	// Logger takes what concerns no call. Default slog.Default().
	Logger *slog.Logger `config:"-"`
}

func (c Config) withDefaults() Config {
	setDefault(&c.URL, nats.DefaultURL)
	setDefault(&c.MaxMessageBytes, 1<<20)
	setDefault(&c.MaxJSONDepth, 64)
	setDefault(&c.MaxConcurrent, 128)
	setDefault(&c.MaxQueued, 1024)
	setDefault(&c.Version, "0.0.0")
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

// login are the options that name who connects, and how securely.
func login(credentialsFile, caFile string) []nats.Option {
	var options []nats.Option
	if credentialsFile != "" {
		options = append(options, nats.UserCredentials(credentialsFile))
	}
	if caFile != "" {
		options = append(options, nats.RootCAs(caFile))
	}
	return options
}

// lasting are the options of a connection that is made again whenever it is lost.
func lasting(name string, logger *slog.Logger) []nats.Option {
	return []nats.Option{
		nats.Name(name), nats.MaxReconnects(-1), nats.ReconnectWait(200 * time.Millisecond), nats.ReconnectJitter(100*time.Millisecond, 300*time.Millisecond),
		nats.IgnoreAuthErrorAbort(), nats.Timeout(5 * time.Second), nats.PingInterval(20 * time.Second),
		nats.DisconnectErrHandler(func(_ *nats.Conn, err error) {
			if err != nil {
				logger.Warn("NATS: disconnected, connecting again", "error", err.Error())
			}
		}),
		nats.ConnectHandler(func(c *nats.Conn) { logger.Debug("NATS: connected", "server", c.ConnectedUrlRedacted()) }),
		nats.ReconnectHandler(func(c *nats.Conn) { logger.Info("NATS: connected again", "server", c.ConnectedUrlRedacted()) }),
		nats.ErrorHandler(func(_ *nats.Conn, s *nats.Subscription, err error) {
			subject := ""
			if s != nil {
				subject = s.Subject
			}
			logger.Error("NATS", "error", err.Error(), "subject", subject)
		}),
	}
}

// connect keeps trying until ctx ends: a service may start before its broker.
func connect(ctx context.Context, url string, logger *slog.Logger, options []nats.Option) (*nats.Conn, error) {
	for told := false; ; {
		c, err := nats.Connect(url, options...)
		if err == nil {
			return c, nil
		}
		err = withoutURL(err)
		if !told {
			logger.Warn("waiting for NATS", "error", err.Error())
			told = true
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("natsapi: connect to %s: %w", redact(url), err)
		case <-time.After(300 * time.Millisecond):
		}
	}
}
