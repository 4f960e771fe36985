package natsapi_test

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"
	"github.com/nats-io/nats.go/micro"
	"github.com/nats-io/nkeys"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/client"
	"github.com/chassi-go/chassi/internal/broker"
	"github.com/chassi-go/chassi/internal/worktest"
	"github.com/chassi-go/chassi/transport"
	"github.com/chassi-go/chassi/transport/natsapi"
	"github.com/chassi-go/chassi/transport/natsapi/embedded"
)

// scene is a service with two clients: gateway, which is attacked, and reports, whose
// credentials the attacker has.
type scene struct {
	url     string
	server  natsapi.Config                                                     // how the service connects
	victim  natsapi.ClientConfig                                               // how gateway connects
	connect func(t testing.TB, name string, options ...nats.Option) *nats.Conn // as gateway or reports
	work    func(t testing.TB) jetstream.JetStream                             // with the right to look at the streams
	queues  bool                                                               // whether the service has a work queue, "jobs"

	mu    sync.Mutex
	calls []string // "nats:NAME ADDR NUMBER" of each call of the endpoint
	jobs  int      // that the work queue ran
}

// onBothServers runs an attack on the embedded server and on an external one with the
// configuration that docs/brokers.md gives.
func onBothServers(t *testing.T, attack func(t *testing.T, s *scene)) {
	t.Run("embedded", func(t *testing.T) {
		t.Parallel()
		b := startEmbedded(t, t.TempDir())
		s := &scene{url: b.URL(), server: natsapi.Config{Broker: b}, connect: b.connect, queues: true}
		b.connect(t, "gateway").Close() // until it is admitted
		s.victim = natsapi.ClientConfig{URL: b.URL(), Login: b.login(t, "gateway")}
		s.work = func(t testing.TB) jetstream.JetStream { return streams(t, b.URL(), b.WorkOptions()...) }
		s.start(t)
		attack(t, s)
	})
	t.Run("external", func(t *testing.T) {
		t.Parallel()
		url := startExternal(t)
		login := func(user string) string { return strings.Replace(url, "nats://", "nats://"+user+":"+user+"@", 1) }
		s := &scene{url: url, server: natsapi.Config{URL: login("authd-requests"), NamedClients: true, ReplySubjects: []string{"_R_.>"}}}
		s.server.Responses.URL = login("authd-responses")
		s.victim = natsapi.ClientConfig{URL: login("gateway")}
		s.connect = func(t testing.TB, name string, options ...nats.Option) *nats.Conn {
			t.Helper()
			conn, err := nats.Connect(login(name), options...)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(conn.Close)
			return conn
		}
		s.work = func(t testing.TB) jetstream.JetStream { return streams(t, login("operator")) }
		s.start(t)
		attack(t, s)
	})
}

// startExternal runs a server with deploy/nats.conf, for the service of these tests in place
// of authd, where each user's password is its name. The service's account has streams and
// an operator, so that there is something to destroy.
func startExternal(t *testing.T) (url string) {
	t.Helper()
	options := externalOptions(t)
	options.Host, options.Port, options.NoSigs, options.NoLog = "127.0.0.1", natsserver.RANDOM_PORT, true, true
	options.JetStream, options.StoreDir = true, t.TempDir()
	n, err := natsserver.NewServer(options)
	if err != nil {
		t.Fatal(err)
	}
	n.Start()
	t.Cleanup(func() { n.Shutdown(); n.WaitForShutdown() })
	if !n.ReadyForConnections(20 * time.Second) {
		t.Fatal("the NATS server does not get ready")
	}
	return n.ClientURL()
}

func externalOptions(t *testing.T) *natsserver.Options {
	t.Helper()
	text, err := os.ReadFile("../../deploy/nats.conf")
	if err != nil {
		t.Fatal(err)
	}
	config := strings.NewReplacer(
		"auth.v1.Auth", "jobs.v1.Jobs", "$REQUESTS_PASSWORD", "authd-requests", "$RESPONSES_PASSWORD", "authd-responses",
		"$GATEWAY_PASSWORD", "gateway", "$REPORTS_PASSWORD", "reports",
		"AUTH {\n    users = [", "AUTH {\n    jetstream: enabled\n    users = [ {user: operator, password: operator}",
	).Replace(string(text))
	options := new(natsserver.Options)
	if err := options.ProcessConfigString(config); err != nil {
		t.Fatal(err)
	}
	return options
}

