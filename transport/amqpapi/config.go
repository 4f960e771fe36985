package amqpapi

import (
	"cmp"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"regexp"
	"slices"
	"time"

	"github.com/chassi-go/chassi/internal/contain"
)

// Config configures a [Server]. The zero value of a field means the default in its tag, if there is
// one.
type Config struct {
	URL       string    `config:"url" format:"url:amqp,amqps|off" mask:"url" help:"amqp://user:password@host:port/vhost, or amqps://; empty disables AMQP"`
	Responses Responses `config:"responses"`
	CAFile    string    `config:"ca_file" format:"file" help:"PEM file of the CAs that are trusted to sign the server's certificate, for amqps"`
	Prefix    string    `config:"prefix" help:"prefix of exchanges and queues, such as staging; clients need the same"`

	TrustedClients []string `config:"trusted_clients" help:"RabbitMQ users, such as that of a gateway, whose header X-Forwarded-For is trusted to name the client of a call"`
	ReplyQueues    string   `config:"reply_queues" default:"reply" help:"prefix of reply queues: responses are sent to direct reply-to and to the queues PREFIX.USER and PREFIX.USER.*, where USER is the user_id of the request (anonymous without one); off permits only direct reply-to"`

	MaxMessageBytes        int `config:"max_message_bytes" default:"1048576" min:"1" help:"maximum size of a request in bytes; a larger one gets resource_exhausted"`
	MaxJSONDepth           int `config:"max_json_depth" default:"64" min:"1" max:"1000" help:"maximum nesting depth of a JSON message"`
	MaxConcurrent          int `config:"max_concurrent" default:"128" min:"1" max:"65535" help:"maximum number of concurrent calls, which is also the prefetch count"`
	MaxConcurrentPerClient int `config:"max_concurrent_per_client" default:"0" min:"0" max:"65535" help:"maximum number of concurrent calls of one RabbitMQ user, and half of it for all requests without user_id together; further calls get resource_exhausted; 0 is half of max_concurrent"`
	MaxQueueLength         int `config:"max_queue_length" default:"10000" min:"1" help:"maximum number of requests in the queue of a service; the broker rejects further ones"`
	MaxQueueBytes          int `config:"max_queue_bytes" default:"67108864" min:"1" help:"maximum total size of the requests in the queue of a service in bytes"`

	// Expires is the time after which the unused queue of a service is deleted, together with the
	// exchange of the service. If it is 0, queues are never deleted, because clients may start
	// before the service. Expires is intended for tests.
	Expires time.Duration `config:"-"`
	// Observe, if not nil, is called for each event that an Event constant describes, with that
	// constant. It may be called concurrently, and must not block.
	Observe func(event string) `config:"-"`
	// Logger receives the log lines that the middleware does not write, such as those about lost
	// connections. The default is slog.Default().
	Logger *slog.Logger `config:"-"`
}

// Events passed to [Config].Observe.
const (
	EventResponseLost   = "response_lost"    // a response that could not be sent; no redelivery
	EventReplyToRefused = "reply_refused"    // a request whose reply_to is not allowed; the method is not called
	EventReplyToInvalid = "reply_to_invalid" // a direct reply-to address for which the broker closed a connection
	EventClientBusy     = "client_busy"      // a request that exceeds max_concurrent_per_client
	EventMalformed      = "malformed"        // an oversized request, or too many headers in a request or message
	EventExpired        = "expired"          // a request whose expiration passed before its call
	EventRedelivered    = "redelivered"      // a redelivered request that was not executed again
)

// Fixed limits.
const (
	maxHeaders       = 100       // headers of a request
	maxHeaderBytes   = 64 << 10  // bytes of the headers of a published message; a frame has at most 128 KiB
	maxResponseBytes = 16 << 20  // bytes of a response's body; the default max_message_size of RabbitMQ 4.x
	maxWorkLength    = 1_000_000 // messages in a work queue
	maxWorkBytes     = 1 << 30   // bytes in a work queue or in its dead-letter queue
	maxDeadMessages  = 100_000   // messages in a dead-letter queue
)

// maxLogged is the maximum length in bytes of a string from a client in a log line.
const maxLogged = 100

// short returns text, a string from a client, truncated to maxLogged bytes for a log line.
func short(text string) string {
	if len(text) > maxLogged {
		return text[:maxLogged] + "..."
	}
	return text
}

