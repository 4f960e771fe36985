package main

import (
	"bufio"
	"context"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// servers contains what the cells share, and the URLs of the real servers, which come from the
// environment variables of the integration tests or are defaults.
type servers struct {
	postgres, redis, nats, amqp *url.URL
	vhost                       func() (*vhost, error) // of RabbitMQ; the first call creates the virtual host
	clockProgram                func() (string, error) // path of an authd whose clock can be set; the first call builds it
	root                        string                 // the root directory of the repository
}

func findServers(root string) (*servers, error) {
	s := &servers{root: root}
	for _, one := range []struct {
		to                       **url.URL
		variable, fallback, port string
	}{
		{&s.postgres, "CHASSI_TEST_POSTGRES", "postgres://postgres@127.0.0.1:5432/postgres?sslmode=disable", "5432"},
		{&s.redis, "CHASSI_TEST_REDIS", "redis://127.0.0.1:6379", "6379"},
		{&s.nats, "CHASSI_TEST_NATS", "nats://127.0.0.1:4222", "4222"},
		{&s.amqp, "CHASSI_TEST_AMQP", "amqp://guest:guest@127.0.0.1:5672/", "5672"},
	} {
		text := os.Getenv(one.variable)
		if text == "" {
			text = one.fallback
		}
		u, err := url.Parse(text)
		if err != nil {
			return nil, fmt.Errorf("%s must be a URL, such as %s", one.variable, one.fallback)
		}
		if u.Port() == "" {
			u.Host = net.JoinHostPort(u.Hostname(), one.port)
		}
		*one.to = u
	}
	return s, nil
}

// reach returns nil if the server at u accepts connections, and a notRun error if it does not.
func reach(ctx context.Context, u *url.URL) error {
	conn, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, "tcp", u.Host)
	if err != nil {
		return notRun{fmt.Sprintf("no %s server accepts connections at %s: run make services", u.Scheme, u.Host)}
	}
	return conn.Close()
}

// at returns a copy of u with another host, user and password.
func at(u *url.URL, host, user, password string) *url.URL {
	changed := *u
	changed.Host, changed.User = host, url.UserPassword(user, password)
	return &changed
}

// secret is the password of all users that a run creates.
var secret = rand.Text()

// redisCommands sends commands to the Redis server as inline commands (Redis documentation, "Inline
// commands"). It stops at the first error and returns it.
func (s *servers) redisCommands(ctx context.Context, commands ...string) error {
	conn, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(ctx, "tcp", s.redis.Host)
	if err != nil {
		return fmt.Errorf("redis: %w", err)
	}
	defer conn.Close()
	_ = conn.SetDeadline(time.Now().Add(10 * time.Second))
	if password, ok := s.redis.User.Password(); ok {
		commands = append([]string{strings.Join(strings.Fields("AUTH "+s.redis.User.Username()+" "+password), " ")}, commands...)
	}
	responses := bufio.NewReader(conn)
	for _, command := range commands {
		if _, err := fmt.Fprintf(conn, "%s\r\n", command); err != nil {
			return fmt.Errorf("redis: %w", err)
		}
		name := strings.Fields(command)[0]
		response, err := responses.ReadString('\n')
		if err != nil {
			return fmt.Errorf("redis: read the response to %s: %w", name, err)
		}
		if strings.HasPrefix(response, "-") {
			return fmt.Errorf("redis: %s: %s", name, strings.TrimSpace(response))
		}
	}
	return nil
}

// vhost is a virtual host of RabbitMQ. Its users have all permissions in it.
type vhost struct {
	name string
	root string // the root directory of the repository
}

// vhostUsers contains the names of the users of a virtual host: one for general use and one whose
// password is changed.
var vhostUsers = []string{"service", "changed"}

func (s *servers) newVhost() (*vhost, error) {
	v := &vhost{name: "faults" + strings.ToLower(rand.Text()[:10]), root: s.root}
	type object map[string]any
	const anything = ".*"
	var users, permissions []object
	for _, user := range vhostUsers {
		users = append(users, object{"name": v.user(user), "password": secret, "tags": ""})
		permissions = append(permissions, object{"user": v.user(user), "vhost": v.name, "configure": anything, "write": anything, "read": anything})
	}
	text, err := json.Marshal(object{"vhosts": []object{{"name": v.name}}, "users": users, "permissions": permissions})
	if err != nil {
		return nil, err
	}
	return v, v.control(string(text), "import_definitions")
}

func (v *vhost) user(name string) string { return v.name + "-" + name }

// url returns the URL with which a user connects to the virtual host on the server at host, a
// host:port.
func (v *vhost) url(user, host string) string {
	u := url.URL{Scheme: "amqp", User: url.UserPassword(v.user(user), secret), Host: host, Path: "/" + v.name}
	return u.String()
}

// delete deletes the virtual host and its users with one command, because each command takes
// about a second.
func (v *vhost) delete() error {
	erase := []string{`rabbit_vhost:delete(<<"` + v.name + `">>, <<"faults">>)`}
	for _, user := range vhostUsers {
		erase = append(erase, `rabbit_auth_backend_internal:delete_user(<<"`+v.user(user)+`">>, <<"faults">>)`)
	}
	return v.control("", "eval", strings.Join(erase, ", ")+".")
}

// control runs scripts/rabbitmqctl with args and the standard input stdin. It returns an error with
// the output if the command fails.
func (v *vhost) control(stdin string, args ...string) error {
	ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(v.root, "scripts", "rabbitmqctl"), args...) //nolint:gosec // of this repository
	cmd.Stdin = strings.NewReader(stdin)
	if out, err := cmd.CombinedOutput(); err != nil {
		return fmt.Errorf("scripts/rabbitmqctl %s: %w: %s", args[0], err, out)
	}
	return nil
}

// startNATS starts a NATS server that requires a password, and returns its host:port when it
// accepts connections.
func (w *world) startNATS(ctx context.Context) (addr string, err error) {
	program, err := exec.LookPath("nats-server")
	if err != nil {
		return "", notRun{"nats-server is not in PATH: the cell needs a server that requires a password"}
	}
	if addr, err = freeAddr(); err != nil {
		return "", err
	}
	host, port, _ := net.SplitHostPort(addr)
	args := []string{"--addr", host, "--port", port, "--user", "faults", "--pass", secret}
	cmd := exec.CommandContext(context.WithoutCancel(ctx), program, args...) //nolint:gosec // found in PATH
	if err := cmd.Start(); err != nil {
		return "", err
	}
	w.later(func() error {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // it was killed
		return nil
	})
	for {
		if err = reach(ctx, &url.URL{Scheme: "nats", Host: addr}); err == nil {
			return addr, nil
		}
		select {
		case <-ctx.Done():
			return "", err
		case <-time.After(20 * time.Millisecond):
		}
	}
}
