package natsapi_test

import (
	"context"
	"errors"
	"log/slog"
	"math/rand/v2"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/nats-io/nats.go"
	"go.uber.org/goleak"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/transport/natsapi"
	"github.com/chassi-go/chassi/transport/natsapi/embedded"
	"github.com/chassi-go/chassi/transport/transporttest"
)

func TestMain(m *testing.M) {
	if os.Getenv("CHASSI_TEST_NATS_CHILD") != "" {
		serveChild()
		return
	}
	// The embedded server leaves these for the rest of the process.
	goleak.VerifyTestMain(m, goleak.IgnoreTopFunction("github.com/nats-io/nats-server/v2/server.(*ipQueue[...]).push"),
		goleak.IgnoreAnyFunction("github.com/nats-io/nats-server/v2/server.(*Server).Start"))
}

var quiet = slog.New(slog.DiscardHandler)

// journal is a log that a test reads.
type journal struct {
	mu   sync.Mutex
	text strings.Builder
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

func (j *journal) logger() *slog.Logger { return slog.New(slog.NewTextHandler(j, nil)) }

// testBroker is an embedded server of the test's own.
type testBroker struct {
	*embedded.Server
	credentials embedded.Credentials
}

// login makes a client, if there is none of that name, and returns how it logs in.
func (b *testBroker) login(t testing.TB, name string) natsapi.Login {
	t.Helper()
	file := filepath.Join(string(b.credentials), name+".nk")
	if _, err := os.Stat(file); err == nil {
		return natsapi.Login{NkeyFile: file}
	}
	if _, err := b.credentials.Add(name); err != nil {
		t.Fatal(err)
	}
	return natsapi.Login{NkeyFile: file}
}

// connect connects as the client called name, which may have been added just now.
func (b *testBroker) connect(t testing.TB, name string, options ...nats.Option) *nats.Conn {
	t.Helper()
	key, err := nats.NkeyOptionFromSeed(b.login(t, name).NkeyFile)
	if err != nil {
		t.Fatal(err)
	}
	var conn *nats.Conn
	eventually(t, name+" is admitted", func() bool {
		conn, err = nats.Connect(b.URL(), append(options, key)...)
		return !errors.Is(err, nats.ErrAuthorization)
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(conn.Close)
	return conn
}

// client is the configuration of the first start's client.
func (b *testBroker) client(t testing.TB) natsapi.ClientConfig {
	t.Helper()
	return natsapi.ClientConfig{URL: b.URL(), Login: b.login(t, "default")}
}

// startEmbedded runs a server of the test's own.
func startEmbedded(t testing.TB, storeDir string, change ...func(*embedded.Config)) *testBroker {
	t.Helper()
	c := embedded.Config{Addr: "127.0.0.1:0", StoreDir: storeDir, CredentialsDir: filepath.Join(t.TempDir(), "clients"), Logger: quiet}
	for _, f := range change {
		f(&c)
	}
	s := &testBroker{embedded.New(c), embedded.Credentials(c.CredentialsDir)}
	if err := s.Start(context.Background()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := s.Stop(ctx); err != nil {
			t.Error(err)
		}
	})
	return s
}

// external returns the URL of the server at CHASSI_TEST_NATS.
func external(t testing.TB) string {
	t.Helper()
	url := os.Getenv("CHASSI_TEST_NATS")
	if url == "" {
		url = nats.DefaultURL
	}
	conn, err := nats.Connect(url, nats.Timeout(2*time.Second))
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("NATS at CHASSI_TEST_NATS: %v", err)
		}
		t.Skipf("NATS at CHASSI_TEST_NATS: %v", err)
	}
	conn.Close()
	return url
}

func TestConformanceEmbedded(t *testing.T) {
	t.Parallel()
	transporttest.Run(t, transporttest.Transport{Strict: "json", Streams: true, Start: func(t *testing.T, o transporttest.Options, services ...*chassi.Service) transporttest.Instance {
		s := startEmbedded(t, "")
		return startConformance(t, o, natsapi.Config{Broker: s}, s.client(t), services)
	}})
}

func TestConformanceExternal(t *testing.T) {
	t.Parallel()
	url := external(t)
	transporttest.Run(t, transporttest.Transport{Strict: "json", Streams: true, Start: func(t *testing.T, o transporttest.Options, services ...*chassi.Service) transporttest.Instance {
		prefix := "test" + strconv.FormatUint(rand.Uint64(), 36)
		return startConformance(t, o, natsapi.Config{URL: url, Prefix: prefix}, natsapi.ClientConfig{URL: url, Prefix: prefix}, services)
	}})
}

func startConformance(t *testing.T, o transporttest.Options, c natsapi.Config, cc natsapi.ClientConfig, services []*chassi.Service) transporttest.Instance {
	t.Helper()
	if o.MaxResponseBytes > 0 { // which is max_payload of these servers
		o.MaxMessageBytes *= 16
	}
	c.MaxMessageBytes, c.MaxConcurrent, c.MaxConcurrentPerClient, c.MaxQueuedPerClient, c.Logger = o.MaxMessageBytes, o.MaxConcurrent, o.MaxConcurrent, 1024, quiet
	c.Streams = o.Streams
	s := start(t, c, o.Middleware, services...)
	caller := dial(t, cc)
	raw := connect(t, cc)
	send := func(contentType string) func(context.Context, *chassi.Endpoint, []byte) error {
		return func(ctx context.Context, e *chassi.Endpoint, payload []byte) error {
			m := &nats.Msg{Subject: natsapi.SubjectOf(c.Prefix, e), Data: payload, Header: nats.Header{"content-type": {contentType}}}
			response, err := raw.RequestMsgWithContext(ctx, m)
			if err != nil {
				return err
			}
			return natsapi.ErrorOf(response)
		}
	}
	return transporttest.Instance{Caller: caller, Server: s, Send: map[string]func(context.Context, *chassi.Endpoint, []byte) error{
		"json": send("application/json"), "protobuf": send("application/protobuf"),
	}}
}

// start serves; the caller stops the server.
func start(t testing.TB, c natsapi.Config, middleware []chassi.Middleware, services ...*chassi.Service) *natsapi.Server {
	t.Helper()
	s := natsapi.New(c, middleware...)
	for _, service := range services {
		if err := s.Mount(service); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := startSoon(ctx, s); err != nil {
		t.Fatal(err)
	}
	return s
}

// stop ends s, and fails the test if it cannot.
func stop(t testing.TB, s chassi.Component) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	if err := s.Stop(ctx); err != nil {
		t.Error(err)
	}
}

func dial(t testing.TB, c natsapi.ClientConfig) *natsapi.Client {
	t.Helper()
	c.Logger = quiet
	ctx, cancel := context.WithTimeout(context.Background(), 20*time.Second)
	defer cancel()
	caller, err := natsapi.Dial(ctx, c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(caller.Close)
	return caller
}

var errNoAddr = errors.New("no free port")

// freePort finds an address for a server that is to come back at it.
func freePort(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(errNoAddr, err)
	}
	defer l.Close()
	return l.Addr().String()
}

// startSoon starts s as an App does: again and again while its broker is unavailable.
func startSoon(ctx context.Context, s *natsapi.Server) error {
	for {
		err := s.Start(ctx)
		if err == nil || chassi.ErrorOf(err).Code != chassi.Unavailable {
			return err
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(50 * time.Millisecond):
		}
	}
}
