// Package redistest gives tests a Redis, and keys of their own in it.
package redistest

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/url"
	"os"
	"testing"
	"time"

	"github.com/chassi-go/chassi/redis"
)

// Config returns that of the server at CHASSI_TEST_REDIS, by default the local one,
// with a prefix for the test, and its host:port. Without a server the test is skipped,
// and fails where CI=true.
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
			t.Fatalf("Redis at CHASSI_TEST_REDIS: %v", err)
		}
		t.Skipf("Redis at CHASSI_TEST_REDIS: %v", err)
	}
	conn.Close()
	return redis.Config{URL: base, Timeout: 5 * time.Second, Prefix: fmt.Sprintf("chassi-test-%d:", rand.Uint64())}, addr
}

// Open returns a client of it.
func Open(t testing.TB, c redis.Config) *redis.DB {
	t.Helper()
	db, err := redis.Open(c)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(db.Close)
	return db
}
