package redis_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chassi-go/chassi/internal/proxytest"
	"github.com/chassi-go/chassi/internal/redistest"
	"github.com/chassi-go/chassi/redis"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

var increment = redis.NewScript("increment", `return {redis.call('INCRBY', KEYS[1], ARGV[1]), 7}`)

func TestScripts(t *testing.T) {
	t.Parallel()
	c, _ := redistest.Config(t)
	db := redistest.Open(t, c)
	for i, want := range []int64{3, 6} {
		if got, err := db.Run(t.Context(), increment, []string{"n"}, []string{"3"}); err != nil || !slices.Equal(got, []int64{want, 7}) {
			t.Errorf("call %d: %v, %v", i, got, err)
		}
	}
	words := redis.NewScript("words", `return {KEYS[1], ARGV[1]}`)
	if got, err := db.RunText(t.Context(), words, []string{"k"}, []string{"a b"}); err != nil || !slices.Equal(got, []string{c.Prefix + "k", "a b"}) {
		t.Errorf("%q, %v", got, err)
	}
	if s := db.State(); !s.Connected || s.Since.IsZero() || !strings.HasPrefix(s.String(), "connected since 2") {
		t.Error(s)
	}
	if _, err := db.Run(t.Context(), redis.NewScript("no_such", `return redis.call('NOSUCH')`), nil, nil); !errors.Is(err, redis.ErrUnavailable) {
		t.Errorf("a script that fails: %v", err)
	}
}

// Fault 37: Redis that is not there, is cut off, or hangs costs little, and is used again
// when it is back.
func TestFault37Outages(t *testing.T) {
	t.Parallel()
	c, addr := redistest.Config(t)
	p := proxytest.New(t, addr)
	c.URL, c.Timeout = "redis://"+p.Addr, 100*time.Millisecond
	var log safeLog
	c.Logger = slog.New(slog.NewTextHandler(&log, nil))
	db := redistest.Open(t, c)
	run := func() error {
		_, err := db.Run(t.Context(), increment, []string{"n"}, []string{"1"})
		return err
	}
	healed := func() {
		t.Helper()
		for end := time.Now().Add(20 * time.Second); run() != nil; {
			if time.Now().After(end) {
				t.Fatal("not used again")
			}
		}
	}
	away := func(why string) {
		t.Helper()
		began := time.Now()
		for range 1000 {
			if err := run(); !errors.Is(err, redis.ErrUnavailable) {
				t.Fatalf("%s: %v", why, err)
			}
		}
		if took := time.Since(began); took > 10*time.Second {
			t.Errorf("%s: 1,000 calls took %v: each waits", why, took)
		}
		if s := db.State(); s.Connected || s.Error == "" || s.Since.After(began.Add(time.Second)) || !strings.HasPrefix(s.String(), "unavailable since ") {
			t.Errorf("%s: %s", why, s)
		}
	}
	away("never there")
	p.Open()
	healed()
	p.Cut()
	away("cut off")
	p.Open()
	healed()
	p.Stall()
	away("hangs")
	p.Resume()
	healed()
	if n, m := log.count("redis is unavailable"), log.count("redis is used again"); n != 3 || m != 3 || log.count("refused") == 0 {
		t.Errorf("logged %d and %d times, want 3:\n%s", n, m, log.text.String())
	}
}

// safeLog is a log that many write to.
type safeLog struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *safeLog) Write(line []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(line)
}

func (l *safeLog) count(what string) int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Count(l.text.String(), what)
}

// R83: a server that has never responded is never said to be in use, whatever was asked of it;
// that it is there, or gone, is seen by a check.
func TestStateIsThatOfTheServer(t *testing.T) {
	t.Parallel()
	c, addr := redistest.Config(t)
	p := proxytest.New(t, addr)
	c.URL = "redis://user:hunter2@" + p.Addr
	c.Logger = slog.New(slog.DiscardHandler)
	db := redistest.Open(t, c)
	if s := db.State(); s.Connected || !s.Known || s.Error == "" || !strings.HasPrefix(s.String(), "unavailable since ") {
		t.Errorf("never there: %s", s)
	}
	if s := (redis.State{}); s.String() != "no response yet" {
		t.Error(s)
	}
	c.URL = "redis://" + p.Addr
	db = redistest.Open(t, c)
	if err := db.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	await := func(connected bool) {
		t.Helper()
		for end := time.Now().Add(30 * time.Second); (db.Check(t.Context()) == nil) != connected || db.State().Connected != connected; {
			if time.Now().After(end) {
				t.Fatalf("%s, want connected: %v", db.State(), connected)
			}
			<-time.After(10 * time.Millisecond)
		}
	}
	p.Open()
	await(true)
	since := db.State().Since
	if err := db.Check(t.Context()); err != nil || db.State().Since != since {
		t.Errorf("%v, since %v, want %v", err, db.State().Since, since)
	}
	p.Cut()
	await(false)
	if s := db.State(); strings.Contains(s.String(), "hunter2") || !s.Since.After(since) {
		t.Error(s)
	}
}

// A server that answers and refuses what calls do, here for want of rights, is not available,
// whatever else succeeds meanwhile.
func TestStateWithoutRightsToWrite(t *testing.T) {
	t.Parallel()
	c, addr := redistest.Config(t)
	admin := redistest.Admin(t, c, addr)
	name := fmt.Sprintf("chassi-test-%d", rand.Uint64())
	admin("ACL", "SETUSER", name, "on", ">secret", "~*", "+@all")
	t.Cleanup(func() { admin("ACL", "DELUSER", name) })
	c.URL = "redis://" + name + ":secret@" + addr
	db := redistest.Open(t, c)
	if err := db.Check(t.Context()); err != nil || !db.State().Connected {
		t.Fatalf("%v, %s", err, db.State())
	}
	admin("ACL", "SETUSER", name, "-@write", "-@scripting")
	if err := db.Check(t.Context()); !errors.Is(err, redis.ErrUnavailable) {
		t.Errorf("err = %v", err)
	}
	if _, err := db.Time(t.Context()); err != nil {
		t.Fatal(err)
	}
	if s := db.State(); s.Connected || !strings.Contains(s.Error, "NOPERM") {
		t.Error(s)
	}
	admin("ACL", "SETUSER", name, "+@all")
	if err := db.Check(t.Context()); err != nil || !db.State().Connected {
		t.Errorf("%v, %s", err, db.State())
	}
}

// A canceled call returns the error of its context, and does not change the state of Redis.
func TestCallersThatCancel(t *testing.T) {
	t.Parallel()
	c, _ := redistest.Config(t)
	db := redistest.Open(t, c)
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for range 10 {
		if _, err := db.Run(ctx, increment, []string{"n"}, []string{"1"}); !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	}
	if _, err := db.Run(t.Context(), increment, []string{"n"}, []string{"1"}); err != nil {
		t.Error(err)
	}
}

func TestOpenRefuses(t *testing.T) {
	t.Parallel()
	for _, url := range []string{"", "http://x", "redis://user:hunter2@host:port", "://"} {
		if _, err := redis.Open(redis.Config{URL: url}); err == nil || strings.Contains(err.Error(), "hunter2") {
			t.Errorf("%q: %v", url, err)
		}
	}
}
