package amqpapi

import (
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"regexp"
	"slices"
	"time"
)

// Config sets up a [Server]. The zero value of every field means the default in
// its tag.
type Config struct {
	URL        string `config:"url" mask:"url" help:"amqp://user:password@host:port/vhost, or amqps://; empty is no AMQP"`
	AnswersURL string `config:"answers_url" mask:"url" help:"the same, for the connection that sends answers; its user needs to write to amq.default and nothing else; empty is amqp.url"`
	CAFile     string `config:"ca_file" help:"CAs in PEM that may have signed the server's certificate, for amqps"`
	Prefix     string `config:"prefix" help:"a word in front of exchanges and queues, such as staging; callers need the same"`

	TrustedClients []string `config:"trusted_clients" help:"RabbitMQ users, such as a gateway's, whose header X-Forwarded-For names the client that a call is made for"`
	ReplyQueues    string   `config:"reply_queues" default:"reply" help:"answers go to direct reply-to and to the queues THIS.USER and THIS.USER.*, where USER is the user_id of the request (anonymous without one); off is direct reply-to alone"`

	MaxMessageBytes int `config:"max_message_bytes" default:"1048576" min:"1" help:"a request; a longer one gets resource_exhausted"`
	MaxJSONDepth    int `config:"max_json_depth" default:"64" min:"1" max:"1000" help:"nesting of a JSON message"`
	MaxConcurrent   int `config:"max_concurrent" default:"128" min:"1" max:"65535" help:"calls at once, which is the prefetch"`
	MaxPerClient    int `config:"max_per_client" default:"0" min:"0" max:"65535" help:"calls at once for one RabbitMQ user, and half of it for all requests without user_id together; further ones get resource_exhausted; 0 is half of max_concurrent"`
	MaxQueueLength  int `config:"max_queue_length" default:"10000" min:"1" help:"requests that wait in the queue of a service; the broker refuses further ones to their publisher"`
	MaxQueueBytes   int `config:"max_queue_bytes" default:"67108864" min:"1" help:"bytes of the requests that wait in the queue of a service"`

	// Expires deletes the queues of services, and the exchanges with the last of their
	// queues, that nobody has used for so long. Default never: callers may be there
	// before the service. It is for tests.
	Expires time.Duration `config:"-"`
	// Observe, if not nil, is called for each [Event]. It must not block.
	Observe func(event string) `config:"-"`
	// Logger takes what concerns no call. Default slog.Default().
	Logger *slog.Logger `config:"-"`
}

// What [Config].Observe is given.
const (
	EventAnswerLost     = "answer_lost"      // an answer could not be sent; its request is not repeated
	EventReplyToRefused = "reply_refused"    // a request whose reply_to is not allowed; it is not carried out
	EventReplyToInvalid = "reply_to_invalid" // a direct reply-to address at which the broker closed the connection
	EventClientBusy     = "client_busy"      // a request beyond max_per_client
	EventMalformed      = "malformed"        // a request that is too long or has too many headers
	EventExpired        = "expired"          // a request whose expiration passed before its call
	EventRedelivered    = "redelivered"      // a request that came again and was not carried out again
)

// Bounds that have no setting.
const (
	maxHeaders      = 100      // of a request
	maxHeaderBytes  = 64 << 10 // of a message that is sent; frames of RabbitMQ hold 128 KiB
	maxAnswerBytes  = 16 << 20 // the least max_message_size among RabbitMQ's defaults (4.x)
	maxWorkLength   = 1_000_000
	maxWorkBytes    = 1 << 30
	maxDeadMessages = 100_000
)

// maxLogged bounds a text of a client in a log.
const maxLogged = 100

// short cuts a text of a client for the log.
func short(text string) string {
	if len(text) > maxLogged {
		return text[:maxLogged] + "..."
	}
	return text
}

// replyQueuesOff is the value of Config.ReplyQueues that allows no queue.
const replyQueuesOff = "off"

var (
	wordPattern = regexp.MustCompile(`^[a-zA-Z0-9_-]{1,50}$`)
	replyWords  = regexp.MustCompile(`^[a-zA-Z0-9_-]{1,50}(\.[a-zA-Z0-9_-]{1,50}){0,3}$`)
)

// Validate returns an error that names each setting with a wrong value.
func (c Config) Validate() error {
	var errs []error
	if c.Prefix != "" && !wordPattern.MatchString(c.Prefix) {
		errs = append(errs, fmt.Errorf("amqp.prefix (%q) must be one word of at most 50 letters, digits, _ and -", c.Prefix))
	}
	if c.ReplyQueues != "" && !replyWords.MatchString(c.ReplyQueues) {
		errs = append(errs, fmt.Errorf("amqp.reply_queues (%q) must be words of letters, digits, _ and - with dots between, such as reply, or off", c.ReplyQueues))
	}
	if slices.Contains(c.TrustedClients, "") {
		errs = append(errs, errors.New("amqp.trusted_clients has an empty name; it must have names of RabbitMQ users"))
	}
	tlsConfig, err := tlsConfig(c.CAFile)
	errs = append(errs, err)
	for _, url := range []string{c.URL, c.AnswersURL} {
		if url != "" {
			errs = append(errs, (&link{url: url, tls: tlsConfig}).validate())
		}
	}
	return errors.Join(errs...)
}

func (c Config) withDefaults() Config {
	setDefault(&c.MaxMessageBytes, 1<<20)
	setDefault(&c.MaxJSONDepth, 64)
	setDefault(&c.MaxConcurrent, 128)
	setDefault(&c.MaxPerClient, max(c.MaxConcurrent/2, 1))
	setDefault(&c.MaxQueueLength, 10_000)
	setDefault(&c.MaxQueueBytes, 64<<20)
	setDefault(&c.ReplyQueues, "reply")
	setDefault(&c.AnswersURL, c.URL)
	if c.Observe == nil {
		c.Observe = func(string) {}
	}
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

// The names on the broker. A service has an exchange of its own, so that the rights
// of its callers name nothing but it, and its queue has another name than the
// exchange, because rights do not tell the two apart.
func exchangeName(prefix, service string) string { return prefixed(prefix, service) }

func requestsQueue(prefix, service string) string { return prefixed(prefix, service) + ".requests" }

func prefixed(prefix, name string) string {
	if prefix == "" {
		return name
	}
	return prefix + "." + name
}
