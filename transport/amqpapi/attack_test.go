package amqpapi_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net/netip"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/client"
	"github.com/chassi-go/chassi/internal/rabbittest"
	"github.com/chassi-go/chassi/internal/worktest"
	"github.com/chassi-go/chassi/middleware"
	"github.com/chassi-go/chassi/transport"
	"github.com/chassi-go/chassi/transport/amqpapi"
)

// The rights of docs/brokers.md, for the service jobs.v1.Jobs and the work queue mail.
var (
	serviceRights = rabbittest.Rights{
		Configure: `^(jobs\.v1\.Jobs(\.requests)?|mail(\..*)?)$`, Write: `^(jobs\.v1\.Jobs(\.requests)?|mail(\..*)?)$`, Read: `^(jobs\.v1\.Jobs(\.requests)?|mail(\..*)?)$`,
	}
	responsesRights = rabbittest.Rights{Configure: `^$`, Write: `^amq\.default$`, Read: `^$`}
	callerRights    = rabbittest.Rights{Configure: `^$`, Write: `^jobs\.v1\.Jobs$`, Read: `^$`}
	publisherRights = rabbittest.Rights{Configure: `^$`, Write: `^mail$`, Read: `^$`}
)

// repliesRights are a caller's rights with a reply queue of its own; USER is its name.
var repliesRights = rabbittest.Rights{Configure: `^reply\.USER(\..*)?$`, Write: `^jobs\.v1\.Jobs$`, Read: `^reply\.USER(\..*)?$`}

// seen is what a method knows of a call.
type seen struct {
	job    int
	source string
	name   string
	peer   netip.AddrPort
}

// site is a service with the documented rights, a caller alice, and the attacker
// mallory with the credentials of another client.
type site struct {
	*rabbittest.Vhost
	server *amqpapi.Server
	calls  chan seen
	events *eventCounter
}

type eventCounter struct{ counts sync.Map }

func (c *eventCounter) count(event string) {
	n, _ := c.counts.LoadOrStore(event, new(atomic.Int64))
	n.(*atomic.Int64).Add(1)
}

func (c *eventCounter) of(event string) int64 {
	n, ok := c.counts.Load(event)
	if !ok {
		return 0
	}
	return n.(*atomic.Int64).Load()
}

func newSite(t *testing.T, change ...func(*amqpapi.Config)) *site {
	t.Helper()
	s := &site{calls: make(chan seen, 10_000), events: new(eventCounter), Vhost: rabbittest.New(t, map[string]rabbittest.Rights{
		"service": serviceRights, "responses": responsesRights, "alice": callerRights, "mallory": callerRights, "gateway": callerRights, "replies": repliesRights, "admin": rabbittest.All,
	})}
	c := amqpapi.Config{URL: s.URL("service"), Responses: amqpapi.Responses{URL: s.URL("responses")}, Logger: quiet, Observe: s.events.count}
	for _, f := range change {
		f(&c)
	}
	s.server = amqpapi.New(c, middleware.Recover())
	do := func(ctx context.Context, j *worktest.Job) (*worktest.Job, error) {
		call := chassi.CallFrom(ctx)
		s.calls <- seen{j.Number, call.Source(), call.PeerName, call.Peer}
		return &worktest.Job{Number: j.Number + 1}, nil
	}
	if err := s.server.Mount(chassi.NewService("jobs.v1.Jobs", chassi.NewEndpoint("Do", do, chassi.Public))); err != nil {
		t.Fatal(err)
	}
	begin(t, s.server)
	t.Cleanup(func() { stop(t, s.server) })
	return s
}

// caller returns a client of a user.
func (s *site) caller(t *testing.T, user string, around ...chassi.Middleware) *client.Client {
	t.Helper()
	c, err := client.New(numbers(), dial(t, amqpapi.ClientConfig{URL: s.URL(user)}), around...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// numbers is the service as its callers know it.
func numbers() *chassi.Service {
	return chassi.NewService("jobs.v1.Jobs", chassi.NewEndpoint("Do", func(context.Context, *worktest.Job) (*worktest.Job, error) { return nil, errors.ErrUnsupported }, chassi.Public))
}

// ask makes a call and checks its response.
func ask(t *testing.T, c *client.Client, number int) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	got, err := client.Invoke[worktest.Job](ctx, c, "Do", &worktest.Job{Number: number})
	if err == nil && got.Number != number+1 {
		return fmt.Errorf("asked %d and was answered %d", number, got.Number)
	}
	return err
}

// connect opens a connection of a user that knows nothing of ours.
func (s *site) connect(t *testing.T, user string) *amqp.Connection {
	t.Helper()
	conn, err := amqp.Dial(s.URL(user))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = conn.Close() })
	return conn
}

