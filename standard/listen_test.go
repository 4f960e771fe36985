package standard_test

import (
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chassi-go/chassi/standard"
)

// taken returns an address that is listened on.
func taken(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	return l.Addr().String()
}

// All ports that are taken are named at once, each with its setting, and nothing has
// listened before.
func TestPortsInUse(t *testing.T) {
	t.Parallel()
	a, b := taken(t), taken(t)
	c := defaults(t)
	c.HTTP.Addr, c.GRPC.Addr, c.NATS.Embedded.Addr = a, b, a
	text := new(log)
	std, err := assemble(t.Context(), c, standard.Options{Log: text})
	if err != nil {
		t.Fatal(err)
	}
	err = std.Run(t.Context())
	for _, want := range []string{
		`http.addr ("` + a + `"): `, "address already in use", `grpc.addr ("` + b + `")`, "stop the program that listens there",
		`nats.embedded.addr ("` + a + `")`, "change http.addr, which has the same port",
	} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("no %q in: %v", want, err)
		}
	}
	for line := range strings.Lines(fmt.Sprint(err)) {
		if !strings.HasPrefix(line, "start listeners: ") {
			t.Errorf("a line without the prefix: %s", line)
		}
	}
	if strings.Contains(text.String(), `"listening"`) {
		t.Errorf("something listened:\n%s", text)
	}
}

// The advice is about the reason why an address cannot be listened on.
func TestAdviceForAddresses(t *testing.T) {
	t.Parallel()
	for addr, want := range map[string]string{
		"192.0.2.1:0": "use an address of this machine",         // of no machine: RFC 5737
		"a..b:0":      "correct the host, or use an IP address", // not a name, so nothing is looked up
		taken(t):      "stop the program that listens there",
	} {
		c := defaults(t)
		c.HTTP.Addr = addr
		std, err := assemble(t.Context(), c, standard.Options{Log: new(log)})
		if err != nil {
			t.Fatal(err)
		}
		err = std.Run(t.Context())
		if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "stop the program") != strings.Contains(want, "stop the program") {
			t.Errorf("%s: no %q in: %v", addr, want, err)
		}
	}
}

// What is wrong with a configuration is found before anything runs, all of it.
func TestAllProblemsAreReported(t *testing.T) {
	t.Parallel()
	text := filepath.Join(t.TempDir(), "text")
	if err := os.WriteFile(text, []byte("x"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		args  []string
		set   func(*Config)
		wants []string
	}{
		"files": {
			args:  []string{"--http.tls.cert_file=/no/such/a", "--http.tls.key_file=/no/such/b", "--amqp.url=amqp://h", "--amqp.ca_file=/no/such/c", "--nats.nkey_file=/no/such/d"},
			wants: []string{`--http.tls.cert_file: http.tls.cert_file ("/no/such/a") must be a file that can be read`, "http.tls.key_file", "amqp.ca_file", "nats.nkey_file"},
		},
		"not a key":   {args: []string{"--grpc.tls.cert_file=" + text, "--grpc.tls.key_file=" + text}, wants: []string{"grpc.tls: "}},
		"half a pair": {args: []string{"--http.tls.cert_file=" + text}, wants: []string{"http.tls: ", "key_file must be set together"}},
		"in code": {
			set: func(c *Config) {
				c.HTTP.Addr, c.GRPC.Addr, c.NATS.URL, c.Redis.URL, c.Trace.Exporter = "nonsense", "h:70000", "foo://h", "redis", "smoke"
			},
			wants: []string{`http.addr ("nonsense") must be HOST:PORT`, "grpc.addr", `nats.url ("foo://h") must be nats://`, "redis.url", "trace.exporter"},
		},
		"several parts": {
			set:   func(c *Config) { c.NATS.URL = "nats://h" },
			args:  []string{"--nats.trusted_clients=a", "--amqp.url=amqp://h", "--amqp.prefix=a b", "--sentry.dsn=canary"},
			wants: []string{"sentry.dsn"},
		},
		"transports": {
			set:   func(c *Config) { c.NATS.URL = "nats://h" },
			args:  []string{"--nats.trusted_clients=a", "--amqp.url=amqp://h", "--amqp.prefix=a b"},
			wants: []string{"nats.trusted_clients", "amqp.prefix"},
		},
	} {
		cfg := defaults(t, c.args...)
		if c.set != nil {
			c.set(&cfg)
		}
		app, err := assemble(t.Context(), cfg, standard.Options{Log: new(log)})
		if err == nil {
			err = errors.Join(app.Build(), app.Close())
		}
		for _, want := range c.wants {
			if err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), "canary") {
				t.Errorf("%s: no %q in: %v", name, want, err)
			}
		}
	}
}

// An empty nats.url is no NATS, and not a server that happens to listen on its default port.
func TestEmptyURLsAreNotServed(t *testing.T) {
	t.Parallel()
	std, err := assemble(t.Context(), Config{}, standard.Options{Log: new(log)})
	if err != nil || std.Build() != nil || std.Transport("nats") != nil || std.Transport("amqp") != nil {
		t.Fatalf("%v: %+v", err, std)
	}
	if err := std.Telemetry.Stop(t.Context()); err != nil {
		t.Error(err)
	}
}