func streams(t testing.TB, url string, options ...nats.Option) jetstream.JetStream {
	t.Helper()
	conn, err := nats.Connect(url, append(options, nats.CustomInboxPrefix("_INBOX.operator"))...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	js, err := jetstream.New(conn)
	if err != nil {
		t.Fatal(err)
	}
	return js
}

// start serves; what is called is in s.calls.
func (s *scene) start(t *testing.T) {
	t.Helper()
	def := worktest.Service(func(ctx context.Context, j *worktest.Job) (*worktest.Nothing, error) {
		call := chassi.CallFrom(ctx)
		s.mu.Lock()
		defer s.mu.Unlock()
		if call.In.Get(transport.IdempotencyKey) != "" {
			s.jobs++
		}
		s.calls = append(s.calls, fmt.Sprintf("%s %v %d", call.PeerName, call.Peer.IsValid(), j.Number))
		return &worktest.Nothing{}, nil
	})
	s.server.Logger = quiet
	server := natsapi.New(s.server)
	if err := server.Mount(def); err != nil {
		t.Fatal(err)
	}
	if s.queues {
		if err := server.Consume(transport.Queue{Name: "jobs"}, def.Endpoint("Do")); err != nil {
			t.Fatal(err)
		}
	} else if _, err := s.work(t).CreateStream(t.Context(), jetstream.StreamConfig{Name: "jobs", Subjects: []string{"work.jobs"}}); err != nil {
		t.Fatal(err)
	}
	if err := server.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(t, server) })
}

func (s *scene) called() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.calls)
}

// untouched fails the test unless the stream is there and empty, and no job ran.
func (s *scene) untouched(t *testing.T) {
	t.Helper()
	stream, err := s.work(t).Stream(t.Context(), "jobs")
	if err != nil {
		t.Errorf("the stream is gone: %v", err)
		return
	}
	if info, err := stream.Info(t.Context()); err != nil || info.State.LastSeq != 0 {
		t.Errorf("the stream has had messages: %+v, %v", info, err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.jobs > 0 {
		t.Errorf("%d jobs ran", s.jobs)
	}
}

// call makes calls as gateway over the client of this package, all of which must succeed.
func (s *scene) call(t *testing.T, times int) {
	t.Helper()
	c, err := client.New(worktest.Service(worktest.Succeed), dial(t, s.victim))
	if err != nil {
		t.Fatal(err)
	}
	for range times {
		if _, err := client.Invoke[worktest.Nothing](t.Context(), c, "Do", &worktest.Job{Number: 7}); err != nil {
			t.Errorf("a call of the victim: %v", err)
		}
	}
}

// refusals collects the errors of a connection.
type refusals struct {
	mu   sync.Mutex
	seen map[string]bool
}

func (r *refusals) option() nats.Option {
	r.seen = make(map[string]bool)
	return nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.seen[err.Error()] = true
	})
}

// has reports whether the server refused what, "Subscription" or "Publish", of subject.
func (r *refusals) has(what, subject string) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	for text := range r.seen {
		if strings.Contains(text, fmt.Sprintf("%s to %q", what, subject)) {
			return true
		}
	}
	return false
}

// tap is a connection of the client library to which a test can write besides.
type tap struct{ net.Conn }

func (c *tap) Dial(network, addr string) (conn net.Conn, err error) {
	c.Conn, err = net.Dial(network, addr)
	return c.Conn, err
}

// settle waits until the server has handled all that conn sent.
func settle(t *testing.T, conn *nats.Conn) {
	t.Helper()
	if err := conn.FlushTimeout(10 * time.Second); err != nil {
		t.Fatal(err)
	}
}

// Only clients with their own credentials can connect.
func TestAnonymousClientsAreRefused(t *testing.T) {
	t.Parallel()
	onBothServers(t, func(t *testing.T, s *scene) {
		pair, err := nkeys.CreateUser()
		if err != nil {
			t.Fatal(err)
		}
		public, err := pair.PublicKey()
		if err != nil {
			t.Fatal(err)
		}
		for name, option := range map[string]nats.Option{
			"nothing": func(*nats.Options) error { return nil }, "a user": nats.UserInfo("gateway", "a guess"), "no password": nats.UserInfo("requests", ""),
			"a token": nats.Token("token"), "another key": nats.Nkey(public, pair.Sign),
			"a JWT": nats.UserJWT(func() (string, error) { return "e30.e30.e30", nil }, pair.Sign),
		} {
			conn, err := nats.Connect(s.url, option)
			if err == nil {
				conn.Close()
			}
			if !errors.Is(err, nats.ErrAuthorization) && !errors.Is(err, nats.ErrNkeysNotSupported) {
				t.Errorf("%s: %v", name, err)
			}
		}
		for _, protocol := range []string{
			"SUB > 1\r\nPUB jobs.v1.Jobs.Do _INBOX.x 2\r\n{}\r\nPING\r\n",
			"CONNECT {}\r\nSUB > 1\r\nPUB jobs.v1.Jobs.Do _INBOX.x 2\r\n{}\r\nPING\r\n",
		} {
			// At the beginning of a line, because the random name of the server may contain either.
			if got := raw(t, s.url, protocol); strings.Contains(got, "\nMSG ") || strings.Contains(got, "\nPONG") {
				t.Errorf("%q: %s", protocol, got)
			}
		}
		if calls := s.called(); len(calls) > 0 {
			t.Errorf("called: %v", calls)
		}
	})
}

