package amqpapi_test

import (
	"context"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/client"
	"github.com/chassi-go/chassi/internal/rabbittest"
	"github.com/chassi-go/chassi/internal/worktest"
	"github.com/chassi-go/chassi/transport"
	"github.com/chassi-go/chassi/transport/amqpapi"
)

// tryStart starts a server of the blocker and stops it.
func tryStart(t *testing.T, c amqpapi.Config) error {
	t.Helper()
	c.Logger = quiet
	s := amqpapi.New(c)
	if err := s.Mount(newBlocker().service("block.v1.Block")); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
	defer cancel()
	if err := s.Start(ctx); err != nil {
		return err
	}
	stop(t, s)
	return nil
}

// A server that lacks a right says at once which, and the command that grants it; with
// the rights of the command it starts.
func TestMissingRightsAreNamed(t *testing.T) {
	t.Parallel()
	const names = `^(block\.v1\.Block|block\.v1\.Block\.requests)$`
	v := rabbittest.New(t, map[string]rabbittest.Rights{
		"nothing": rabbittest.On("^$", "^$", "^$"), "responses": responsesRights, "service": rabbittest.On(names, names, names), "unbound": rabbittest.On(names, "^$", names), "unread": rabbittest.On(names, names, `^block\.v1\.Block$`),
	})
	grant := func(user, configure, write, read string) string {
		return "rabbitmqctl set_permissions -p '" + v.Name() + "' '" + v.User(user) + "' '" + configure + "' '" + write + "' '" + read + "'"
	}
	for user, c := range map[string]struct{ responses, want string }{
		"nothing": {"responses", grant("nothing", names, names, names)},
		"unbound": {"responses", grant("unbound", names, names, names)},
		"unread":  {"responses", grant("unread", names, names, names)},
		"service": {"nothing", grant("nothing", "^$", `^amq\.default$`, "^$")},
	} {
		err := tryStart(t, amqpapi.Config{URL: v.URL(user), Responses: amqpapi.Responses{URL: v.URL(c.responses)}})
		if err == nil || !strings.Contains(err.Error(), c.want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%s: %v, want %s", user, err, c.want)
		}
	}
	if err := tryStart(t, amqpapi.Config{URL: v.URL("service"), Responses: amqpapi.Responses{URL: v.URL("responses")}}); err != nil {
		t.Errorf("with the rights: %v", err)
	}
	err := tryStart(t, amqpapi.Config{URL: v.URL("service"), Responses: amqpapi.Responses{URL: v.URL("responses")}, MaxQueueLength: 7})
	if err == nil || !strings.Contains(err.Error(), "rabbitmqctl delete_queue -p '"+v.Name()+"' 'block.v1.Block.requests'") {
		t.Errorf("a queue with other bounds: %v", err)
	}
}

// A service whose queue an operator has declared needs to read it, and no more.
func TestDeclaredByAnOperator(t *testing.T) {
	t.Parallel()
	v := rabbittest.New(t, map[string]rabbittest.Rights{
		"admin": rabbittest.All, "responses": responsesRights, "reader": rabbittest.On("^$", "^$", `^block\.v1\.Block\.requests$`), "caller": rabbittest.On("^$", `^block\.v1\.Block$`, "^$"),
	})
	if err := tryStart(t, amqpapi.Config{URL: v.URL("admin")}); err != nil {
		t.Fatal(err)
	}
	g := newBlocker()
	defer stop(t, start(t, amqpapi.Config{URL: v.URL("reader"), Responses: amqpapi.Responses{URL: v.URL("responses")}}, nil, g.service("block.v1.Block")))
	c, err := client.New(g.service("block.v1.Block"), dial(t, amqpapi.ClientConfig{URL: v.URL("caller")}))
	if err != nil {
		t.Fatal(err)
	}
	if err := invoke(t, c, "Do"); err != nil {
		t.Error(err)
	}
}

