package redisdb_test

import (
	"errors"
	"io"
	"net"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/chassi-go/chassi/config"
	"github.com/chassi-go/chassi/ratelimit"
	"github.com/chassi-go/chassi/redis"
	"github.com/chassi-go/chassi/standard"
	"github.com/chassi-go/chassi/standard/redisdb"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func newApp(t *testing.T, describe bool) *standard.App {
	t.Helper()
	var c standard.Config
	if _, err := config.Load(&c, config.Options{Name: "test"}); err != nil {
		t.Fatal(err)
	}
	app, err := standard.New(t.Context(), "test", "1", c, standard.Options{Log: io.Discard, DescribeOnly: describe})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = app.Close() })
	return app
}

// A program uses the database in its Setup without asking whether it is described only. Then
// nothing connects to Redis.
func TestDescribeOnly(t *testing.T) {
	t.Parallel()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var accepting sync.WaitGroup
	accepting.Go(func() {
		if conn, err := listener.Accept(); err == nil {
			conn.Close()
			t.Error("a connection to Redis")
		}
	})
	defer accepting.Wait()
	defer listener.Close()
	for _, url := range []string{"", "redis://" + listener.Addr().String()} {
		app := newApp(t, true)
		db, err := redisdb.Add(app, redis.Config{URL: url})
		if err != nil || db == nil {
			t.Fatalf("%q: %v, %v", url, db, err)
		}
		if _, err := db.Patient(time.Second).Time(t.Context()); !errors.Is(err, redis.ErrUnavailable) {
			t.Errorf("%q: %v, want %v", url, err, redis.ErrUnavailable)
		}
		db.OnFallback("rate_limit")
		limits := ratelimit.New(ratelimit.Options{Limit: ratelimit.Limit{Rate: 10, Burst: 10}})
		_ = app.Limiter("test", limits)
		if err := app.Build(); err != nil {
			t.Errorf("%q: %v", url, err)
		}
	}
}

func TestNoURL(t *testing.T) {
	t.Parallel()
	if db, err := redisdb.Add(newApp(t, false), redis.Config{}); db != nil || err != nil {
		t.Errorf("%v, %v, want neither", db, err)
	}
}