// raw sends bytes and returns what the server says until it hangs up.
func raw(t *testing.T, url, protocol string) string {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(url, "nats://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	if _, err := conn.Write([]byte(protocol)); err != nil {
		return ""
	}
	var said strings.Builder
	for lines := bufio.NewScanner(conn); lines.Scan(); {
		said.WriteString(lines.Text() + "\n")
	}
	return said.String()
}

// A client cannot observe the requests and responses of others, and cannot receive the service's
// requests.
func TestClientsReceiveNothingOfOthers(t *testing.T) {
	t.Parallel()
	onBothServers(t, func(t *testing.T, s *scene) {
		var refused refusals
		attacker := s.connect(t, "reports", refused.option())
		heard := func(m *nats.Msg) { t.Errorf("heard %s %q on a subscription to %s", m.Subject, m.Data, m.Sub.Subject) }
		forbidden := []string{
			">", "*.>", "_R_.>", "jobs.>", "jobs.v1.Jobs.Do", "from.>", "from.*.jobs.v1.Jobs.Do", "from.gateway.jobs.v1.Jobs.Do",
			"$SRV.>", "$SRV.PING", "$JS.>", "$SYS.>", "$SYS.ACCOUNT.>", "work.>", "_INBOX", "*",
		}
		for _, subject := range forbidden {
			if _, err := attacker.Subscribe(subject, heard); err != nil {
				t.Fatal(err)
			}
			if _, err := attacker.QueueSubscribe(subject, "q", heard); err != nil {
				t.Fatal(err)
			}
		}
		for _, subject := range []string{"_INBOX.>", "_INBOX.*", "_INBOX.*.*"} { // its own account's alone
			if _, err := attacker.Subscribe(subject, heard); err != nil {
				t.Fatal(err)
			}
		}
		settle(t, attacker)
		s.call(t, 50)
		victim := s.connect(t, "gateway")
		for range 10 {
			if _, err := victim.Request("$SRV.INFO", nil, 10*time.Second); err != nil {
				t.Error(err)
			}
		}
		settle(t, attacker)
		eventually(t, "all were refused", func() bool {
			return !slices.ContainsFunc(forbidden, func(subject string) bool { return !refused.has("Subscription", subject) })
		})
		if calls := s.called(); len(calls) != 50 || slices.ContainsFunc(calls, func(c string) bool { return c != "nats:gateway false 7" }) {
			t.Errorf("%d calls: %v", len(calls), calls)
		}
		s.untouched(t)
	})
}

// A client publishes to nothing but services: not to others' inboxes, whose names it is
// given here, not as another client, not to streams.
func TestClientsPublishToServicesOnly(t *testing.T) {
	t.Parallel()
	onBothServers(t, func(t *testing.T, s *scene) {
		victim := s.connect(t, "gateway")
		inbox := victim.NewInbox()
		if _, err := victim.Subscribe(inbox, func(m *nats.Msg) { t.Errorf("the victim got %q", m.Data) }); err != nil {
			t.Fatal(err)
		}
		settle(t, victim)
		var refused refusals
		attacker := s.connect(t, "reports", refused.option())
		subjects := []string{
			inbox, "_INBOX.x", "_R_.ABCDEF.x", "from.gateway.jobs.v1.Jobs.Do", "from.reports.jobs.v1.Jobs.Do",
			"$JS.API.STREAM.DELETE.jobs", "$JS.API.STREAM.PURGE.jobs", "$JS.API.INFO", "$JS.ACK.jobs.jobs.1.1.1.1.1", "$SYS.REQ.SERVER.PING", "$SYS.REQ.ACCOUNT.PING.CONNZ", "$SYS.REQ.USER.INFO",
		}
		for _, subject := range subjects {
			if err := attacker.PublishRequest(subject, attacker.NewInbox(), []byte("{}")); err != nil {
				t.Fatal(err)
			}
		}
		if err := attacker.PublishRequest("work.jobs", inbox, []byte("{}")); err != nil { // a subject of its own account at best
			t.Fatal(err)
		}
		settle(t, attacker)
		eventually(t, "all were refused", func() bool {
			return !slices.ContainsFunc(subjects, func(subject string) bool { return !refused.has("Publish", subject) })
		})
		settle(t, victim)
		if calls := s.called(); len(calls) > 0 {
			t.Errorf("called: %v", calls)
		}
		s.untouched(t)
	})
}

