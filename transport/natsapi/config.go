package natsapi

import (
	"cmp"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"regexp"
	"time"

	"github.com/nats-io/nats.go"

	"github.com/chassi-go/chassi/internal/contain"
	"github.com/chassi-go/chassi/transport"
)

// Config configures a [Server]. The zero value of every field means the default in its tag.
type Config struct {
	// URL is nats://[user:password@]host:port, or several separated by commas. The default is
	// nats://127.0.0.1:4222. Programs have a separate setting for it.
	URL string `config:"-"`

	Login
	CAFile string `config:"ca_file" format:"file" help:"PEM file of the CAs that are trusted to sign the server's certificate; enables TLS"`

	// Responses configures the separate connection for responses, so that the user that receives
	// requests needs no permission to publish, and the user of this connection needs no other
	// permission.
	Responses     Responses `config:"responses"`
	ReplySubjects []string  `config:"reply_subjects" default:"_INBOX.>,_R_.>" help:"permitted reply subjects; a request with another reply subject is dropped"`

	NamedClients   bool     `config:"named_clients" help:"receive requests on from.NAME.SUBJECT, where the NATS server permits only the client NAME (at most 64 bytes) to publish: limits and lockouts then apply to each client"`
	TrustedClients []string `config:"trusted_clients" help:"names of the clients, such as gateways, whose X-Forwarded-For is trusted"`

	Prefix string `config:"prefix" help:"prefix of all subjects and streams, work queues included, such as staging; clients and publishers need the same"`

	MaxMessageBytes        int `config:"max_message_bytes" default:"1048576" min:"1" help:"maximum size of a request in bytes; a larger one gets resource_exhausted"`
	MaxJSONDepth           int `config:"max_json_depth" default:"64" min:"1" max:"1000" help:"maximum nesting depth of a JSON message"`
	MaxConcurrent          int `config:"max_concurrent" default:"128" min:"1" help:"maximum number of concurrent calls"`
	MaxQueued              int `config:"max_queued" default:"1024" min:"1" help:"maximum number of calls that wait to run; further calls get unavailable"`
	MaxConcurrentPerClient int `config:"max_concurrent_per_client" default:"0" min:"0" help:"maximum number of concurrent calls of one named client; 0 is three quarters of max_concurrent"`
	MaxQueuedPerClient     int `config:"max_queued_per_client" default:"0" min:"0" help:"maximum number of calls of one named client that wait to run; further calls get resource_exhausted; 0 is three quarters of max_queued"`

	// Broker is a NATS server that manages the permissions for services, such as the server of
	// package embedded. It replaces URL, the credentials, ReplySubjects and NamedClients.
	Broker Broker `config:"-"`
	// Timeout is the timeout of endpoints without a timeout of their own. The Broker passes
	// responses on for longer than that.
	Timeout time.Duration `config:"-"`
	// Streams configures the streams of the endpoints made with [chassi.NewStream].
	Streams transport.StreamConfig `config:"-"`
	// Version is reported by service discovery: digits and dots, "1.2.3".
	Version string `config:"-"`
	// Options are passed to the client library, for example nats.InProcessServer.
	Options []nats.Option `config:"-"`
	// Logger receives log lines that concern no single call. The default is slog.Default().
	Logger *slog.Logger `config:"-"`
	// Observe is called with "reply_refused" for each request that was dropped because of its
	// reply subject, with "name_refused" for each whose client name is too long, and with
	// "body_dropped" for each message of a work queue whose dead letter has lost its body. It
	// must not block. It may be nil.
	Observe func(event string) `config:"-"`
}

// Login holds credentials. The zero value means the user and password in the URL, if any.
type Login struct {
	CredentialsFile string `config:"credentials_file" format:"file" help:".creds file with JWT and key"`
	NkeyFile        string `config:"nkey_file" format:"file" help:"file with the seed of an nkey"`
}

// Responses holds the credentials of the connection for responses.
type Responses struct {
	URL string `config:"url" format:"urls:nats,tls,ws,wss" mask:"url" help:"URL like nats.url, with a user that is permitted to publish responses only; empty is nats.url"`

	Login
}

