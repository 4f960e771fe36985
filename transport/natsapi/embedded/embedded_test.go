package embedded

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nkeys"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) {
	// The server leaves these for the rest of the process.
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/nats-io/nats-server/v2/server.(*ipQueue[...]).push"),
		goleak.IgnoreAnyFunction("github.com/nats-io/nats-server/v2/server.(*Server).Start"))
}

// journal is a log.
type journal struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (j *journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.Write(b)
}

func (j *journal) String() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.text.String()
}

// running is a server of the test's own with a service on the subject echo.
type running struct {
	*Server
	credentials Credentials
	log         *journal
}

func start(t *testing.T, c Config) *running {
	t.Helper()
	r := &running{log: new(journal)}
	if c.CredentialsDir == "" {
		c.CredentialsDir = t.TempDir()
	}
	c.Addr, c.Logger = "127.0.0.1:0", slog.New(slog.NewTextHandler(r.log, nil))
	r.Server, r.credentials = New(c), Credentials(c.CredentialsDir)
	for _, name := range []string{"gateway", "reports"} {
		if _, err := r.credentials.Add(name); err != nil && !errors.Is(err, errClientExists) {
			t.Fatal(err)
		}
	}
	if err := r.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := r.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	if err := r.Serve([]string{"echo"}, 0); err != nil {
		t.Fatal(err)
	}
	responses := r.inProcess(t, r.ResponseOptions())
	stop, err := r.Clients(func(name string) error {
		requests := r.inProcess(t, r.RequestOptions())
		if _, err := requests.Subscribe("from."+name+".echo", func(m *nats.Msg) { _ = responses.Publish(m.Reply, m.Data) }); err != nil {
			return err
		}
		return requests.Flush()
	}, func(string) {})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
	return r
}

func (r *running) inProcess(t *testing.T, options []nats.Option) *nats.Conn {
	t.Helper()
	conn, err := nats.Connect("", options...)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	return conn
}

func (r *running) dial(t *testing.T, name string, options ...nats.Option) (*nats.Conn, error) {
	t.Helper()
	key, err := nats.NkeyOptionFromSeed(r.credentials.path(name, seedSuffix))
	if err != nil {
		t.Fatal(err)
	}
	conn, err := nats.Connect(r.URL(), append(options, key, nats.NoReconnect())...)
	if err == nil {
		t.Cleanup(conn.Close)
	}
	return conn, err
}

// serves fails the test unless a call of the client called name is answered.
func (r *running) serves(t *testing.T, name string) {
	t.Helper()
	conn, err := r.dial(t, name)
	if err != nil {
		t.Fatalf("%s: %v", name, err)
	}
	defer conn.Close()
	if m, err := conn.Request("echo", []byte("hello"), 10*time.Second); err != nil || string(m.Data) != "hello" {
		t.Errorf("%s: %v, %v", name, m, err)
	}
}

// connections returns how many the client called name has.
func (r *running) connections(name string) int {
	r.accounts.mu.Lock()
	defer r.accounts.mu.Unlock()
	return r.accounts.clients[name].NumLocalConnections()
}

func eventually(t *testing.T, what string, condition func() bool) {
	t.Helper()
	tick, limit := time.NewTicker(10*time.Millisecond), time.After(20*time.Second)
	defer tick.Stop()
	for !condition() {
		select {
		case <-tick.C:
		case <-limit:
			t.Fatalf("not within 20 s: %s", what)
		}
	}
}

// The first start makes one client and says how to use it; the next one does not. No key
// is in the log.
func TestFirstStartMakesAClient(t *testing.T) {
	t.Parallel()
	credentials := Credentials(t.TempDir())
	for round := range 2 {
		log := new(journal)
		s := New(Config{Addr: "127.0.0.1:0", CredentialsDir: string(credentials), Logger: slog.New(slog.NewTextHandler(log, &slog.HandlerOptions{Level: slog.LevelDebug}))})
		if err := s.Start(t.Context()); err != nil {
			t.Fatal(err)
		}
		list, err := credentials.List()
		if err != nil || len(list) != 1 || list[0].Name != "default" {
			t.Errorf("%v, %v", list, err)
		}
		if said := strings.Contains(log.String(), "--nkey "+credentials.path("default", seedSuffix)); said != (round == 0) {
			t.Errorf("start %d says how to call: %t\n%s", round, said, log)
		}
		seed, err := os.ReadFile(credentials.path("default", seedSuffix))
		if err != nil || strings.Contains(log.String(), strings.TrimSpace(string(seed))) {
			t.Errorf("the seed is in the log, or %v", err)
		}
		if err := s.Stop(t.Context()); err != nil {
			t.Error(err)
		}
	}
}