// Whatever a request wants as its reply subject, the service's response reaches only the client
// that made the request: no other's inbox, no stream, no endpoint.
func TestResponsesReachNoOtherClient(t *testing.T) {
	t.Parallel()
	onBothServers(t, func(t *testing.T, s *scene) {
		victim := s.connect(t, "gateway")
		inbox := victim.NewInbox()
		for _, subject := range []string{inbox, "_INBOX.>"} {
			if _, err := victim.Subscribe(subject, func(m *nats.Msg) { t.Errorf("the victim got %q on %s", m.Data, m.Subject) }); err != nil {
				t.Fatal(err)
			}
		}
		settle(t, victim)
		attacker := s.connect(t, "reports")
		replies := []string{
			inbox, "work.jobs", "dead.jobs", "$JS.API.STREAM.DELETE.jobs", "$JS.API.STREAM.PURGE.jobs", "$JS.ACK.jobs.jobs.1.1.1.1.1", "jobs.v1.Jobs.Do",
			"from.gateway.jobs.v1.Jobs.Do", "_R_.ABCDEF.x", "$SRV.PING", "$SYS.REQ.SERVER.PING", "x", "jobs",
		}
		for _, reply := range replies {
			for _, subject := range []string{"jobs.v1.Jobs.Do", "$SRV.PING", "$SRV.STATS"} {
				if err := attacker.PublishRequest(subject, reply, []byte(`{"number":1}`)); err != nil {
					t.Fatal(err)
				}
			}
		}
		for _, reply := range []string{"_INBOX.>", "_INBOX.*", ">", "*", "a..b", ".a", "a."} { // no subjects to answer to
			_ = attacker.PublishRequest("jobs.v1.Jobs.Do", reply, []byte(`{"number":1}`))
			if attacker.IsClosed() {
				attacker = s.connect(t, "reports")
			}
		}
		settle(t, attacker)
		eventually(t, "a later request is answered", func() bool { // a wildcard costs its sender the responses that it waits for
			_, err := attacker.Request("jobs.v1.Jobs.Do", []byte(`{"number":2}`), time.Second)
			return err == nil
		})
		settle(t, victim)
		made := 0
		for _, call := range s.called() {
			switch call {
			case "nats:reports false 1":
				made++
			case "nats:reports false 2":
			default:
				t.Errorf("a call that nobody made: %s", call)
			}
		}
		if made > len(replies)+7 {
			t.Errorf("%d calls: a response was taken for a request", made)
		}
		s.untouched(t)
	})
}

// A client cannot be taken for another one, nor speak for an address, by any header. The
// server's own header Nats-Request-Info can be forged: the blank line hides what the server
// adds, the doubled name keeps it from removing the forgery.
func TestClientsCannotForgeTheirIdentity(t *testing.T) {
	t.Parallel()
	onBothServers(t, func(t *testing.T, s *scene) {
		const info = `{"acc":"gateway","user":"gateway","svc":"gateway","host":"192.0.2.1"}`
		var wire tap
		attacker := s.connect(t, "reports", nats.SetCustomDialer(&wire))
		for i, header := range []string{
			"Nats-Request-Info: " + info + "\r\n\r\n",
			"nats-request-info: " + info + "\r\nX-Forwarded-For: 192.0.2.1\r\nForwarded: for=192.0.2.1\r\n\r\n",
			"A: Nats-Request-InfoNats-Request-Info\r\nNats-Request-Info: " + info + "\r\n\r\n",
			"Nats-Request-Info: " + info + "\r\n\r\nA: b\r\n\r\n",
			"A: Nats-Request-InfoNats-Request-Info\r\nNats-Request-Info: " + info + "\r\n\r\nA: b\r\n\r\n",
		} {
			header, body := "NATS/1.0\r\n"+header, fmt.Sprintf(`{"number":%d}`, i)
			settle(t, attacker)
			if _, err := fmt.Fprintf(wire, "HPUB jobs.v1.Jobs.Do _INBOX.x %d %d\r\n%s%s\r\n", len(header), len(header)+len(body), header, body); err != nil {
				t.Fatal(err)
			}
		}
		settle(t, attacker)
		eventually(t, "all are called", func() bool { return len(s.called()) == 5 })
		for _, call := range s.called() {
			if !strings.HasPrefix(call, "nats:reports false ") {
				t.Errorf("called by %s", call)
			}
		}
	})
}

// One client that floods the discovery of services keeps no other client from its responses.
func TestDiscoveryByOneClientLeavesCapacityForOthers(t *testing.T) {
	t.Parallel()
	onBothServers(t, func(t *testing.T, s *scene) {
		victim, attacker := s.connect(t, "gateway"), s.connect(t, "reports")
		for range 20 {
			for range 300 { // more than all clients together are answered in a second
				if err := attacker.PublishRequest("$SRV.PING", "_INBOX.x", nil); err != nil {
					t.Fatal(err)
				}
			}
			settle(t, attacker)
			if _, err := victim.Request("$SRV.PING", nil, 5*time.Second); err != nil {
				t.Fatalf("the other client: %v", err)
			}
		}
	})
}