// Broker is a NATS server that gives every client an account of its own, permits it only the
// subjects of services and of service discovery ($SRV.>), and forwards its requests as
// from.NAME.SUBJECT with a reply subject below _R_.
type Broker interface {
	// Serve permits clients to call subjects. Longest is the longest timeout of their
	// endpoints; 0 means the default of the broker. Responses within that time must be passed on.
	Serve(subjects []string, longest time.Duration) error
	// ServeStreams permits clients to open the streams subjects, and to publish to
	// SUBJECT.stream.*.* to control them. The messages of a stream must be passed on unless it has
	// been silent for longer than silence.
	ServeStreams(subjects []string, longest, silence time.Duration) error
	// Clients calls added with the name of each client, present and future, before it can
	// connect, and removed with the name of each deleted client, until stop is called. A client
	// for which added returns an error cannot connect, and added is called again later.
	Clients(added func(name string) error, removed func(name string)) (stop func(), err error)
	// RequestOptions returns the connection options of a user that may only receive requests.
	RequestOptions() []nats.Option
	// ResponseOptions returns the connection options of a user that may only publish below _R_.
	ResponseOptions() []nats.Option
	// WorkOptions returns the connection options of a user of work queues.
	WorkOptions() []nats.Option
}

var prefixWords = regexp.MustCompile(`^[a-zA-Z0-9_-]{1,50}(\.[a-zA-Z0-9_-]{1,50}){0,3}$`)

// Validate returns an error that names each invalid setting.
func (c Config) Validate() error {
	_, replies := newReplies(c.withDefaults().ReplySubjects)
	if c.Prefix != "" && !prefixWords.MatchString(c.Prefix) {
		replies = errors.Join(replies, fmt.Errorf("natsapi: prefix %q: want dot-separated words of letters, digits, _ and -, such as staging", c.Prefix))
	}
	if c.Broker != nil {
		return replies
	}
	_, own := login(c.Login, c.CAFile)
	_, responses := login(c.Responses.Login, "")
	return errors.Join(checkURL("url", c.URL), checkURL("responses.url", c.Responses.URL), replies, own, responses)
}

func (c Config) withDefaults() Config {
	c.URL = cmp.Or(c.URL, nats.DefaultURL)
	c.MaxMessageBytes = cmp.Or(c.MaxMessageBytes, 1<<20)
	c.MaxJSONDepth = cmp.Or(c.MaxJSONDepth, 64)
	c.MaxConcurrent = cmp.Or(c.MaxConcurrent, 128)
	c.MaxQueued = cmp.Or(c.MaxQueued, 1024)
	c.MaxConcurrentPerClient = cmp.Or(c.MaxConcurrentPerClient, max(c.MaxConcurrent*3/4, 1))
	c.MaxQueuedPerClient = cmp.Or(c.MaxQueuedPerClient, max(c.MaxQueued*3/4, 1))
	c.Version = cmp.Or(c.Version, "0.0.0")
	if len(c.ReplySubjects) == 0 {
		c.ReplySubjects = []string{nats.InboxPrefix + ">", replyOfImport}
	}
	if c.Broker != nil {
		c.NamedClients, c.ReplySubjects = true, []string{replyOfImport}
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	observe, logger := c.Observe, c.Logger
	c.Observe = func(event string) {
		if observe != nil {
			contain.Run(logger, "the Observe function of a NATS server", func() { observe(event) })
		}
	}
	return c
}

// replyOfImport matches the reply subjects that a NATS server assigns to requests from other
// accounts.
const replyOfImport = "_R_.>"

// options returns the connection options for c.
func (c Login) options() ([]nats.Option, error) {
	var options []nats.Option
	if c.CredentialsFile != "" { // the library reads the file only at login
		if _, err := os.ReadFile(c.CredentialsFile); err != nil {
			return nil, fmt.Errorf("natsapi: credentials_file: %w", err)
		}
		options = append(options, nats.UserCredentials(c.CredentialsFile))
	}
	if c.NkeyFile != "" {
		key, err := nats.NkeyOptionFromSeed(c.NkeyFile)
		if err != nil {
			return nil, fmt.Errorf("natsapi: nkey_file %q: %w", c.NkeyFile, err)
		}
		options = append(options, key)
	}
	return options, nil
}
