package natsapi_test

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	natsserver "github.com/nats-io/nats-server/v2/server"
	"github.com/nats-io/nats.go"

	"github.com/chassi-go/chassi/transport/natsapi"
	"github.com/chassi-go/chassi/transport/natsapi/embedded"
)

// streamsConfig is deploy/nats.conf for the service of these tests, with the lines for streams
// of docs/brokers.md. Each user's password is its name.
func streamsConfig(t *testing.T) string {
	t.Helper()
	text, err := os.ReadFile("../../deploy/nats.conf")
	if err != nil {
		t.Fatal(err)
	}
	config := strings.NewReplacer(
		"auth.v1.Auth", "quotes.v1.Quotes", "$REQUESTS_PASSWORD", "authd-requests", "$RESPONSES_PASSWORD", "authd-responses",
		"$GATEWAY_PASSWORD", "gateway", "$REPORTS_PASSWORD", "reports",
	).Replace(string(text))
	for _, change := range [][2]string{
		{`{service: "from.*.quotes.v1.Quotes.*", account_token_position: 2, response_threshold: "15s"}`,
			`{service: "from.*.quotes.v1.Quotes.Ping", account_token_position: 2, response_threshold: "15s"}
      {service: "from.*.quotes.v1.Quotes.Watch", account_token_position: 2, response_type: stream, response_threshold: "50s"}
      {service: "from.*.quotes.v1.Quotes.Watch.stream.*.*", account_token_position: 2}`},
		{`"from.*.quotes.v1.Quotes.*", `, `"from.*.quotes.v1.Quotes.*", "from.*.quotes.v1.Quotes.*.stream.*.*", `},
		{`publish: ["quotes.v1.Quotes.*", `, `publish: ["quotes.v1.Quotes.*", "quotes.v1.Quotes.*.stream.*.*", `},
		{`      {service: {account: AUTH, subject: "from.gateway.quotes.v1.Quotes.*"}, to: "quotes.v1.Quotes.*"}
`, imports("gateway")},
		{`      {service: {account: AUTH, subject: "from.reports.quotes.v1.Quotes.*"}, to: "quotes.v1.Quotes.*"}
`, imports("reports")},
	} {
		if !strings.Contains(config, change[0]) {
			t.Fatalf("deploy/nats.conf has no %s", change[0])
		}
		config = strings.ReplaceAll(config, change[0], change[1])
	}
	return config
}

func imports(name string) string {
	var lines strings.Builder
	for _, subject := range []string{"Ping", "Watch", "Watch.stream.*.*"} {
		fmt.Fprintf(&lines, "{service: {account: AUTH, subject: \"from.%s.quotes.v1.Quotes.%s\"}, to: \"quotes.v1.Quotes.%[2]s\"}\n", name, subject)
	}
	return lines.String()
}

// onServersWithAccounts runs a test on servers that give each client an account of its own.
func onServersWithAccounts(t *testing.T, test func(t *testing.T, c natsapi.Config, connect func(name string, options ...nats.Option) *nats.Conn)) {
	t.Helper()
	t.Run("embedded", func(t *testing.T) {
		t.Parallel()
		b := startEmbedded(t, "")
		test(t, natsapi.Config{Broker: b, Logger: quiet}, func(name string, options ...nats.Option) *nats.Conn { return b.connect(t, name, options...) })
	})
	t.Run("external", func(t *testing.T) {
		t.Parallel()
		options := new(natsserver.Options)
		if err := options.ProcessConfigString(streamsConfig(t)); err != nil {
			t.Fatal(err)
		}
		options.Host, options.Port, options.NoSigs, options.NoLog = "127.0.0.1", natsserver.RANDOM_PORT, true, true
		n, err := natsserver.NewServer(options)
		if err != nil {
			t.Fatal(err)
		}
		n.Start()
		t.Cleanup(func() { end(n) })
		if !n.ReadyForConnections(20 * time.Second) {
			t.Fatal("the NATS server does not get ready")
		}
		login := func(user string) string {
			return strings.Replace(n.ClientURL(), "nats://", "nats://"+user+":"+user+"@", 1)
		}
		c := natsapi.Config{URL: login("authd-requests"), NamedClients: true, ReplySubjects: []string{"_R_.>"}, Logger: quiet}
		c.Responses.URL = login("authd-responses")
		test(t, c, func(name string, options ...nats.Option) *nats.Conn {
			conn, err := nats.Connect(login(name), options...)
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(conn.Close)
			return conn
		})
	})
}