// replyQueuesOff is the value of Config.ReplyQueues that disallows all reply queues.
const replyQueuesOff = "off"

var (
	wordPattern = regexp.MustCompile(`^[a-zA-Z0-9_-]{1,50}$`)
	replyWords  = regexp.MustCompile(`^[a-zA-Z0-9_-]{1,50}(\.[a-zA-Z0-9_-]{1,50}){0,3}$`)
)

// Responses configures the separate connection for responses.
type Responses struct {
	URL string `config:"url" format:"url:amqp,amqps" mask:"url" help:"URL of the connection that sends responses; its user needs permission to write to amq.default only; empty is amqp.url"`
}

// Validate returns an error that names each invalid setting, or nil if all settings are valid. It
// reads the files that the settings name. It does not check the bounds in the tags.
func (c Config) Validate() error {
	var errs []error
	if c.Prefix != "" && !wordPattern.MatchString(c.Prefix) {
		errs = append(errs, fmt.Errorf("amqp.prefix (%q) must be one word of at most 50 letters, digits, _ and -", c.Prefix))
	}
	if c.ReplyQueues != "" && !replyWords.MatchString(c.ReplyQueues) {
		errs = append(errs, fmt.Errorf("amqp.reply_queues (%q) must be off, or at most four words with dots between, "+
			"each of at most 50 letters, digits, _ and -", c.ReplyQueues))
	}
	if slices.Contains(c.TrustedClients, "") {
		errs = append(errs, errors.New("amqp.trusted_clients contains an empty name: want the names of RabbitMQ users"))
	}
	tlsConfig, err := tlsConfig("amqp.ca_file", c.CAFile)
	errs = append(errs, err)
	for i, url := range []string{c.URL, c.Responses.URL} {
		if url == "" || i == 1 && url == c.URL {
			continue
		}
		if err := (&link{url: url, tls: tlsConfig}).validate(); err != nil {
			errs = append(errs, fmt.Errorf("%s%w", []string{"amqp.", "amqp.responses."}[i], err))
		}
	}
	return errors.Join(errs...)
}

func (c Config) withDefaults() Config {
	c.MaxMessageBytes = cmp.Or(c.MaxMessageBytes, 1<<20)
	c.MaxJSONDepth = cmp.Or(c.MaxJSONDepth, 64)
	c.MaxConcurrent = cmp.Or(c.MaxConcurrent, 128)
	c.MaxConcurrentPerClient = cmp.Or(c.MaxConcurrentPerClient, max(c.MaxConcurrent/2, 1))
	c.MaxQueueLength = cmp.Or(c.MaxQueueLength, 10_000)
	c.MaxQueueBytes = cmp.Or(c.MaxQueueBytes, 64<<20)
	c.ReplyQueues = cmp.Or(c.ReplyQueues, "reply")
	c.Responses.URL = cmp.Or(c.Responses.URL, c.URL)
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	observe, logger := c.Observe, c.Logger
	c.Observe = func(event string) {
		if observe != nil {
			contain.Run(logger, "the Observe function of an AMQP server", func() { observe(event) })
		}
	}
	return c
}

// tlsConfig returns a TLS configuration that trusts the CAs in caFile, the value of the named
// setting. If caFile is empty, it returns nil, which means that the system's CAs are trusted.
func tlsConfig(setting, caFile string) (*tls.Config, error) {
	if caFile == "" {
		return nil, nil //nolint:nilnil // the default
	}
	pem, err := os.ReadFile(caFile)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", setting, err)
	}
	c := &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: x509.NewCertPool()}
	if !c.RootCAs.AppendCertsFromPEM(pem) {
		return nil, fmt.Errorf("%s: %s contains no certificate in PEM form", setting, caFile)
	}
	return c, nil
}

// exchangeName returns the name of the exchange of a service. Each service has its own exchange, so
// that the permissions of its clients name only this exchange. The queue of the service has a
// different name, because permissions do not distinguish exchanges from queues.
func exchangeName(prefix, service string) string { return prefixed(prefix, service) }

func requestsQueue(prefix, service string) string { return prefixed(prefix, service) + ".requests" }

func prefixed(prefix, name string) string {
	if prefix == "" {
		return name
	}
	return prefix + "." + name
}