// The discovery tells a client nothing about what another one has asked for: the last error
// of an endpoint is its code and reason, without the message.
func TestDiscoveryHidesOtherClients(t *testing.T) {
	t.Parallel()
	b := startEmbedded(t, "")
	s := start(t, natsapi.Config{Broker: b, Logger: quiet}, nil, worktest.Service(func(context.Context, *worktest.Job) (*worktest.Nothing, error) {
		return nil, chassi.NewError(chassi.NotFound, "no_such_order", "There is no order 4711 of ada@example.org").WithViolations(chassi.Violation{Field: "order", Message: "4711"})
	}))
	defer stop(t, s)
	victim, attacker := b.connect(t, "gateway"), b.connect(t, "reports")
	m, err := victim.Request("jobs.v1.Jobs.Do", []byte(`{"number":1}`), 10*time.Second)
	if err != nil || !strings.Contains(string(m.Data), "4711") {
		t.Fatalf("%v, %v", m, err)
	}
	var stats micro.Stats
	eventually(t, "the call is counted", func() bool {
		m, err := attacker.Request("$SRV.STATS", nil, 10*time.Second)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(m.Data), "4711") {
			t.Fatalf("the discovery says %s", m.Data)
		}
		if err := json.Unmarshal(m.Data, &stats); err != nil {
			t.Fatal(err)
		}
		return len(stats.Endpoints) > 0 && stats.Endpoints[0].NumErrors == 1
	})
	if got, want := stats.Endpoints[0].LastError, strconv.Itoa(int(chassi.NotFound))+":no_such_order"; got != want {
		t.Errorf("last error %q, want %q", got, want)
	}
	for _, subject := range []string{"$SRV.PING", "$SRV.INFO"} {
		if m, err := attacker.Request(subject, nil, 10*time.Second); err != nil || strings.Contains(string(m.Data), "gateway") {
			t.Errorf("%s: %v, %v", subject, m, err)
		}
	}
}

// A request of a client whose name is too long is dropped, counted and logged, like one that
// wants its response somewhere else.
func TestLongClientNamesAreRefused(t *testing.T) {
	t.Parallel()
	url := external(t)
	prefix := "names" + strconv.FormatInt(time.Now().UnixNano(), 36)
	events := make(chan string, 100)
	var log journal
	s := start(t, natsapi.Config{URL: url, Prefix: prefix, NamedClients: true, Logger: log.logger(), Observe: func(event string) { events <- event }}, nil, worktest.Service(worktest.Succeed))
	defer stop(t, s)
	conn := connect(t, natsapi.ClientConfig{URL: url})
	for _, subject := range []string{prefix + ".jobs.v1.Jobs.Do", "$SRV.PING." + prefix + "_jobs_v1_Jobs"} {
		if err := conn.PublishRequest("from."+strings.Repeat("x", 65)+"."+subject, conn.NewInbox(), []byte("{}")); err != nil {
			t.Fatal(err)
		}
		select {
		case event := <-events:
			if event != "name_refused" {
				t.Errorf("event %s", event)
			}
		case <-time.After(20 * time.Second):
			t.Fatal("not counted")
		}
		if m, err := conn.Request("from."+strings.Repeat("x", 64)+"."+subject, []byte("{}"), 10*time.Second); err != nil || m.Header.Get(broker.CodeKey) != "" {
			t.Errorf("a name of 64 bytes: %v, %v", m, err)
		}
	}
	if s.Refused() != 2 {
		t.Errorf("%d were counted", s.Refused())
	}
	if text := log.String(); strings.Count(text, "longer than 64 bytes") != 1 {
		t.Errorf("not logged once:\n%s", text)
	}
}

// A response that the NATS server would not take is replaced by an error. That is logged once
// a minute.
func TestResponsesAreBounded(t *testing.T) {
	t.Parallel()
	b := startEmbedded(t, "", func(c *embedded.Config) { c.MaxPayload = 4096 })
	var log journal
	type text struct {
		Text string `json:"text"`
	}
	def := chassi.NewService("texts.v1.Texts", chassi.NewEndpoint("Repeat", func(_ context.Context, j *worktest.Job) (*text, error) {
		return &text{strings.Repeat("x", j.Number)}, nil
	}, chassi.Public))
	s := start(t, natsapi.Config{Broker: b, Logger: log.logger()}, nil, def)
	defer stop(t, s)
	conn := connect(t, b.client(t))
	for range 3 {
		for size, reason := range map[int]string{1: "", 3000: "", 5000: "response_too_large", 1 << 20: "response_too_large"} {
			m, err := conn.Request("texts.v1.Texts.Repeat", fmt.Appendf(nil, `{"number":%d}`, size), 10*time.Second)
			if err != nil || m.Header.Get(broker.ReasonKey) != reason {
				t.Errorf("%d bytes: %v, %v, want %q", size, m, err, reason)
			} else if fault, ok := errors.AsType[*chassi.Error](natsapi.ErrorOf(m)); ok != (reason != "") || ok && fault.Code != chassi.ResourceExhausted {
				t.Errorf("%d bytes: %v", size, fault)
			}
		}
	}
	if text := log.String(); strings.Count(text, "max_payload") != 1 {
		t.Errorf("not logged once:\n%s", text)
	}
}

