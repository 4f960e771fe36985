package embedded

import (
	"encoding/base64"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nkeys"
)

// Names of accounts and subjects. A client has a separate account and cannot see other clients. The
// request of the client NAME on SUBJECT arrives in the account of the service as from.NAME.SUBJECT;
// the server, not the client, sets this subject. The response uses a subject below _R_, which the
// server maps to the account of the client.
const (
	serviceAccount = "service"
	clientAccount  = "client-" // prefix of an account's name, followed by the client's name
	fromPrefix     = "from."
)

// Constants of service discovery.
const (
	discovery        = "$SRV.>"        // pattern of the subjects
	discoveryTimeout = 5 * time.Second // time for which the responses to a request are forwarded
)

// streamControl is the suffix of the subjects on which clients control their streams. Its wildcards
// match the ID of an instance and the ID of a stream.
const streamControl = ".stream.*.*"

// Permissions of the users of this process, and of clients. Each user of this process has only the
// permissions for its purpose.
var (
	nothing = &server.SubjectPermission{Deny: []string{">"}}

	requestRights = &server.Permissions{
		Publish:   nothing,
		Subscribe: &server.SubjectPermission{Allow: []string{fromPrefix + ">"}},
	}
	responseRights = &server.Permissions{
		Publish:   &server.SubjectPermission{Allow: []string{"_R_.>"}},
		Subscribe: nothing,
	}
	workRights = &server.Permissions{
		Publish:   &server.SubjectPermission{Allow: workSubjects()},
		Subscribe: &server.SubjectPermission{Allow: []string{"_INBOX.>"}},
	}
	clientRights = &server.Permissions{
		Publish:   &server.SubjectPermission{Deny: []string{"$JS.>", "$SYS.>", "_R_.>", "_INBOX.>", fromPrefix + ">"}},
		Subscribe: &server.SubjectPermission{Allow: []string{"_INBOX.>"}},
	}
)

// maxPrefix is the maximum number of words in natsapi.Config.Prefix.
const maxPrefix = 4

// workSubjects returns patterns of the subjects to which the user of work queues may publish: the
// subjects of JetStream, and the subjects of work queues, dead letters and events after a prefix of
// at most maxPrefix words.
func workSubjects() []string {
	subjects := []string{"$JS.API.>", "$JS.ACK.>"}
	for words := range maxPrefix + 1 {
		prefix := strings.Repeat("*.", words)
		subjects = append(subjects, prefix+"work.*", prefix+"dead.*", prefix+"event.>")
	}
	return subjects
}

// user is the owner of a public key: a client, or a user of this process.
type user struct {
	name    string // of the client, or of the user of this process
	rights  *server.Permissions
	account *server.Account
	client  bool // whether the user is a client
}

// accounts authenticates connections, and maps the subjects of services to the accounts of clients.
type accounts struct {
	nats         *server.Server
	service      *server.Account
	maxPerClient int // maximum number of connections of one client
	unanswered   unanswered
	logger       *slog.Logger

	changes  sync.Mutex // serializes changes of clients and watchers; locked before mu
	watchers map[*watcher]struct{}

	mu       sync.Mutex
	users    map[string]user // by public key
	clients  map[string]*server.Account
	subjects map[string]export
}

// export configures the responses to a request on a subject: whether there may be one response or
// many, and the timeout after which the NATS server drops responses.
type export struct {
	responses server.ServiceRespType
	timeout   time.Duration
}

var _ server.Authentication = (*accounts)(nil)

// Check authenticates the connection c by a signature with the key of a user, and assigns the
// account and the permissions of this user to c. It returns false if c is a connection of another
// NATS server, if the signature is invalid, if no user has the key, or if the user is a client with
// too many connections or too many unanswered requests. It implements [server.Authentication].
func (a *accounts) Check(c server.ClientAuthentication) bool {
	options := c.GetOpts()
	if c.Kind() != server.CLIENT || !verify(options.Nkey, options.Sig, c.GetNonce()) {
		return false
	}
	a.mu.Lock() // until the connection is registered, so that it is counted
	defer a.mu.Unlock()
	u, ok := a.users[options.Nkey]
	if !ok || u.client && (u.account.NumLocalConnections() >= a.maxPerClient || a.unanswered.refuses(u.name)) {
		return false
	}
	c.RegisterUser(&server.User{Username: u.name, Account: u.account, Permissions: u.rights})
	return true
}

// verify reports whether signature is a signature of nonce by the private key that belongs to
// public.
func verify(public, signature string, nonce []byte) bool {
	if len(nonce) == 0 || !nkeys.IsValidPublicUserKey(public) {
		return false
	}
	raw, err := base64.RawURLEncoding.DecodeString(signature)
	if err != nil {
		return false
	}
	pair, err := nkeys.FromPublicKey(public)
	return err == nil && pair.Verify(nonce, raw) == nil
}