// open opens a channel.
func open(t *testing.T, conn *amqp.Connection) *amqp.Channel {
	t.Helper()
	ch, err := conn.Channel()
	if err != nil {
		t.Fatal(err)
	}
	return ch
}

// post publishes and returns what the broker says: nil when it has taken the message.
func post(t *testing.T, conn *amqp.Connection, exchange, key string, p amqp.Publishing) error {
	t.Helper()
	ch := open(t, conn)
	defer ch.Close()
	closed := ch.NotifyClose(make(chan *amqp.Error, 1))
	if err := ch.Confirm(false); err != nil {
		t.Fatal(err)
	}
	confirmation, err := ch.PublishWithDeferredConfirm(exchange, key, false, false, p)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	ok, err := confirmation.WaitContext(ctx)
	if err != nil {
		return err
	}
	if ok {
		return nil
	}
	if reason := <-closed; reason != nil {
		return reason
	}
	return errors.New("refused")
}

func isRefused(err error) bool {
	e, ok := errors.AsType[*amqp.Error](err)
	return ok && e.Code == amqp.AccessRefused
}

const method = "jobs.v1.Jobs.Do"

// A caller's credentials bind no tap, read, purge or delete no queue, and write to no
// exchange but that of the service (R73, R87).
func TestCallerHasNoRightsButToCall(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	admin := open(t, s.connect(t, "admin"))
	for _, queue := range []string{"other", "reply.alice"} {
		if _, err := admin.QueueDeclare(queue, true, false, false, false, nil); err != nil {
			t.Fatal(err)
		}
	}
	mallory := s.connect(t, "mallory")
	declare := func(name string, args amqp.Table) func(*amqp.Channel) error {
		return func(ch *amqp.Channel) error {
			_, err := ch.QueueDeclare(name, false, true, true, false, args)
			return err
		}
	}
	attacks := map[string]func(*amqp.Channel) error{
		"declare a queue":       declare("", nil),
		"declare a named queue": declare("tap", nil),
		"declare a dead letter": declare("tap", amqp.Table{"x-dead-letter-exchange": "", "x-dead-letter-routing-key": "other"}),
		"declare an exchange": func(ch *amqp.Channel) error {
			return ch.ExchangeDeclare("tap", "fanout", false, true, false, false, nil)
		},
		"delete the exchange":  func(ch *amqp.Channel) error { return ch.ExchangeDelete("jobs.v1.Jobs", false, false) },
		"bind the exchange":    func(ch *amqp.Channel) error { return ch.ExchangeBind("amq.fanout", method, "jobs.v1.Jobs", false, nil) },
		"bind to the exchange": func(ch *amqp.Channel) error { return ch.ExchangeBind("jobs.v1.Jobs", "", "amq.fanout", false, nil) },
		"unbind the service": func(ch *amqp.Channel) error {
			return ch.QueueUnbind("jobs.v1.Jobs.requests", method, "jobs.v1.Jobs", nil)
		},
	}
	for _, queue := range []string{"jobs.v1.Jobs.requests", "other", "reply.alice"} {
		attacks["bind "+queue] = func(ch *amqp.Channel) error { return ch.QueueBind(queue, method, "jobs.v1.Jobs", false, nil) }
		attacks["consume "+queue] = func(ch *amqp.Channel) error {
			_, err := ch.Consume(queue, "", true, false, false, false, nil)
			return err
		}
		attacks["get "+queue] = func(ch *amqp.Channel) error { _, _, err := ch.Get(queue, true); return err }
		attacks["purge "+queue] = func(ch *amqp.Channel) error { _, err := ch.QueuePurge(queue, false); return err }
		attacks["delete "+queue] = func(ch *amqp.Channel) error { _, err := ch.QueueDelete(queue, false, false, false); return err }
		attacks["write to "+queue] = func(*amqp.Channel) error { return post(t, mallory, "", queue, amqp.Publishing{}) }
	}
	for _, exchange := range []string{"amq.direct", "amq.topic", "amq.fanout", "amq.headers", "amq.match", "other"} {
		attacks["publish to "+exchange] = func(*amqp.Channel) error { return post(t, mallory, exchange, method, amqp.Publishing{}) }
	}
	for name, attack := range attacks {
		if err := attack(open(t, mallory)); !isRefused(err) {
			t.Errorf("%s: %v, want ACCESS_REFUSED", name, err)
		}
	}
	if err := ask(t, s.caller(t, "mallory"), 1); err != nil {
		t.Errorf("the call that mallory may make: %v", err)
	}
}