// Clients come and go while the server runs; one that is removed is disconnected, and its
// old key is of no use when it is added again.
func TestClientsAppearAndDisappear(t *testing.T) {
	t.Parallel()
	r := start(t, Config{})
	conn, err := r.dial(t, "gateway")
	if err != nil {
		t.Fatal(err)
	}
	seed, err := os.ReadFile(r.credentials.path("gateway", seedSuffix))
	if err != nil {
		t.Fatal(err)
	}
	pair, err := nkeys.ParseDecoratedNKey(seed)
	if err != nil {
		t.Fatal(err)
	}
	public, err := pair.PublicKey()
	if err != nil {
		t.Fatal(err)
	}
	old := nats.Nkey(public, pair.Sign)
	if err := r.credentials.Remove("gateway"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the client is disconnected", conn.IsClosed)
	if _, err := nats.Connect(r.URL(), old); !errors.Is(err, nats.ErrAuthorization) {
		t.Errorf("removed: %v", err)
	}
	if _, err := r.credentials.Add("gateway"); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the client is admitted again", func() bool { _, err := r.dial(t, "gateway"); return err == nil })
	r.serves(t, "gateway")
	if _, err := nats.Connect(r.URL(), old); !errors.Is(err, nats.ErrAuthorization) {
		t.Errorf("the old key: %v", err)
	}
	r.serves(t, "reports")
	if err := os.Chmod(string(r.credentials), 0o777); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the log says that the folder is open to others", func() bool { return strings.Contains(r.log.String(), "the known ones stay") })
	r.serves(t, "reports")
}

// Folders that others can write are refused at the start.
func TestStartCanBeRepeatedAndStopNeedsNone(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	s := New(Config{Addr: "127.0.0.1:0", CredentialsDir: dir, Logger: slog.New(slog.DiscardHandler)})
	for range 2 {
		if err := s.Start(t.Context()); err == nil {
			t.Fatal("a folder that others can write to is used")
		}
		if err := s.Stop(t.Context()); err != nil {
			t.Error(err)
		}
	}
	if err := os.Chmod(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := s.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := s.Stop(t.Context()); err != nil {
		t.Error(err)
	}
}

func TestStartRefusesAnOpenFolder(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	if err := os.Chmod(dir, 0o777); err != nil {
		t.Fatal(err)
	}
	if err := New(Config{Addr: "127.0.0.1:0", CredentialsDir: dir}).Start(t.Context()); err == nil || !strings.Contains(err.Error(), "chmod") {
		t.Errorf("%v", err)
	}
}

// The users of this process have one purpose each.
func TestConnectionsHaveOnePurpose(t *testing.T) {
	t.Parallel()
	r := start(t, Config{StoreDir: t.TempDir()})
	for name, user := range map[string]struct {
		options            []nats.Option
		publish, subscribe []string // that are refused
	}{
		"requests":  {r.RequestOptions(), []string{"_INBOX.x", "_R_.x", "from.gateway.echo", "work.jobs", "$JS.API.INFO", "$SRV.PING", "$SYS.REQ.SERVER.PING"}, []string{">", "_INBOX.>", "_R_.>", "$JS.>", "work.>"}},
		"responses": {r.ResponseOptions(), []string{"_INBOX.x", "from.gateway.echo", "work.jobs", "$JS.API.INFO", "$SYS.REQ.SERVER.PING"}, []string{">", "_INBOX.>", "_R_.>", "from.>", "$SRV.>"}},
		"work":      {r.WorkOptions(), []string{"_INBOX.x", "_R_.x", "from.gateway.echo", "$SYS.REQ.SERVER.PING"}, []string{">", "_R_.>", "from.>", "$SRV.>", "work.>"}},
	} {
		refused := make(chan string, 100)
		conn := r.inProcess(t, append(user.options, nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { refused <- err.Error() })))
		for _, subject := range user.publish {
			if err := conn.Publish(subject, nil); err != nil {
				t.Fatal(err)
			}
		}
		for _, subject := range user.subscribe {
			if _, err := conn.Subscribe(subject, func(*nats.Msg) {}); err != nil {
				t.Fatal(err)
			}
		}
		for range len(user.publish) + len(user.subscribe) {
			select {
			case <-refused:
			case <-time.After(10 * time.Second):
				t.Fatalf("%s: something was not refused", name)
			}
		}
	}
}

// One client has all its connections; another one still gets in.
func TestConnectionsOfOneClientAreBounded(t *testing.T) {
	t.Parallel()
	r := start(t, Config{MaxConnectionsPerClient: 3})
	var conns []*nats.Conn
	for i := range 5 {
		conn, err := r.dial(t, "gateway")
		if (err == nil) != (i < 3) || err != nil && !errors.Is(err, nats.ErrAuthorization) {
			t.Errorf("connection %d: %v", i, err)
		}
		if err == nil {
			conns = append(conns, conn)
		}
	}
	r.serves(t, "reports")
	conns[0].Close()
	eventually(t, "a client can connect again", func() bool { _, err := r.dial(t, "gateway"); return err == nil })
}

// What one connection may have is bounded: subscriptions, the length of a message and of a
// protocol line. Who exceeds a bound is told or disconnected; another client is served.
func TestOneConnectionIsBounded(t *testing.T) {
	t.Parallel()
	r := start(t, Config{MaxSubscriptions: 10, MaxPayload: 4096})
	t.Run("subscriptions", func(t *testing.T) {
		t.Parallel()
		refused := make(chan error, 100)
		conn, err := r.dial(t, "gateway", nats.ErrorHandler(func(_ *nats.Conn, _ *nats.Subscription, err error) { refused <- err }))
		if err != nil {
			t.Fatal(err)
		}
		for i := range 20 {
			if _, err := conn.SubscribeSync(fmt.Sprintf("_INBOX.x%d", i)); err != nil {
				break
			}
		}
		_ = conn.Flush()
		if err := <-refused; !strings.Contains(err.Error(), "maximum subscriptions exceeded") {
			t.Errorf("%v", err)
		}
		r.serves(t, "reports")
	})
	for name, protocol := range map[string]string{
		"payload":      "PUB echo _INBOX.x 5000\r\n" + strings.Repeat("x", 5000) + "\r\n",
		"headers":      "HPUB echo _INBOX.x 4990 5000\r\n" + strings.Repeat("x", 5000) + "\r\n",
		"control line": "SUB _INBOX." + strings.Repeat("x", 5000) + " 1\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			wire := new(tap)
			conn, err := r.dial(t, "gateway", nats.SetCustomDialer(wire))
			if err != nil {
				t.Fatal(err)
			}
			_, _ = wire.Write([]byte(protocol))
			eventually(t, "it is disconnected", conn.IsClosed)
			r.serves(t, "reports")
		})
	}
}

