// Package rabbittest provides RabbitMQ for tests: virtual hosts with users and permissions on a
// shared server, and separate nodes.
package rabbittest

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// URL returns the URL of the server, which is taken from the environment variable CHASSI_TEST_AMQP
// and defaults to a server on this machine with the user guest. If no login is possible, the test
// is skipped, or fails if the environment variable CI is "true".
func URL(t testing.TB) string {
	t.Helper()
	url := os.Getenv("CHASSI_TEST_AMQP")
	if url == "" {
		url = "amqp://guest:guest@127.0.0.1:5672/" //nolint:gosec // RabbitMQ's own default
	}
	conn, err := amqp.Dial(url)
	if err != nil {
		withoutf(t, "cannot log in to RabbitMQ, whose URL is set with CHASSI_TEST_AMQP: %v", err)
	}
	conn.Close()
	return url
}

func withoutf(t testing.TB, format string, args ...any) {
	t.Helper()
	if os.Getenv("CI") == "true" {
		t.Fatalf(format, args...)
	}
	t.Skipf(format, args...)
}

// Rights are the permissions of a user: regular expressions that match the names of the resources
// that the user may configure, write to and read from, as in rabbitmqctl set_permissions. The word
// USER in an expression is replaced by the name of the user on the server.
type Rights struct{ Configure, Write, Read string }

// On returns Rights with the given regular expressions.
func On(configure, write, read string) Rights { return Rights{configure, write, read} }

// All permits a user to configure, write to and read from all resources.
var All = On(".*", ".*", ".*")

// Vhost is a virtual host for a single test.
type Vhost struct {
	name string
	host string
}

// New creates a virtual host and users with the given rights, by means of scripts/rabbitmqctl. The
// keys of the map are the names of the users in the test: [Vhost.User] returns their names on the
// server. The virtual host and the users are deleted at the end of the test. If no server is
// available or scripts/rabbitmqctl fails, the test is skipped, or fails if the environment variable
// CI is "true".
func New(t testing.TB, users map[string]Rights) *Vhost {
	t.Helper()
	u, err := url.Parse(URL(t))
	if err != nil {
		t.Fatal(err)
	}
	v := &Vhost{name: "test" + rand.Text()[:12], host: u.Host}
	text, err := json.Marshal(v.definitions(users))
	if err != nil {
		t.Fatal(err)
	}
	if out, err := control(string(text), "import_definitions"); err != nil {
		withoutf(t, "create the virtual host %s: scripts/rabbitmqctl: %v\n%s", v.name, err, out)
	}
	t.Cleanup(func() {
		// One command for all: each takes about a second.
		erase := []string{`rabbit_vhost:delete(<<"` + v.name + `">>, <<"test">>)`}
		for user := range users {
			erase = append(erase, `rabbit_auth_backend_internal:delete_user(<<"`+v.User(user)+`">>, <<"test">>)`)
		}
		if out, err := control("", "eval", strings.Join(erase, ", ")+"."); err != nil {
			t.Errorf("delete the virtual host %s and its users: scripts/rabbitmqctl: %v\n%s", v.name, err, out)
		}
	})
	return v
}

// definitions returns the input of rabbitmqctl import_definitions that creates the virtual host,
// the users and their permissions.
func (v *Vhost) definitions(users map[string]Rights) any {
	type object map[string]any
	var accounts, permissions []object
	for user, r := range users {
		accounts = append(accounts, object{"name": v.User(user), "password": password, "tags": ""})
		named := func(pattern string) string { return strings.ReplaceAll(pattern, "USER", v.User(user)) }
		permissions = append(permissions, object{
			"user": v.User(user), "vhost": v.name, "configure": named(r.Configure), "write": named(r.Write), "read": named(r.Read),
		})
	}
	return object{"vhosts": []object{{"name": v.name}}, "users": accounts, "permissions": permissions}
}

// password is the password of all test users.
const password = "secret"

// Name returns the name of the virtual host.
func (v *Vhost) Name() string { return v.name }

// User returns the name that a user passed to [New] has on the server.
func (v *Vhost) User(user string) string { return v.name + "-" + user }

// URL returns the AMQP URL of the virtual host with the credentials of a user passed to [New].
func (v *Vhost) URL(user string) string {
	return "amqp://" + v.User(user) + ":" + password + "@" + v.host + "/" + v.name
}

func control(stdin string, args ...string) (out string, err error) {
	dir, err := os.Getwd()
	if err != nil {
		return "", err
	}
	for dir != filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, "go.mod")); err == nil {
			break
		}
		dir = filepath.Dir(dir)
	}
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, filepath.Join(dir, "scripts", "rabbitmqctl"), args...) //nolint:gosec // of this repository
	cmd.Stdin = strings.NewReader(stdin)
	text, err := cmd.CombinedOutput()
	return string(text), err
}
