package amqpapi

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	amqp "github.com/rabbitmq/amqp091-go"
)

// setupError is the error of a declaration or permission check that the broker refuses. Retries are
// useless until an operator has changed the configuration of the broker.
type setupError struct {
	text  string
	cause error
}

func (e *setupError) Error() string { return e.text + ": " + e.cause.Error() }

func (e *setupError) Unwrap() error { return e.cause }

// hasCode reports whether err is an AMQP error with the given reply code.
func hasCode(err error, code int) bool {
	e, ok := errors.AsType[*amqp.Error](err)
	return ok && e.Code == code
}

// account is the user and the virtual host of a connection.
type account struct{ user, vhost string }

func accountOf(url string) account {
	u, err := amqp.ParseURI(url)
	if err != nil {
		return account{}
	}
	return account{u.Username, u.Vhost}
}

// grant returns the rabbitmqctl command that permits a to configure, to write and to read the
// objects whose names match the respective pattern.
func (a account) grant(configure, write, read string) string {
	return fmt.Sprintf("rabbitmqctl set_permissions -p '%s' '%s' '%s' '%s' '%s'", a.vhost, a.user, configure, write, read)
}

// nothing is a pattern that matches no name.
const nothing = "^$"

// exactly returns a pattern that matches only the given names.
func exactly(names ...string) string {
	names = slices.Compact(slices.Sorted(slices.Values(names)))
	for i, name := range names {
		names[i] = regexp.QuoteMeta(name)
	}
	if len(names) == 1 {
		return "^" + names[0] + "$"
	}
	return "^(" + strings.Join(names, "|") + ")$"
}

// topology declares exchanges, queues and bindings. If the account is not permitted to configure
// them, topology requires that an operator has declared them.
type topology struct {
	conn    *amqp.Connection
	account account
	names   []string // names of all declared objects, for the advice in errors
	warn    func(msg string, args ...any)

	channel *amqp.Channel
	found   bool // whether the account may not configure one of the objects
}

// on calls f with the channel of t and returns the error of f. It first opens a new channel if
// there is none or the broker has closed it.
func (t *topology) on(f func(*amqp.Channel) error) (err error) {
	if t.channel == nil || t.channel.IsClosed() {
		if t.channel, err = t.conn.Channel(); err != nil {
			return err //nolint:wrapcheck // of the connection
		}
	}
	return f(t.channel)
}

func (t *topology) close() {
	if t.channel != nil {
		_ = t.channel.Close() // nothing is lost with it
	}
}

func (t *topology) exchange(name string, autoDelete bool) error {
	err := t.on(func(ch *amqp.Channel) error {
		return ch.ExchangeDeclare(name, amqp.ExchangeDirect, true, autoDelete, false, false, nil)
	})
	if !hasCode(err, amqp.AccessRefused) {
		return t.explain("exchange", name, err)
	}
	err = t.on(func(ch *amqp.Channel) error {
		return ch.ExchangeDeclarePassive(name, amqp.ExchangeDirect, true, autoDelete, false, false, nil)
	})
	t.found = true
	return t.explain("exchange", name, err)
}

func (t *topology) queue(name string, args amqp.Table) error {
	err := t.on(func(ch *amqp.Channel) error {
		_, err := ch.QueueDeclare(name, true, false, false, false, args)
		return err //nolint:wrapcheck // explained below
	})
	if !hasCode(err, amqp.AccessRefused) {
		return t.explain("queue", name, err)
	}
	err = t.on(func(ch *amqp.Channel) error {
		_, err := ch.QueueDeclarePassive(name, true, false, false, false, nil)
		return err //nolint:wrapcheck // explained below
	})
	t.found = true
	return t.explain("queue", name, err)
}

// bind binds a queue to an exchange with a routing key. If the broker refuses this, but the
// account uses an object that an operator has declared, bind calls t.warn and returns nil: it
// assumes that the operator has also made the binding, which AMQP offers no way to check.
func (t *topology) bind(queue, key, exchange string) error {
	err := t.on(func(ch *amqp.Channel) error { return ch.QueueBind(queue, key, exchange, false, nil) })
	if t.found && hasCode(err, amqp.AccessRefused) {
		t.warn("AMQP: no right to bind; the binding must have been made by an operator", "queue", queue, "routing_key", key, "exchange", exchange)
		return nil
	}
	return t.explain("binding of queue", queue, err)
}

// explain returns err, the error of an operation on the named object, with advice for an operator
// if the broker has refused the operation. It returns nil if err is nil.
func (t *topology) explain(kind, name string, err error) error {
	all := exactly(t.names...)
	grant := t.account.grant(all, all, all)
	switch {
	case err == nil:
		return nil
	case hasCode(err, amqp.AccessRefused):
		return &setupError{fmt.Sprintf("%s %s: user %q lacks a permission; grant all permissions that are needed: %s", kind, name, t.account.user, grant), err}
	case hasCode(err, amqp.NotFound):
		const advice = "declare it, or permit user %q to declare it: %s"
		return &setupError{fmt.Sprintf("%s %s is missing or unavailable; "+advice, kind, name, t.account.user, grant), err}
	case hasCode(err, amqp.PreconditionFailed) && kind == "queue":
		return &setupError{fmt.Sprintf("queue %s exists with other arguments; adapt the configuration to the queue, or delete the queue when it is empty: "+
			"rabbitmqctl delete_queue -p '%s' '%s' --if-empty", name, t.account.vhost, name), err}
	case hasCode(err, amqp.PreconditionFailed):
		return &setupError{fmt.Sprintf("%s %s exists with another type or other arguments; delete it, or configure another prefix", kind, name), err}
	default:
		return fmt.Errorf("%s %s: %w", kind, name, err)
	}
}