// A call that the broker refuses is that call's failure: it names the command that
// grants the right, and calls of other services go on.
func TestRefusedCallHarmsNoOther(t *testing.T) {
	t.Parallel()
	v := rabbittest.New(t, map[string]rabbittest.Rights{"admin": rabbittest.All, "caller": rabbittest.On("^$", `^block\.v1\.Block$`, "^$")})
	g, other := newBlocker(), newBlocker()
	defer stop(t, start(t, amqpapi.Config{URL: v.URL("admin")}, nil, g.service("block.v1.Block"), other.service("other.v1.Other")))
	connection := dial(t, amqpapi.ClientConfig{URL: v.URL("caller")})
	allowed, err := client.New(g.service("block.v1.Block"), connection)
	if err != nil {
		t.Fatal(err)
	}
	refused, err := client.New(other.service("other.v1.Other"), connection)
	if err != nil {
		t.Fatal(err)
	}
	result := make(chan error, 1)
	go func() { result <- invoke(t, allowed, "Wait") }()
	<-g.entered
	for range 3 {
		var err error
		until(t, "the service has a channel again", func() bool {
			err = invoke(t, refused, "Do")
			return chassi.ErrorOf(err).Code != chassi.Unavailable
		})
		if e := chassi.ErrorOf(err); e == nil || e.Code != chassi.PermissionDenied || !strings.Contains(err.Error(), "set_permissions") || !strings.Contains(err.Error(), "other") {
			t.Errorf("a call without the right: %v", err)
		}
	}
	close(g.opened)
	if err := <-result; err != nil {
		t.Errorf("a call of another service under way: %v", err)
	}
}

// A broker that knows the user by another name, as with OAuth 2, is called without one.
func TestUserIDThatTheBrokerRefuses(t *testing.T) {
	t.Parallel()
	url := rabbitURL(t)
	p, g := prefix(t, url, "block.v1.Block"), newBlocker()
	defer stop(t, start(t, amqpapi.Config{URL: url, Prefix: p}, nil, g.service("block.v1.Block")))
	connection := dial(t, amqpapi.ClientConfig{URL: url, Prefix: p})
	amqpapi.SetUser(connection, "somebody")
	c, err := client.New(g.service("block.v1.Block"), connection)
	if err != nil {
		t.Fatal(err)
	}
	if err := invoke(t, c, "Do"); chassi.ErrorOf(err).Code != chassi.Unavailable || !strings.Contains(err.Error(), "another name") {
		t.Errorf("the first call: %v", err)
	}
	until(t, "a further call succeeds", func() bool { return invoke(t, c, "Do") == nil })
}

// A publisher needs a right to the exchange of its work queue, and no other.
func TestPublisherRights(t *testing.T) {
	t.Parallel()
	v := rabbittest.New(t, map[string]rabbittest.Rights{"service": serviceRights, "responses": responsesRights, "publisher": publisherRights})
	q := transport.Queue{Name: "mail"}
	publish := publisher(t, amqpapi.ClientConfig{URL: v.URL("publisher")}, q)
	if err := publish("1", &worktest.Job{Number: 1}); err == nil {
		t.Error("published into a queue that nobody has declared")
	}
	d := worktest.NewDone()
	defer stop(t, consume(t, amqpapi.Config{URL: v.URL("service"), Responses: amqpapi.Responses{URL: v.URL("responses")}}, q, d))
	if err := publish("2", &worktest.Job{Number: 2}); err != nil {
		t.Error(err)
	}
	d.Await(t, 1)
}

// A message that no queue takes is an error of its publisher.
func TestPublishWithoutQueue(t *testing.T) {
	t.Parallel()
	url := rabbitURL(t)
	p := prefix(t, url, "mail", "mail.dead", "mail.retry.1000", "mail.retry.2000", "mail.retry.4000", "mail.retry.8000")
	publish := publisher(t, amqpapi.ClientConfig{URL: url, Prefix: p}, transport.Queue{Name: "mail"})
	if err := publish("1", &worktest.Job{Number: 1}); err != nil {
		t.Fatal(err)
	}
	conn, err := amqp.Dial(url)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if _, err := open(t, conn).QueueDelete(p+".mail", false, false, false); err != nil {
		t.Fatal(err)
	}
	if err := publish("2", &worktest.Job{Number: 2}); chassi.ErrorOf(err).Code != chassi.Unavailable || !strings.Contains(err.Error(), "no queue is bound") {
		t.Errorf("published into a queue that is gone: %v", err)
	}
}
