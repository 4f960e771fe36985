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

// Config configures a [Server]. The zero value of a field means the default in its tag, if there is
// one.
type Config struct {
	// URL is the URL of a NATS server, nats://[user:password@]host:port, or several such URLs
	// separated by commas. The schemes tls, ws and wss are also supported. The default is
	// nats://127.0.0.1:4222. URL is not one of the settings of Config, because programs have a
	// separate setting for it.
	URL string `config:"-"`

	Login
	CAFile string `config:"ca_file" format:"file" help:"PEM file of the CAs that are trusted to sign the server's certificate; enables TLS"`

	// Responses configures the separate connection for responses. If it is set, the user of the
	// connection for requests needs no permission to publish unless there are work queues, and the
	// user of the connection for responses needs only this permission.
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
	MaxQueuedPerClient     int `config:"max_queued_per_client" default:"0" min:"0" help:"maximum number of calls of one named client that wait to run; further calls get unavailable; 0 is three quarters of max_queued"`

	// Broker is a NATS server that manages the permissions for services, such as the server of
	// package embedded. It replaces URL, the credentials, ReplySubjects and NamedClients.
	Broker Broker `config:"-"`
	// Timeout is the timeout of the calls of endpoints that set no timeout. It is only reported to
	// Broker, which must pass on the responses that arrive within this time; middleware enforces
	// timeouts.
	Timeout time.Duration `config:"-"`
	// Streams configures the streams of the endpoints made with [chassi.NewStream].
	Streams transport.StreamConfig `config:"-"`
	// Version is the version of the program. Service discovery reports the three numbers at its
	// beginning, "1.2.3" for "1.2.3", "v1.2.3" or "v1.2.3-rc.1", and "0.0.0" if there are none.
	Version string `config:"-"`
	// Options are additional options for the client library, for example nats.InProcessServer.
	Options []nats.Option `config:"-"`
	// Logger receives the log lines that the middleware does not write, such as those about lost
	// connections. The default is slog.Default().
	Logger *slog.Logger `config:"-"`
	// Observe, if not nil, is called with "reply_refused" for each request that is dropped because
	// of its reply subject, with "name_refused" for each request that is dropped because the name
	// of its client is too long, and with "body_dropped" for each message of a work queue that is
	// dead-lettered without its body. It may be called concurrently, and must not block.
	Observe func(event string) `config:"-"`
}

// Login holds the credentials of a connection. If it is the zero value, the user and password in
// the URL are used, if any.
type Login struct {
	CredentialsFile string `config:"credentials_file" format:"file" help:".creds file with JWT and key"`
	NkeyFile        string `config:"nkey_file" format:"file" help:"file with the seed of an nkey"`
}

// Responses configures the URL and the credentials of the connection for responses. If it is the
// zero value, this connection uses the URL and the credentials of the connection for requests.
type Responses struct {
	URL string `config:"url" format:"urls:nats,tls,ws,wss" mask:"url" help:"URL like nats.url, with a user that is permitted to publish responses only; empty is nats.url"`

	Login
}

// Broker is a NATS server that gives every client a separate account. A client may use only the
// subjects of services and of service discovery ($SRV.>). The Broker forwards a request of the
// client NAME as from.NAME.SUBJECT, with a reply subject below _R_.
type Broker interface {
	// Serve permits clients to call subjects. longest is the longest timeout of their endpoints;
	// 0 means the default of the Broker. The Broker must pass on the responses that arrive within
	// this time.
	Serve(subjects []string, longest time.Duration) error
	// ServeStreams permits clients to open streams on subjects, and to publish to
	// SUBJECT.stream.*.* to control these streams. longest is as in Serve. The Broker must pass on
	// the messages of a stream unless the stream has been silent for longer than silence.
	ServeStreams(subjects []string, longest, silence time.Duration) error
	// Clients calls added with the name of each present client, and returns an error if added does.
	// Until stop is called, it also calls added with the name of each new client, before the client
	// can connect, and removed with the name of each deleted client. A new client for which added
	// returns an error cannot connect; added is called again with its name later.
	Clients(added func(name string) error, removed func(name string)) (stop func(), err error)
	// RequestOptions returns the options for a connection that may only receive requests.
	RequestOptions() []nats.Option
	// ResponseOptions returns the options for a connection that may only publish below _R_.
	ResponseOptions() []nats.Option
	// WorkOptions returns the options for a connection that may use work queues.
	WorkOptions() []nats.Option
}

var prefixWords = regexp.MustCompile(`^[a-zA-Z0-9_-]{1,50}(\.[a-zA-Z0-9_-]{1,50}){0,3}$`)

// Validate checks the prefix, the reply subjects, the URLs and the files that the settings name,
// which it reads. It returns an error that names the invalid settings, or nil if all are valid.
// With a Broker, it checks only the prefix. It does not check the ranges of numbers.
func (c Config) Validate() error {
	_, replies := newReplies(c.withDefaults().ReplySubjects)
	if c.Prefix != "" && !prefixWords.MatchString(c.Prefix) {
		replies = errors.Join(replies, fmt.Errorf("natsapi: prefix %q: want at most four dot-separated words, each of 1 to 50 letters, digits, _ and -, such as staging", c.Prefix))
	}
	if c.Broker != nil {
		return replies
	}
	_, own := login("", c.Login, c.CAFile)
	_, responses := login("responses.", c.Responses.Login, "")
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

// options returns the connection options for the credentials c. It returns an error if a file
// cannot be read, or if the nkey file contains no seed. prefix precedes the name of the setting in
// the error.
func (c Login) options(prefix string) ([]nats.Option, error) {
	var options []nats.Option
	if c.CredentialsFile != "" { // the library reads the file only at login
		if _, err := os.ReadFile(c.CredentialsFile); err != nil {
			return nil, fmt.Errorf("natsapi: %scredentials_file: %w", prefix, err)
		}
		options = append(options, nats.UserCredentials(c.CredentialsFile))
	}
	if c.NkeyFile != "" {
		key, err := nats.NkeyOptionFromSeed(c.NkeyFile)
		if err != nil {
			return nil, fmt.Errorf("natsapi: %snkey_file %q: %w", prefix, c.NkeyFile, err)
		}
		options = append(options, key)
	}
	return options, nil
}