// The responses that the server of deploy/nats.conf expects have a time.
func TestConfigurationBoundsExpectedResponses(t *testing.T) {
	t.Parallel()
	for _, a := range externalOptions(t).Accounts {
		if a.Name != "AUTH" {
			continue
		}
		for subject, want := range map[string]time.Duration{"from.*.jobs.v1.Jobs.*": 15 * time.Second, "from.*.$SRV.>": 5 * time.Second} {
			if got, err := a.ServiceExportResponseThreshold(subject); err != nil || got != want {
				t.Errorf("%s: %v, %v, want %v", subject, got, err, want)
			}
		}
		return
	}
	t.Error("no account AUTH")
}

// Responses to the discovery of services come from services alone.
func TestDiscoveryCannotBeSpoofed(t *testing.T) {
	t.Parallel()
	onBothServers(t, func(t *testing.T, s *scene) {
		attacker, victim := s.connect(t, "reports"), s.connect(t, "gateway")
		spoof, err := json.Marshal(micro.Ping{ServiceIdentity: micro.ServiceIdentity{Name: "spoof", ID: "spoof", Version: "1.0.0"}, Type: micro.PingResponseType})
		if err != nil {
			t.Fatal(err)
		}
		for _, subject := range []string{"$SRV.PING", "$SRV.>", "$SRV.PING.*"} {
			if _, err := attacker.Subscribe(subject, func(m *nats.Msg) { _ = m.Respond(spoof) }); err != nil {
				t.Fatal(err)
			}
		}
		settle(t, attacker)
		responses, err := victim.SubscribeSync(victim.NewInbox())
		if err != nil {
			t.Fatal(err)
		}
		if err := victim.PublishRequest("$SRV.PING", responses.Subject, nil); err != nil {
			t.Fatal(err)
		}
		m, err := responses.NextMsg(10 * time.Second)
		if err != nil || !strings.Contains(string(m.Data), "jobs_v1_Jobs") {
			t.Errorf("%v %v", m, err)
		}
		if m, err := responses.NextMsg(300 * time.Millisecond); err == nil {
			t.Errorf("a second response: %s", m.Data)
		}
	})
}

// A panic of the Observe function fails neither the call nor the process.
func TestPanicInObserve(t *testing.T) {
	t.Parallel()
	url := external(t)
	prefix := "observe" + strconv.FormatInt(time.Now().UnixNano(), 36)
	events := make(chan string, 1)
	s := start(t, natsapi.Config{URL: url, Prefix: prefix, Logger: quiet, Observe: func(event string) { events <- event; panic("in Observe") }}, nil, worktest.Service(worktest.Succeed))
	defer stop(t, s)
	conn := connect(t, natsapi.ClientConfig{URL: url})
	subject := prefix + ".jobs.v1.Jobs.Do"
	if err := conn.PublishRequest(subject, prefix+".elsewhere", []byte(`{}`)); err != nil {
		t.Fatal(err)
	}
	select {
	case <-events:
	case <-time.After(20 * time.Second):
		t.Fatal("nothing was observed")
	}
	if m, err := conn.Request(subject, []byte(`{}`), 10*time.Second); err != nil || m.Header.Get(broker.CodeKey) != "" {
		t.Errorf("the next request: %v %v", m, err)
	}
}