// Another client, even one that knows the control subject, can neither read a stream nor give it
// credit nor end it.
func TestStreamsOfOtherClients(t *testing.T) {
	t.Parallel()
	onServersWithAccounts(t, func(t *testing.T, c natsapi.Config, connect func(name string, options ...nats.Option) *nats.Conn) {
		q := newQuotes()
		serveQuotes(t, c, q)
		var refused refusals
		attacker := connect("reports", refused.option())
		stolen, err := attacker.SubscribeSync("_INBOX.>")
		if err != nil {
			t.Fatal(err)
		}
		victim := openOn(t, connect("gateway"), "", `{"kind":"idle","count":1000}`)
		for n := range 64 {
			if m := victim.next(t); kindOf(m) != "item "+strconv.Itoa(n+1) {
				t.Fatal(kindOf(m))
			}
		}
		own := openOn(t, attacker, "", `{"kind":"idle","count":1}`)
		forged := plain{control: own.control[:len(own.control)-26] + victim.control[len(victim.control)-26:]}
		for _, target := range []*plain{victim, &forged, {control: "from.gateway." + victim.control}} {
			target.say(t, attacker, "read", "64")
			target.say(t, attacker, "cancel", "")
		}
		if _, err := attacker.SubscribeSync("quotes.v1.Quotes.Watch.stream.*.*"); err != nil {
			t.Fatal(err)
		}
		settle(t, attacker)
		eventually(t, "the server refuses both", func() bool {
			return refused.has("Publish", "from.gateway."+victim.control) && refused.has("Subscription", "quotes.v1.Quotes.Watch.stream.*.*")
		})
		if m, err := victim.sub.NextMsg(300 * time.Millisecond); err == nil {
			t.Errorf("%v %s after the attack", m.Header, m.Data)
		}
		victim.say(t, victim.conn, "read", "64")
		if m := victim.next(t); kindOf(m) != "item 65" {
			t.Errorf("the stream has become %v", m.Header)
		}
		for {
			m, err := stolen.NextMsg(100 * time.Millisecond)
			if err != nil {
				break
			}
			if kindOf(m) != "open 0" && kindOf(m) != "item 1" { // its own
				t.Errorf("stolen: %v", m.Header)
			}
		}
		victim.say(t, victim.conn, "cancel", "")
		if cause := q.cause(t); cause == nil || cause.Reason != "canceled" {
			t.Errorf("%v", cause)
		}
	})
}

// A stream leaves nothing behind at the NATS server, however it ends.
func TestStreamsAreAnswered(t *testing.T) {
	t.Parallel()
	b := startEmbedded(t, "", func(c *embedded.Config) { c.MaxUnansweredPerClient = 3 })
	q := newQuotes()
	serveQuotes(t, natsapi.Config{Broker: b, Logger: quiet}, q)
	caller := dial(t, b.client(t))
	c := clientOf(t, caller)
	for n := range 120 {
		r := &watch{Kind: []string{"ends", "breaks", "empty", "absent"}[n%4], Count: 1}
		if _, _, err := receive(t.Context(), c, "Watch", r); err != nil && r.Kind != "breaks" && r.Kind != "absent" {
			t.Fatalf("%s: %v", r.Kind, err)
		}
	}
	// Longer than the interval at which the server counts.
	time.AfterFunc(500*time.Millisecond, func() { close(q.resume) })
	if _, _, err := receive(t.Context(), c, "Watch", &watch{Kind: "waits"}); err != nil {
		t.Error(err)
	}
	if n := caller.Stats().Reconnects["client"]; n > 0 {
		t.Errorf("the client was disconnected %d times", n)
	}
}
