package amqpapi

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"os"
	"time"
)

// Config sets up a [Server]. The zero value of every field means the default in
// its tag.
type Config struct {
	URL    string `config:"url" mask:"url" help:"amqp://user:password@host:port/vhost, or amqps://; empty is no AMQP"`
	CAFile string `config:"ca_file" help:"CAs in PEM that may have signed the server's certificate, for amqps"`
	Prefix string `config:"prefix" help:"a word in front of exchange and queues, such as staging; callers need the same"`

	MaxMessageBytes int `config:"max_message_bytes" default:"1048576" min:"1" help:"a request; a longer one gets resource_exhausted"`
	MaxJSONDepth    int `config:"max_json_depth" default:"64" min:"1" max:"1000" help:"nesting of a JSON message"`
	MaxConcurrent   int `config:"max_concurrent" default:"64" min:"1" max:"65535" help:"calls at once, which is the prefetch"`

	// Expires deletes the queues of services, and the exchange with the last of them,
	// that nobody has used for so long. Default never: callers may be there before
	// the service. It is for tests.
	Expires time.Duration `config:"-"`
	// Logger takes what concerns no call. Default slog.Default().
	Logger *slog.Logger `config:"-"`
}

func (c Config) withDefaults() Config {
	setDefault(&c.MaxMessageBytes, 1<<20)
	setDefault(&c.MaxJSONDepth, 64)
	setDefault(&c.MaxConcurrent, 64)
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

// tlsConfig returns nil for the system's CAs.
func tlsConfig(caFile string) (*tls.Config, error) {
	if caFile == "" {
		return nil, nil //nolint:nilnil // the default
	}
	pem, err := os.ReadFile(caFile)
	if err != nil {
		return nil, fmt.Errorf("amqpapi: ca_file: %w", err)
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: x509.NewCertPool()}
	if !c.RootCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("amqpapi: ca_file: no certificate in PEM form in %s", caFile)
	}
	return c, nil
}

// exchangeName and queueName put the prefix in front.
func exchangeName(prefix string) string { return queueName(prefix, "chassi") }

func queueName(prefix, name string) string {
	if prefix == "" {
		return name
	}
	return prefix + "." + name
}