// Where clients share an account with the service, as on a server without accounts, the
// service still writes to reply subjects alone, and neither an error, a refusal nor an
// response of the discovery goes anywhere else.
func TestServiceWritesToReplySubjectsOnly(t *testing.T) {
	t.Parallel()
	url := external(t)
	prefix := "reply" + strconv.FormatInt(time.Now().UnixNano(), 36)
	events := make(chan string, 100)
	s := start(t, natsapi.Config{URL: url, Prefix: prefix, Logger: quiet, Observe: func(event string) { events <- event }}, nil, worktest.Service(worktest.Succeed))
	defer stop(t, s)
	conn := connect(t, natsapi.ClientConfig{URL: url})
	spy, err := conn.SubscribeSync(prefix + ".target.>")
	if err != nil {
		t.Fatal(err)
	}
	sent := 0
	ask := func(subject string, header nats.Header, body string) {
		sent++
		m := &nats.Msg{Subject: subject, Reply: prefix + ".target." + strconv.Itoa(sent), Header: header, Data: []byte(body)}
		if err := conn.PublishMsg(m); err != nil {
			t.Fatal(err)
		}
	}
	subject := prefix + ".jobs.v1.Jobs.Do"
	ask(subject, nil, `{}`)
	ask(subject, nil, `no JSON`)
	ask(subject, nats.Header{"A": {strings.Repeat("x", 20<<10)}}, `{}`)
	ask("$SRV.PING."+prefix+"_jobs_v1_Jobs", nil, ``)
	ask("$SRV.INFO."+prefix+"_jobs_v1_Jobs", nil, ``)
	ask("$SRV.STATS."+prefix+"_jobs_v1_Jobs", nil, ``)
	for range sent {
		select {
		case event := <-events:
			if event != "reply_refused" {
				t.Errorf("event %s", event)
			}
		case <-time.After(20 * time.Second):
			t.Fatal("a request was not dropped")
		}
	}
	if _, err := conn.Request(subject, []byte(`{}`), 10*time.Second); err != nil {
		t.Errorf("a proper request: %v", err)
	}
	if m, err := spy.NextMsg(100 * time.Millisecond); err == nil {
		t.Errorf("the service wrote %q to %s", m.Data, m.Subject)
	}
	if s.Refused() != uint64(sent) {
		t.Errorf("%d were counted, want %d", s.Refused(), sent)
	}
}

// A message with too many or too large headers is refused.
func TestHeadersAreBounded(t *testing.T) {
	t.Parallel()
	b := startEmbedded(t, "")
	s := start(t, natsapi.Config{Broker: b, Logger: quiet}, nil, worktest.Service(worktest.Succeed))
	defer stop(t, s)
	conn := connect(t, b.client(t))
	many := make(nats.Header)
	for i := range 100 {
		many.Set("H-"+strconv.Itoa(i), "x")
	}
	for name, h := range map[string]nats.Header{"many": many, "one of many values": {"A": make([]string, 100)}, "long": {"A": {strings.Repeat("x", 20<<10)}}} {
		response, err := conn.RequestMsg(&nats.Msg{Subject: "jobs.v1.Jobs.Do", Header: h, Data: []byte("{}")}, 10*time.Second)
		if err != nil || response.Header.Get(broker.ReasonKey) != "headers_too_large" {
			t.Errorf("%s: %v %v", name, response, err)
		}
	}
	if response, err := conn.RequestMsg(&nats.Msg{Subject: "jobs.v1.Jobs.Do", Header: nats.Header{"A": {"b"}}, Data: []byte("{}")}, 10*time.Second); err != nil || response.Header.Get(broker.CodeKey) != "" {
		t.Errorf("a few: %v %v", response, err)
	}
}

// Only a trusted client, such as a gateway, may name the address for which it calls.
func TestTrustedClientsForwardAddresses(t *testing.T) {
	t.Parallel()
	b := startEmbedded(t, "")
	sources := make(chan string, 10)
	s := start(t, natsapi.Config{Broker: b, TrustedClients: []string{"gateway"}, Logger: quiet}, nil, worktest.Service(func(ctx context.Context, _ *worktest.Job) (*worktest.Nothing, error) {
		sources <- chassi.CallFrom(ctx).Source()
		return &worktest.Nothing{}, nil
	}))
	defer stop(t, s)
	for _, c := range []struct {
		client string
		header nats.Header
		want   string
	}{
		{"gateway", nats.Header{"X-Forwarded-For": {"192.0.2.7, 198.51.100.1"}}, "198.51.100.1"},
		{"gateway", nats.Header{"x-forwarded-for": {"2001:db8:1:2:3::4"}}, "2001:db8:1:2::/64"},
		{"gateway", nats.Header{"X-Forwarded-For": {"192.0.2.7", "198.51.100.1"}}, "198.51.100.1"},
		{"gateway", nats.Header{"X-Forwarded-For": {"198.51.100.1"}, "x-forwarded-for": {"192.0.2.7"}}, "nats:gateway"},
		{"gateway", nats.Header{"X-Forwarded-For": {"nobody"}}, "nats:gateway"},
		{"gateway", nil, "nats:gateway"},
		{"default", nats.Header{"X-Forwarded-For": {"192.0.2.7"}}, "nats:default"},
	} {
		conn := b.connect(t, c.client)
		if _, err := conn.RequestMsg(&nats.Msg{Subject: "jobs.v1.Jobs.Do", Header: c.header, Data: []byte("{}")}, 10*time.Second); err != nil {
			t.Fatal(err)
		}
		if got := <-sources; got != c.want {
			t.Errorf("%s with %v: %s, want %s", c.client, c.header, got, c.want)
		}
	}
}