// addOwn creates a user of this process and returns its private key.
func (a *accounts) addOwn(name string, rights *server.Permissions) (nkeys.KeyPair, error) {
	pair, err := nkeys.CreateUser()
	if err != nil {
		return nil, fmt.Errorf("embedded: create a key: %w", err)
	}
	public, err := pair.PublicKey()
	if err != nil {
		return nil, fmt.Errorf("embedded: create a key: %w", err)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.users[public] = user{name: name, rights: rights, account: a.service}
	return pair, nil
}

// export permits all clients to call subjects of the service; e configures the responses. It
// ignores subjects that are already exported.
func (a *accounts) export(e export, subjects ...string) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, subject := range subjects {
		if _, ok := a.subjects[subject]; ok {
			continue
		}
		a.subjects[subject] = e
		for name, account := range a.clients {
			if err := a.link(name, account, subject, e); err != nil {
				return err
			}
		}
	}
	return nil
}

// exported returns the subject of the service's account on which requests of the client called
// name arrive.
func exported(name, subject string) string { return fromPrefix + name + "." + subject }

// link maps subject in account, the account of the client called name, to the account of the
// service.
func (a *accounts) link(name string, account *server.Account, subject string, e export) error {
	to := exported(name, subject)
	err := a.service.AddServiceExportWithResponse(to, e.responses, nil) // resets the threshold
	if err == nil {
		err = a.service.SetServiceExportResponseThreshold(to, e.timeout)
	}
	if err == nil {
		err = account.AddServiceImport(a.service, subject, to)
	}
	if err != nil {
		return fmt.Errorf("embedded: let NATS client %s call %s: %w", name, subject, err)
	}
	return nil
}

// watcher holds the functions that are called for added and removed clients.
type watcher struct {
	added   func(name string) error
	removed func(name string)
}

// watch calls added for each present client, and registers added and removed for later changes. It
// returns an error if added does. stop ends the registration.
func (a *accounts) watch(added func(name string) error, removed func(name string)) (stop func(), err error) {
	a.changes.Lock()
	defer a.changes.Unlock()
	for _, name := range a.names() {
		if err := added(name); err != nil {
			return nil, err
		}
	}
	w := &watcher{added, removed}
	a.watchers[w] = struct{}{}
	return func() {
		a.changes.Lock()
		defer a.changes.Unlock()
		delete(a.watchers, w)
	}, nil
}

// names returns the names of the clients that may connect.
func (a *accounts) names() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	var names []string
	for _, u := range a.users {
		if u.client {
			names = append(names, u.name)
		}
	}
	return names
}

// set replaces the clients that may connect, calls the watchers, and closes the connections of
// clients that are removed or have another key. It returns an error if a watcher does, or if a
// client cannot be added.
func (a *accounts) set(clients []Client) error {
	a.changes.Lock()
	defer a.changes.Unlock()
	before := a.names()
	a.drop(clients)
	for _, name := range before {
		if slices.ContainsFunc(clients, func(c Client) bool { return c.Name == name }) {
			continue
		}
		for w := range a.watchers {
			w.removed(name)
		}
		a.logger.Info("NATS client removed", "client", name)
	}
	for _, c := range clients {
		if !slices.Contains(before, c.Name) {
			for w := range a.watchers {
				if err := w.added(c.Name); err != nil {
					return err
				}
			}
		}
		if err := a.add(c); err != nil {
			return err
		}
	}
	return nil
}

// drop deletes the clients that are not in clients or have another key there, and closes their
// connections.
func (a *accounts) drop(clients []Client) {
	a.mu.Lock()
	defer a.mu.Unlock()
	for public, u := range a.users {
		if u.client && !slices.Contains(clients, Client{u.name, public}) {
			delete(a.users, public)
			a.disconnect(u.account)
		}
	}
}

func (a *accounts) add(c Client) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	account, err := a.accountOf(c.Name)
	if err != nil {
		return err
	}
	if u, ok := a.users[c.PublicKey]; ok && u.name != c.Name {
		return fmt.Errorf("embedded: the NATS clients %s and %s have the same key", u.name, c.Name)
	}
	a.users[c.PublicKey] = user{name: c.Name, rights: clientRights, account: account, client: true}
	return nil
}

// accountOf returns the account of the client called name, which it creates on first use.
func (a *accounts) accountOf(name string) (*server.Account, error) {
	if account, ok := a.clients[name]; ok {
		return account, nil
	}
	account, err := a.nats.RegisterAccount(clientAccount + name)
	if err != nil {
		return nil, fmt.Errorf("embedded: create the account of NATS client %s: %w", name, err)
	}
	a.clients[name] = account
	for subject, e := range a.subjects {
		if err := a.link(name, account, subject, e); err != nil {
			return nil, err
		}
	}
	return account, nil
}

// disconnect closes all connections of account.
func (a *accounts) disconnect(account *server.Account) {
	list, err := a.nats.Connz(&server.ConnzOptions{Account: account.Name, State: server.ConnOpen, Limit: 1 << 20})
	if err != nil {
		return // the server is stopping
	}
	for _, c := range list.Conns {
		_ = a.nats.DisconnectClientByID(c.Cid)
	}
}
