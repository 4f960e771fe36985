package natsapi

import (
	"errors"
	"fmt"
	"log/slog"
	"os"
	"time"

	"github.com/nats-io/nats.go"
)

// Config sets up a [Server]. The zero value of every field means the default in
// its tag.
type Config struct {
	// URL is nats://[user:password@]host:port, several with commas between. Default
	// nats://127.0.0.1:4222. Programs have a setting of their own for it.
	URL string `config:"-"`

	Login
	CAFile string `config:"ca_file" help:"CAs in PEM that may have signed the server's certificate; turns TLS on"`

	// Answers are sent over a connection of their own, so that the user that receives
	// requests needs no right to publish, and this one no other right.
	Answers       Answers  `config:"answers"`
	ReplySubjects []string `config:"reply_subjects" default:"_INBOX.>,_R_.>" help:"subjects that answers may go to; a request that wants its answer elsewhere is dropped"`

	NamedClients   bool     `config:"named_clients" help:"requests arrive on from.NAME.SUBJECT, where the NATS server lets nobody but the client NAME (at most 64 bytes) publish: limits and lockouts count by client"`
	TrustedClients []string `config:"trusted_clients" help:"names of the clients whose X-Forwarded-For is believed: gateways, which call for others"`

	Prefix string `config:"prefix" help:"words in front of all subjects, such as staging; callers need the same"`

	MaxMessageBytes int `config:"max_message_bytes" default:"1048576" min:"1" help:"a request; a longer one gets resource_exhausted"`
	MaxJSONDepth    int `config:"max_json_depth" default:"64" min:"1" max:"1000" help:"nesting of a JSON message"`
	MaxConcurrent   int `config:"max_concurrent" default:"128" min:"1" help:"calls at once"`
	MaxQueued       int `config:"max_queued" default:"1024" min:"1" help:"calls that wait for that; further ones get unavailable"`
	MaxClientShare  int `config:"max_client_share" default:"75" min:"1" max:"100" help:"percent of max_concurrent and of max_queued that one named client may use"`

	// Broker is a NATS server that knows which services it serves, such as package
	// embedded's. It replaces URL, the credentials, ReplySubjects and NamedClients.
	Broker Broker `config:"-"`
	// Deadline is that of endpoints that have none of their own. The Broker passes answers on
	// for longer than it.
	Deadline time.Duration `config:"-"`
	// Version is told to the discovery of services: digits and dots, "1.2.3".
	Version string `config:"-"`
	// Options go to the client library too, such as nats.InProcessServer.
	Options []nats.Option `config:"-"`
	// Logger takes what concerns no call. Default slog.Default().
	Logger *slog.Logger `config:"-"`
	// Observe is called with "reply_refused" for each request that was dropped because of
	// its reply subject, and with "name_refused" for each whose client has a name that is
	// too long. It must not block. Default: nothing.
	Observe func(event string) `config:"-"`
}

// Login says who connects. Its zero value means the user and password in the URL, if any.
type Login struct {
	CredentialsFile string `config:"credentials_file" help:"a .creds file with JWT and key"`
	NkeyFile        string `config:"nkey_file" help:"a file with the seed of an nkey"`
}

// Answers says how the connection that sends answers logs in.
type Answers struct {
	URL string `config:"url" mask:"url" help:"as nats.url, with the user that may publish answers and nothing else; empty is nats.url"`

	Login
}

// Broker is a NATS server which gives every client an account of its own, lets it call the
// subjects of services and of their discovery ($SRV.>) only, and passes its requests on as
// from.NAME.SUBJECT with a reply subject below _R_.
type Broker interface {
	// Serve lets clients call subjects. The longest deadline of an endpoint among them is
	// longest, 0 if none has one of its own; answers within that time must be passed on.
	Serve(subjects []string, longest time.Duration) error
	// Clients calls added with the name of each client there is, and later of each further
	// one before it can connect, and removed with the name of one that is gone. A client
	// that added returns an error for is not let in, and added is called again later. It
	// does so until stop is called.
	Clients(added func(name string) error, removed func(name string)) (stop func(), err error)
	// RequestOptions connect a user that receives requests and can do nothing else.
	RequestOptions() []nats.Option
	// AnswerOptions connect a user that can publish below _R_ and can do nothing else.
	AnswerOptions() []nats.Option
	// WorkOptions connect a user of work queues.
	WorkOptions() []nats.Option
}

// Validate returns an error that names each setting that no broker could make work.
func (c Config) Validate() error {
	_, replies := newReplies(c.withDefaults().ReplySubjects)
	if c.Broker != nil {
		return replies
	}
	_, _, _, logins := c.logins()
	return errors.Join(checkURL("url", c.URL), checkURL("answers.url", c.Answers.URL), replies, logins)
}

func (c Config) withDefaults() Config {
	setDefault(&c.URL, nats.DefaultURL)
	setDefault(&c.MaxMessageBytes, 1<<20)
	setDefault(&c.MaxJSONDepth, 64)
	setDefault(&c.MaxConcurrent, 128)
	setDefault(&c.MaxQueued, 1024)
	setDefault(&c.MaxClientShare, 75)
	setDefault(&c.Version, "0.0.0")
	if len(c.ReplySubjects) == 0 {
		c.ReplySubjects = []string{nats.InboxPrefix + ">", replyOfImport}
	}
	if c.Broker != nil {
		c.NamedClients, c.ReplySubjects = true, []string{replyOfImport}
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	if c.Observe == nil {
		c.Observe = func(string) {}
	}
	return c
}

// replyOfImport are the reply subjects that a NATS server gives to requests from other
// accounts.
const replyOfImport = "_R_.>"

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// options are the connection options that c stands for.
func (c Login) options() ([]nats.Option, error) {
	var options []nats.Option
	if c.CredentialsFile != "" { // which the library reads only when it logs in
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