// One client uses up its share of the calls while another is served.
func TestOneClientCannotUseUpTheCalls(t *testing.T) {
	t.Parallel()
	b := startEmbedded(t, "")
	entered, leave := make(chan string, 100), make(chan struct{})
	s := start(t, natsapi.Config{Broker: b, MaxConcurrent: 4, MaxQueued: 8, MaxConcurrentPerClient: 2, MaxQueuedPerClient: 4, Logger: quiet}, nil, worktest.Service(func(ctx context.Context, _ *worktest.Job) (*worktest.Nothing, error) {
		name := chassi.CallFrom(ctx).PeerName
		entered <- name
		if name == "nats:default" {
			<-leave
		}
		return &worktest.Nothing{}, nil
	}))
	defer stop(t, s)
	greedy, modest := connect(t, b.client(t)), b.connect(t, "modest")
	responses := make(chan *nats.Msg, 100)
	inbox := greedy.NewInbox()
	if _, err := greedy.ChanSubscribe(inbox, responses); err != nil {
		t.Fatal(err)
	}
	for range 50 {
		if err := greedy.PublishRequest("jobs.v1.Jobs.Do", inbox, []byte("{}")); err != nil {
			t.Fatal(err)
		}
	}
	for range 50 - 2 - 4 { // two run, four wait
		if m := <-responses; m.Header.Get(broker.ReasonKey) != "overloaded" {
			t.Errorf("%v", m.Header)
		}
	}
	for range 10 {
		if m, err := modest.Request("jobs.v1.Jobs.Do", []byte("{}"), 10*time.Second); err != nil || m.Header.Get(broker.CodeKey) != "" {
			t.Errorf("the other client: %v %v", m, err)
		}
	}
	close(leave)
	for range 6 {
		if m := <-responses; m.Header.Get(broker.CodeKey) != "" {
			t.Errorf("%v", m.Header)
		}
	}
	if n := len(entered); n != 16 {
		t.Errorf("%d calls were made, want 16", n)
	}
}

// A client that floods the service over many connections costs another one no call: each
// client's requests fill a connection of their own.
func TestFloodOfOneClientLeavesOthersAlone(t *testing.T) {
	t.Parallel()
	b := startEmbedded(t, "", func(c *embedded.Config) { c.MaxPendingBytes = 2 << 20 })
	s := start(t, natsapi.Config{Broker: b, Logger: quiet}, nil, worktest.Service(worktest.Succeed))
	defer stop(t, s)
	modest := b.connect(t, "modest")
	over := make(chan struct{})
	var senders sync.WaitGroup
	body := []byte(strings.Repeat("x", 1<<20-200))
	for range 3 {
		greedy := connect(t, b.client(t))
		senders.Go(func() {
			for {
				select {
				case <-over:
					return
				default:
					_ = greedy.PublishRequest("jobs.v1.Jobs.Do", "_INBOX.x", body)
				}
			}
		})
	}
	for range 20 {
		if m, err := modest.Request("jobs.v1.Jobs.Do", []byte("{}"), 20*time.Second); err != nil || m.Header.Get(broker.CodeKey) != "" {
			t.Errorf("the other client: %v %v", m, err)
		}
	}
	close(over)
	senders.Wait()
}

// The configuration that scripts/secrets.sh makes for deploy/compose.yaml is one, with a
// password of its own for each user.
func TestSecretsMakeAConfiguration(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	for _, file := range []string{"scripts/secrets.sh", "deploy/nats.conf"} {
		text, err := os.ReadFile(filepath.Join("../..", file))
		if err != nil {
			t.Fatal(err)
		}
		if err := os.MkdirAll(filepath.Join(dir, filepath.Dir(file)), 0o700); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, file), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if out, err := exec.Command("bash", filepath.Join(dir, "scripts/secrets.sh")).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	text, err := os.ReadFile(filepath.Join(dir, "deploy/secrets/nats_conf"))
	if err != nil {
		t.Fatal(err)
	}
	options := new(natsserver.Options)
	if err := options.ProcessConfigString(string(text)); err != nil {
		t.Fatal(err)
	}
	passwords := make(map[string]string)
	for _, u := range options.Users {
		if other := passwords[u.Password]; other != "" || len(u.Password) < 32 {
			t.Errorf("%s has the password of %s, or a short one", u.Username, other)
		}
		passwords[u.Password] = u.Username
	}
	url, err := os.ReadFile(filepath.Join(dir, "deploy/secrets/nats_responses_url"))
	if err != nil || !strings.Contains(string(url), "authd-responses:") || len(passwords) != 4 {
		t.Errorf("%s, %v, %d users", url, err, len(passwords))
	}
}