// A caller with a reply queue of its own binds no tap to it and reads none but it.
func TestCallerWithReplyQueueBindsNoTap(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	mallory := s.User("replies")
	conn := s.connect(t, "replies")
	own := "reply." + mallory + ".1"
	ch := open(t, conn)
	if _, err := ch.QueueDeclare(own, false, true, true, false, nil); err != nil {
		t.Fatal(err)
	}
	responses, err := ch.Consume(own, "", true, true, false, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, attack := range map[string]func(*amqp.Channel) error{
		"bind": func(ch *amqp.Channel) error { return ch.QueueBind(own, method, "jobs.v1.Jobs", false, nil) },
		"dead letters to a queue": func(ch *amqp.Channel) error {
			_, err := ch.QueueDeclare(own+"d", false, true, true, false, amqp.Table{"x-dead-letter-exchange": ""})
			return err
		},
		"bind the service's queue to an exchange of its own": func(ch *amqp.Channel) error {
			if err := ch.ExchangeDeclare(own, "direct", false, true, false, false, nil); err != nil {
				return err
			}
			return ch.QueueBind("jobs.v1.Jobs.requests", "k", own, false, nil)
		},
		"read another's": func(ch *amqp.Channel) error { _, _, err := ch.Get("reply.alice", true); return err },
	} {
		if err := attack(open(t, conn)); !isRefused(err) {
			t.Errorf("%s: %v, want ACCESS_REFUSED", name, err)
		}
	}
	if err := post(t, conn, "jobs.v1.Jobs", method, amqp.Publishing{UserId: mallory, ReplyTo: own, CorrelationId: "c", Body: []byte(`{"number":1,"fail":""}`)}); err != nil {
		t.Fatal(err)
	}
	select {
	case d := <-responses:
		if string(d.Body) != `{"number":2,"fail":""}` || d.CorrelationId != "c" {
			t.Errorf("answered %s to %s", d.Body, d.CorrelationId)
		}
	case <-time.After(20 * time.Second):
		t.Error("no response came to the caller's own reply queue")
	}
}

// The service writes to no queue that a request names but the reply queue of its user:
// not to work queues, its own, or that of another caller, and it does not carry the
// request out (R73).
func TestReplyToOthersIsRefused(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	admin := open(t, s.connect(t, "admin"))
	alice, mallory := s.User("alice"), s.User("mallory")
	targets := []string{
		"jobs.v1.Jobs.requests", "mail", "mail.dead", "responses", "reply", "reply." + alice, "reply." + alice + ".1", "reply." + mallory + "x", "reply.anonymous.1",
		"replyx." + mallory, "x.reply." + mallory, "REPLY." + mallory, "amq.gen-abc", "amq.rabbitmq.trace", "*", "#", "reply.*", " reply." + mallory,
	}
	for _, name := range targets {
		if name == "jobs.v1.Jobs.requests" || strings.HasPrefix(name, "amq.") {
			continue // is there, or cannot be
		}
		if _, err := admin.QueueDeclare(name, true, false, false, false, nil); err != nil {
			t.Fatal(err)
		}
	}
	conn := s.connect(t, "mallory")
	for _, target := range targets {
		if err := post(t, conn, "jobs.v1.Jobs", method, amqp.Publishing{UserId: mallory, ReplyTo: target, Body: []byte(`{"number":666,"fail":""}`)}); err != nil {
			t.Fatal(err)
		}
	}
	if err := ask(t, s.caller(t, "alice"), 1); err != nil { // behind them in the queue
		t.Error(err)
	}
	until(t, "all requests are dealt with", func() bool { return s.events.of(amqpapi.EventReplyToRefused) == int64(len(targets)) })
	for _, target := range targets {
		if target == "jobs.v1.Jobs.requests" || strings.HasPrefix(target, "amq.") {
			continue
		}
		if q, err := admin.QueueDeclarePassive(target, true, false, false, false, nil); err != nil || q.Messages != 0 {
			t.Errorf("%s has %+v, %v; want no message", target, q, err)
		}
	}
	if call := <-s.calls; call.job != 1 || len(s.calls) != 0 {
		t.Errorf("carried out %+v and %d more, want alice's call alone", call, len(s.calls))
	}
}

// malformed are direct reply-to addresses at most of which RabbitMQ closes the
// connection that publishes to them; known is a good one.
func malformed(known string) []string {
	const root = "amq.rabbitmq.reply-to."
	encode := base64.StdEncoding.EncodeToString
	parts := strings.Split(strings.TrimPrefix(known, root), ".")
	pid, err := base64.StdEncoding.DecodeString(parts[0])
	if err != nil {
		panic(err)
	}
	return []string{
		root, root + "x", root + "x.y", root + "....", root + "!!!.???", root + "x.y.z", "amq.rabbitmq.reply-to.." + parts[1], root + encode([]byte("hello")) + ".k",
		root + encode([]byte{131, 97, 1}) + ".key", root + "A." + parts[1], root + parts[0] + ".\xff\xfe", root + parts[0] + ".k", root + encode([]byte{131, 104, 255}) + "." + parts[1],
		root + encode(pid[:10]) + "." + parts[1], root + encode(append(pid, 0)) + "." + parts[1], root + parts[0] + "." + parts[1] + ".x", root + parts[0] + "=." + parts[1],
		root + encode([]byte("\x83Xv\x00\x09reply@abc\x00\x00\x00\x01\x00\x00\x00\x01\x00\x00\x00\x01")) + "." + parts[1],
		root + encode([]byte("\x83Xw\x09reply@123\x00\x00\x00\x01\x00\x00\x00\x01\x00\x00\x00\x01")) + "." + parts[1],
		root + strings.Repeat("A", 200) + "." + parts[1],
	}
}

// unknownNode is well formed, and RabbitMQ closes the connection all the same.
func unknownNode(number int, key string) string {
	name := "reply@" + strconv.Itoa(number)
	pid := "\x83Xv\x00" + string(rune(len(name))) + name + "\x00\x00\x00\x01\x00\x00\x00\x01\x00\x00\x00\x01"
	return "amq.rabbitmq.reply-to." + base64.StdEncoding.EncodeToString([]byte(pid)) + "." + key
}

// directAddress returns the address that the broker makes for a channel of a user.
func directAddress(t *testing.T, s *site) string {
	t.Helper()
	ch := open(t, s.connect(t, "admin"))
	if _, err := ch.QueueDeclare("own", false, true, true, false, nil); err != nil {
		t.Fatal(err)
	}
	own, err := ch.Consume("own", "", true, false, false, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := ch.Consume("amq.rabbitmq.reply-to", "", true, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	if err := ch.PublishWithContext(t.Context(), "", "own", false, false, amqp.Publishing{ReplyTo: "amq.rabbitmq.reply-to"}); err != nil {
		t.Fatal(err)
	}
	return (<-own).ReplyTo
}

// While an attacker keeps naming direct reply-to addresses at which RabbitMQ closes the
// connection, every call of others is answered, and each request of theirs is carried
// out once (R74).
func TestInvalidDirectReplyToAffectsNoOthers(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	known := directAddress(t, s)
	key := known[strings.LastIndexByte(known, '.')+1:]
	mallory := s.connect(t, "mallory")
	ctx, cancel := context.WithCancel(t.Context())
	var attacks atomic.Int64
	var attacker sync.WaitGroup
	defer attacker.Wait()
	defer cancel()
	attacker.Go(func() {
		ch := open(t, mallory)
		if err := ch.Confirm(false); err != nil {
			t.Error(err)
			return
		}
		addresses := malformed(known)
		for i := 0; ctx.Err() == nil; i++ {
			address := addresses[i%len(addresses)]
			if i%2 == 0 {
				address = unknownNode(i, key)
			}
			confirmation, err := ch.PublishWithDeferredConfirm("jobs.v1.Jobs", method, false, false, amqp.Publishing{UserId: s.User("mallory"), ReplyTo: address, Body: []byte(`{"number":666,"fail":""}`)})
			if err != nil {
				t.Error(err)
				return
			}
			attacks.Add(1)
			_, _ = confirmation.WaitContext(ctx) // as fast as the broker takes them, and no faster
		}
	})
	alice := s.caller(t, "alice")
	until(t, "the attack has begun", func() bool { return attacks.Load() > 50 })
	for i := range 60 {
		if err := ask(t, alice, i); err != nil {
			t.Fatalf("call %d: %v", i, err)
		}
	}
	until(t, "the attack is noticed", func() bool {
		return s.events.of(amqpapi.EventReplyToInvalid) > 0 && s.events.of(amqpapi.EventReplyToRefused) > 0
	})
	cancel()
	attacker.Wait()
	times := make(map[int]int)
	for len(s.calls) > 0 {
		if call := <-s.calls; call.source == "amqp:"+s.User("alice") {
			times[call.job]++
		}
	}
	for i := range 60 {
		if times[i] != 1 {
			t.Errorf("call %d was carried out %d times", i, times[i])
		}
	}
	if n := s.events.of(amqpapi.EventReplyToInvalid); n > 3 {
		t.Errorf("%d trials of addresses failed, want one a minute", n)
	}
}

// An invalid address of a caller without user_id takes no responses from other such callers
// on a node that a response has reached before, also after the connection for responses was
// lost and the nodes are to be tried again.
func TestInvalidAddressWithoutUserIDAffectsNoOthersAfterAReconnect(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	known := directAddress(t, s)
	ch := open(t, s.connect(t, "alice"))
	responses, err := ch.Consume("amq.rabbitmq.reply-to", "", true, false, false, false, nil)
	if err != nil {
		t.Fatal(err)
	}
	answered := func(when string) {
		t.Helper()
		if err := ch.PublishWithContext(t.Context(), "jobs.v1.Jobs", method, true, false, amqp.Publishing{ReplyTo: "amq.rabbitmq.reply-to", Body: []byte(`{"number":1,"fail":""}`)}); err != nil {
			t.Fatal(err)
		}
		select {
		case <-responses:
		case <-time.After(10 * time.Second):
			t.Fatalf("no response %s", when)
		}
	}
	answered("before the attack")
	bad := unknownNode(1, known[strings.LastIndexByte(known, '.')+1:])
	if err := post(t, s.connect(t, "mallory"), "jobs.v1.Jobs", method, amqp.Publishing{ReplyTo: bad, Body: []byte(`{"number":666,"fail":""}`)}); err != nil {
		t.Fatal(err)
	}
	until(t, "the address has been tried", func() bool { return s.events.of(amqpapi.EventReplyToInvalid) == 1 })
	answered("after the attack")
	amqpapi.CutResponses(s.server)
	answered("after the connection for responses was lost")
}

// The broker proves the user_id, and the service believes no other name; the address of
// X-Forwarded-For is believed of trusted users alone (R75).
func TestIdentity(t *testing.T) {
	t.Parallel()
	var trusted string
	s := newSite(t, func(c *amqpapi.Config) {
		user, _, _ := strings.Cut(strings.TrimPrefix(c.URL, "amqp://"), ":")
		trusted = strings.Replace(user, "-service", "-gateway", 1)
		c.TrustedClients = []string{trusted}
	})
	forward := func(_ *chassi.Binding, next chassi.Handler) chassi.Handler {
		return func(ctx context.Context, call *chassi.Call) error {
			call.In.Set("X-Forwarded-For", "198.51.100.1, 192.0.2.7")
			return next(ctx, call)
		}
	}
	for user, want := range map[string]seen{
		"mallory": {1, "amqp:" + s.User("mallory"), "amqp:" + s.User("mallory"), netip.AddrPort{}},
		"gateway": {1, "192.0.2.7", "amqp:" + trusted, netip.MustParseAddrPort("192.0.2.7:0")},
	} {
		if err := ask(t, s.caller(t, user, forward), 1); err != nil {
			t.Fatal(err)
		}
		if got := <-s.calls; got != want {
			t.Errorf("%s is seen as %+v, want %+v", user, got, want)
		}
	}
	both := amqp.Publishing{
		UserId: trusted, Headers: amqp.Table{"X-Forwarded-For": "192.0.2.7", "x-forwarded-for": "198.51.100.1"}, Body: []byte(`{"number":1,"fail":""}`),
	}
	if err := post(t, s.connect(t, "gateway"), "jobs.v1.Jobs", method, both); err != nil {
		t.Fatal(err)
	}
	if got := <-s.calls; got.peer.IsValid() {
		t.Errorf("a header in two spellings is believed: %+v", got)
	}
	mallory := s.connect(t, "mallory")
	request := amqp.Publishing{Headers: amqp.Table{"X-Forwarded-For": "192.0.2.7"}, Body: []byte(`{"number":1,"fail":""}`)}
	if err := post(t, mallory, "jobs.v1.Jobs", method, request); err != nil {
		t.Fatal(err)
	}
	if got := <-s.calls; got.source != "amqp:" || got.peer.IsValid() {
		t.Errorf("a request without user_id is seen as %+v", got)
	}
	for _, user := range []string{trusted, s.User("alice"), "guest"} {
		request.UserId = user
		err := post(t, mallory, "jobs.v1.Jobs", method, request)
		if e, ok := errors.AsType[*amqp.Error](err); !ok || e.Code != amqp.PreconditionFailed {
			t.Errorf("mallory as %s: %v, want PRECONDITION_FAILED", user, err)
		}
	}
}

// A panic of the Observe function fails neither the call nor the process.
func TestPanicInObserve(t *testing.T) {
	t.Parallel()
	var observed eventCounter
	s := newSite(t, func(c *amqpapi.Config) { c.Observe = func(event string) { observed.count(event); panic("in Observe") } })
	refused := amqp.Publishing{UserId: s.User("mallory"), ReplyTo: "mail", Body: []byte(`{"number":666,"fail":""}`)}
	if err := post(t, s.connect(t, "mallory"), "jobs.v1.Jobs", method, refused); err != nil {
		t.Fatal(err)
	}
	until(t, "the refusal is observed", func() bool { return observed.of(amqpapi.EventReplyToRefused) == 1 })
	if err := ask(t, s.caller(t, "alice"), 1); err != nil {
		t.Errorf("the next call: %v", err)
	}
}

// Requests that no client of ours would send are refused or carried out, and the next
// call is served.
func TestHostileRequests(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	alice := s.caller(t, "alice")
	many, deep := amqp.Table{}, amqp.Table{"leaf": "x"}
	for i := range amqpapi.MaxHeaders + 1 {
		many["h"+strconv.Itoa(i)] = "x"
	}
	for range 3000 {
		deep = amqp.Table{"a": deep}
	}
	list := make([]any, 1000)
	for name, headers := range map[string]amqp.Table{
		"many headers": many, "deep tables": deep, "a long header": {"X-Request-Id": strings.Repeat("x", 100_000)}, "nulls": {"Authorization": nil, "X-Request-Id": list},
		"further keys": {"CC": []any{"mail", "amq.rabbitmq.reply-to.x.y", "jobs.v1.Jobs.requests"}, "BCC": []any{method, method}}, "types": {"X-Request-Timeout-Ms": int64(1), "Traceparent": []byte{0, 255}},
	} {
		mallory := s.connect(t, "mallory") // the broker may close it
		_ = post(t, mallory, "jobs.v1.Jobs", method, amqp.Publishing{Headers: headers, UserId: s.User("mallory"), Body: []byte(`{"number":1,"fail":""}`)})
		if err := ask(t, alice, 2); err != nil {
			t.Errorf("after %s: %v", name, err)
		}
	}
	until(t, "many headers are counted", func() bool { return s.events.of(amqpapi.EventMalformed) == 1 })
}

// A message that is tried again or becomes a dead letter goes where the server says: further routing
// keys of its publisher are not carried over, and neither are the rights of the service.
func TestWorkIsNotSteeredByItsPublisher(t *testing.T) {
	t.Parallel()
	v := rabbittest.New(t, map[string]rabbittest.Rights{"service": serviceRights, "responses": responsesRights, "mallory": publisherRights, "admin": rabbittest.All})
	q, d := transport.Queue{Name: "mail", MaxAttempts: 2, Delay: time.Millisecond}, worktest.NewDone()
	names := make(chan string, 100)
	do := func(ctx context.Context, j *worktest.Job) (*worktest.Nothing, error) {
		names <- chassi.CallFrom(ctx).PeerName
		return d.Do(ctx, j)
	}
	s := amqpapi.New(amqpapi.Config{URL: v.URL("service"), Responses: amqpapi.Responses{URL: v.URL("responses")}, Logger: quiet}, middleware.Recover())
	if err := s.Consume(q, worktest.Service(do).Endpoint("Do")); err != nil {
		t.Fatal(err)
	}
	begin(t, s)
	defer stop(t, s)
	conn, err := amqp.Dial(v.URL("mallory"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	admin, err := amqp.Dial(v.URL("admin"))
	if err != nil {
		t.Fatal(err)
	}
	defer admin.Close()
	ch := open(t, admin)
	if _, err := ch.QueueDeclare("victim", true, false, false, false, nil); err != nil {
		t.Fatal(err)
	}
	for _, exchange := range []string{"mail.moves", ""} {
		if err := ch.QueueBind("victim", "victim", exchange, false, nil); err != nil && exchange != "" {
			t.Fatal(err)
		}
		ch = open(t, admin)
	}
	err = post(t, conn, "mail", "mail", amqp.Publishing{MessageId: "1", UserId: v.User("mallory"), Body: []byte(`{"number":1,"fail":"always"}`), Headers: amqp.Table{
		"CC": []any{"victim"}, "X-Publisher": "alice", "Attempts": "-7", "x-death": []any{amqp.Table{"queue": "victim"}},
	}})
	if err != nil {
		t.Fatal(err)
	}
	d.Await(t, 2)
	for range 2 {
		if name := <-names; name != "amqp:"+v.User("mallory") {
			t.Errorf("the publisher is seen as %s", name)
		}
	}
	until(t, "the message is a dead letter", func() bool {
		dead, err := ch.QueueDeclarePassive("mail.dead", true, false, false, false, nil)
		return err == nil && dead.Messages == 1
	})
	if victim, err := ch.QueueDeclarePassive("victim", true, false, false, false, nil); err != nil || victim.Messages != 0 {
		t.Errorf("the victim's queue has %+v, %v", victim, err)
	}
	for _, exchange := range []string{"mail.moves", "", "jobs.v1.Jobs"} {
		if err := post(t, conn, exchange, "mail", amqp.Publishing{}); !isRefused(err) {
			t.Errorf("publish to %q: %v, want ACCESS_REFUSED", exchange, err)
		}
	}
}

// Pairs of a call never become headers that the broker acts on, or that break the
// connection.
func TestPairsThatAreNotSent(t *testing.T) {
	t.Parallel()
	pairs := transport.Pairs{{Key: "X-Good", Value: "yes"}, {Key: "Content-Type", Value: strings.Repeat("c", 256)}, {Key: "Idempotency-Key", Value: strings.Repeat("i", 256)}}
	for _, key := range []string{"CC", "cc", "BCC", "Bcc", "x-death", "X-Delay", "", strings.Repeat("k", 256)} {
		pairs = append(pairs, transport.Pair{Key: key, Value: "v"})
	}
	for i := range 100 {
		pairs = append(pairs, transport.Pair{Key: "long" + strconv.Itoa(i), Value: strings.Repeat("v", 10<<10)})
	}
	p := amqpapi.Publishing(pairs, nil)
	size := 0
	for key, value := range p.Headers {
		size += len(key) + len(value.(string))
		if key != "X-Good" && !strings.HasPrefix(key, "long") {
			t.Errorf("%q is sent", key)
		}
	}
	if p.Headers["X-Good"] != "yes" || size > 64<<10 || p.ContentType != "" || p.MessageId != "" {
		t.Errorf("%d bytes of headers, type %q, id %q", size, p.ContentType, p.MessageId)
	}
}