// tap is a connection of the client library to which a test can write besides.
type tap struct{ net.Conn }

func (c *tap) Dial(network, addr string) (conn net.Conn, err error) {
	c.Conn, err = net.Dial(network, addr)
	return c.Conn, err
}

// A client that does not read its responses is disconnected, without an effect on other clients.
func TestSlowReaderIsDisconnected(t *testing.T) {
	t.Parallel()
	r := start(t, Config{MaxPendingBytes: 1 << 20, WriteTimeout: 200 * time.Millisecond})
	wire := &deaf{stop: make(chan struct{})}
	defer close(wire.stop)
	conn, err := r.dial(t, "gateway", nats.SetCustomDialer(wire))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := conn.SubscribeSync("_INBOX.x"); err != nil {
		t.Fatal(err)
	}
	if err := conn.Flush(); err != nil {
		t.Fatal(err)
	}
	wire.turn()
	body := bytes.Repeat([]byte("x"), 64<<10)
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		for range 2000 {
			if conn.PublishRequest("echo", "_INBOX.x", body) != nil {
				return
			}
			_ = conn.FlushTimeout(time.Millisecond) // its response may have been on its way when reading ended
		}
	}()
	eventually(t, "it is disconnected", func() bool { return r.connections("gateway") == 0 })
	r.serves(t, "reports")
	conn.Close()
	<-sent
}

// deaf is a connection that stops to read.
type deaf struct {
	net.Conn
	mu   sync.Mutex
	off  bool
	stop chan struct{}
}

func (d *deaf) Dial(network, addr string) (net.Conn, error) {
	conn, err := net.Dial(network, addr)
	d.Conn = conn
	return d, err
}

func (d *deaf) turn() {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.off = true
}

func (d *deaf) Read(b []byte) (int, error) {
	d.mu.Lock()
	off := d.off
	d.mu.Unlock()
	if off {
		<-d.stop
		return 0, net.ErrClosed
	}
	return d.Conn.Read(b)
}

// A client that shows no key in time is disconnected.
func TestConnectionsWithoutAKeyEnd(t *testing.T) {
	t.Parallel()
	r := start(t, Config{})
	conn, err := net.Dial("tcp", strings.TrimPrefix(r.URL(), "nats://"))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(20 * time.Second))
	lines := bufio.NewScanner(conn)
	for lines.Scan() { // to the end
		if strings.Contains(lines.Text(), "Timeout") {
			return
		}
	}
	t.Errorf("ended by %v", lines.Err())
}

// What the server logs is bounded, whatever clients do.
func TestLogIsBounded(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		j := new(journal)
		l := &logger{Logger: slog.New(slog.NewTextHandler(j, nil))}
		for range 1000 {
			l.Errorf("%s", strings.Repeat("x", 100_000))
		}
		text := j.String()
		if n := strings.Count(text, "\n"); n != maxLogLines || len(text) > maxLogLines*(maxLogText+200) {
			t.Errorf("%d lines, %d bytes", n, len(text))
		}
		time.Sleep(time.Second)
		l.Errorf("later")
		if text := j.String(); !strings.Contains(text, "lines=980") || !strings.Contains(text, "later") {
			t.Error("a second later nothing says what was dropped")
		}
	})
}
