package service_test

import (
	"bytes"
	"context"
	"errors"
	"log/slog"
	"net/netip"
	"sync"
	"testing"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/auth"
	"github.com/chassi-go/chassi/auth/service"
	"github.com/chassi-go/chassi/auth/store"
	"github.com/chassi-go/chassi/database"
	"github.com/chassi-go/chassi/internal/dbtest"
	"github.com/chassi-go/chassi/password"
	"github.com/chassi-go/chassi/token"
	"github.com/chassi-go/chassi/workpool"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// cheap is the price of a hash in tests.
var cheap = password.Params{Memory: 64, Time: 1, Parallelism: 1, SaltLen: 8, KeyLen: 16}

const (
	email  = "ada@example.org"
	secret = "an analytical engine"
)

func defaults() service.Config {
	return service.Config{
		SignUp: true, Password: cheap,
		Token:   service.TokenConfig{Algorithm: token.EdDSA, Issuer: "authd", Audience: "authd", TTL: time.Hour, Leeway: 5 * time.Second, CacheSize: 1000},
		Lockout: service.Lockout{Pair: 5, Account: 50, Network: 1000, MaxDelay: 15 * time.Minute, Window: 24 * time.Hour, KnownFor: 90 * 24 * time.Hour},
	}
}

// node is a service with all it stands on.
type node struct {
	*service.Service
	t     testing.TB
	store *store.Store
	db    *database.DB
	pool  *workpool.Pool
	clock *clock

	mu     sync.Mutex
	log    bytes.Buffer
	events map[string]int
}

// clock is time that the test moves.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// Write records a line of the log.
func (n *node) Write(line []byte) (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.log.Write(line)
}

func (n *node) text() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.log.String()
}

func (n *node) count(event string) int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.events[event]
}

// start makes a node on the database at url. Without a clock, with is to set one.
func start(t testing.TB, url string, c service.Config, queue int, at *clock, with ...func(*service.Options)) *node {
	t.Helper()
	n := &node{t: t, clock: at, events: make(map[string]int)}
	var err error
	if n.db, err = database.Open(t.Context(), database.Config{URL: url, QueryTimeout: 2 * time.Minute}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = n.db.Close() })
	if _, err := n.db.Migrate(t.Context(), store.Migrations()); err != nil {
		t.Fatal(err)
	}
	n.store, n.pool = store.New(n.db), workpool.New(workpool.Options{Workers: 2, Queue: queue})
	t.Cleanup(func() { _ = n.pool.Stop(context.Background()) })
	o := service.Options{
		Store: n.store, Pool: n.pool, Logger: slog.New(slog.NewJSONHandler(n, nil)),
		Observe: func(event string) { n.mu.Lock(); defer n.mu.Unlock(); n.events[event]++ },
	}
	if at != nil {
		o.Now = at.Now
	}
	for _, set := range with {
		set(&o)
	}
	if n.Service, err = service.New(c, o); err != nil {
		t.Fatal(err)
	}
	if err := n.Start(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = n.Stop(context.Background()) })
	return n
}

func newClock() *clock { return &clock{now: time.Now()} }

// engines runs test with a node on each engine.
func engines(t *testing.T, test func(t *testing.T, n *node)) {
	t.Helper()
	dbtest.Engines(t, func(t *testing.T, url string) { test(t, start(t, url, defaults(), 1000, newClock())) })
}

// onSQLite is a node for tests in which the database plays no part.
func onSQLite(t testing.TB) *node {
	t.Helper()
	return start(t, dbtest.SQLite(t), defaults(), 1000, newClock())
}

// two runs test with two nodes on one database, on each engine.
func two(t *testing.T, test func(t *testing.T, a, b *node)) {
	t.Helper()
	dbtest.Engines(t, func(t *testing.T, url string) {
		at := newClock()
		test(t, start(t, url, defaults(), 1000, at), start(t, url, defaults(), 1000, at))
	})
}

// from is a call from a client address.
func from(ctx context.Context, addr string) context.Context {
	call := &chassi.Call{Peer: netip.AddrPortFrom(netip.MustParseAddr(addr), 1234)}
	return call.Context(ctx)
}

const home = "192.0.2.1"

func (n *node) add(address, plain string) {
	n.t.Helper()
	if _, err := n.AddUser(n.t.Context(), address, plain); err != nil {
		n.t.Fatal(err)
	}
}

func (n *node) login(address, plain, addr string) (string, error) {
	response, err := n.Authenticate(from(n.t.Context(), addr), &auth.AuthenticateRequest{Email: address, Password: plain})
	if err != nil {
		return "", err
	}
	return response.Token, nil
}

// mustLogin returns a token of the account that all tests use.
func (n *node) mustLogin() string {
	n.t.Helper()
	issued, err := n.login(email, secret, home)
	if err != nil {
		n.t.Fatal(err)
	}
	return issued
}

func (n *node) validate(raw string) error {
	_, err := n.ValidateToken(n.t.Context(), &auth.ValidateTokenRequest{Token: raw})
	return err
}

// change changes the password of the bearer of a token.
func (n *node) change(raw, old, next string) (string, error) {
	return n.changeIn(n.t.Context(), raw, old, next)
}

func (n *node) changeIn(ctx context.Context, raw, old, next string) (string, error) {
	principal, err := n.Principal(ctx, raw)
	if err != nil {
		return "", err
	}
	call := &chassi.Call{Peer: netip.AddrPortFrom(netip.MustParseAddr(home), 1234), Principal: principal}
	response, err := n.ChangePassword(call.Context(ctx), &auth.ChangePasswordRequest{OldPassword: old, NewPassword: next})
	if err != nil {
		return "", err
	}
	return response.Token, nil
}

// hashes counts the passwords hashed so far.
func (n *node) hashes() uint64 { return n.pool.Stats().Completed }

// evaluated counts the guesses that were held against their account's hash.
func (n *node) evaluated() int { return n.count("login_failed") + n.count("login_ok") }

func want(t *testing.T, what string, err, target error) {
	t.Helper()
	if !errors.Is(err, target) {
		t.Errorf("%s: %v, want %v", what, err, target)
	}
}
