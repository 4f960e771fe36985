// Package redistest provides a Redis database for tests, with a key prefix per test.
package redistest

import (
	"bufio"
	"cmp"
	"fmt"
	"math/rand/v2"
	"net"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/chassi-go/chassi/redis"
)

// Config returns a configuration with a random key prefix, and the host:port of the server. The URL
// of the server is taken from the environment variable CHASSI_TEST_REDIS and defaults to
// redis://127.0.0.1:6379. If the server does not accept connections, the test is skipped, or fails
// if the environment variable CI is "true".
func Config(t testing.TB) (c redis.Config, addr string) {
	t.Helper()
	base := os.Getenv("CHASSI_TEST_REDIS")
	if base == "" {
		base = "redis://127.0.0.1:6379"
	}
	u, err := url.Parse(base)
	if err != nil {
		t.Fatal(err)
	}
	if addr = u.Host; u.Port() == "" {
		addr = net.JoinHostPort(u.Hostname(), "6379")
	}
	conn, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(t.Context(), "tcp", addr)
	if err != nil {
		if os.Getenv("CI") == "true" {
			t.Fatalf("Redis at %s (CHASSI_TEST_REDIS): %v", addr, err)
		}
		t.Skipf("Redis at %s (CHASSI_TEST_REDIS): %v", addr, err)
	}
	conn.Close()
	return redis.Config{URL: base, Timeout: 5 * time.Second, Prefix: fmt.Sprintf("chassi-test-%d:", rand.Uint64())}, addr
}

// Open opens the database with the configuration c and returns a client, which is closed at the end
// of the test. It stops the test if the database cannot be opened.
func Open(t testing.TB, c redis.Config) *redis.DB {
	t.Helper()
	db, err := redis.Open(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	return db
}

// Admin returns a function that sends a command to the server at addr as the user in c.URL. The
// words of the command must not contain spaces. The function stops the test if the command fails.
func Admin(t testing.TB, c redis.Config, addr string) func(words ...string) {
	t.Helper()
	conn, err := (&net.Dialer{Timeout: 5 * time.Second}).DialContext(t.Context(), "tcp", addr)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	responses := bufio.NewReader(conn)
	command := func(words ...string) {
		t.Helper()
		fmt.Fprintf(conn, "%s\r\n", strings.Join(words, " "))
		if line, err := responses.ReadString('\n'); err != nil || line[0] == '-' {
			t.Fatalf("%s: got response %q and error %v, want a response that is not an error", words[0], line, err)
		}
	}
	if u, err := url.Parse(c.URL); err == nil && u.User != nil {
		password, _ := u.User.Password()
		command("AUTH", cmp.Or(u.User.Username(), "default"), password)
	}
	return command
}
