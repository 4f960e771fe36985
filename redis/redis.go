// Package redis runs scripts on a Redis server, with short timeouts. It is for state that
// several nodes share and for which the caller has a fallback. It uses the client rueidis, which
// pipelines concurrent calls on one connection.
package redis

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"strconv"
	"time"

	"github.com/chassi-go/chassi/breaker"
	"github.com/chassi-go/chassi/internal/outage"
	"github.com/redis/rueidis"
)

// Config configures a [DB]. URL is required. A zero Timeout or ConnectTimeout means the default in
// its tag. [Open] adds no prefix to keys if Prefix is empty; package standard/redisdb sets it to
// the name of the program and a colon.
type Config struct {
	URL            string        `config:"url" format:"url:redis,rediss,unix" mask:"url" help:"redis://[user:password@]host:port[/database], or rediss:// with TLS; empty disables Redis"`
	Timeout        time.Duration `config:"timeout" default:"100ms" min:"1ms" help:"maximum time of a command; after it the fallback without Redis is used"`
	ConnectTimeout time.Duration `config:"connect_timeout" default:"1s" min:"1ms" help:"maximum time to connect"`
	Prefix         string        `config:"prefix" help:"prefix of every key, the same on all nodes; empty is the name of the program and a colon"`

	Logger  *slog.Logger `config:"-"` // nil means slog.Default()
	Offline bool         `config:"-"` // do not connect; every call fails with ErrUnavailable
}

func (c Config) withDefaults() Config {
	if c.Timeout <= 0 {
		c.Timeout = 100 * time.Millisecond
	}
	if c.ConnectTimeout <= 0 {
		c.ConnectTimeout = time.Second
	}
	if c.Logger == nil {
		c.Logger = slog.Default()
	}
	return c
}

// DB is a client of one Redis server. It is safe for concurrent use.
//
// After three consecutive failures, a DB fails all calls except [DB.Check] for a second at a time
// without contacting the server, so that callers use their fallback at once. The server is reached
// directly or through Sentinel or a proxy. Redis Cluster is not supported, because the keys of one
// script may be on different nodes.
type DB struct {
	config  Config
	client  rueidis.Client
	number  string // number of the database on the server, for traces
	breaker *breaker.Breaker
	watcher *watcher // shared with the DBs that Patient returns
}

// ErrUnavailable is wrapped by the errors of calls that fail because the server is unavailable or
// rejects the command. The script may have run.
var ErrUnavailable error = unavailableError{}

type unavailableError struct{}

func (unavailableError) Error() string { return "redis is not available" }

// Unavailable returns true, so that a chassi service returns the code Unavailable for the error.
func (unavailableError) Unavailable() bool { return true }

var errOffline = errors.New("offline")

// Open returns a DB for the server at c.URL, or an error if the URL is invalid. It does not return
// an error if the server is down: the DB connects when the server is up.
func Open(c Config) (*DB, error) {
	c = c.withDefaults()
	o, err := rueidis.ParseURL(c.URL)
	if err != nil {
		// The parser's error would contain the password.
		return nil, errors.New("redis: url must be redis://[user:password@]host:port[/database], rediss:// with TLS, or unix:///PATH, with valid parameters")
	}
	o.ForceSingleClient = true
	o.DisableCache = true
	o.DisableRetry = true
	o.ConnWriteTimeout = max(c.Timeout, time.Second)
	o.Dialer.Timeout = c.ConnectTimeout
	o.ClientSetInfo = rueidis.DisableClientSetInfo
	if c.Offline {
		o.DialCtxFn = func(context.Context, string, *net.Dialer, *tls.Config) (net.Conn, error) { return nil, errOffline }
	}
	client, err := rueidis.NewClient(o)
	if client == nil {
		return nil, fmt.Errorf("redis: %w", err)
	}
	watcher := &watcher{outage: outage.New(c.Logger, slog.LevelWarn, "redis is unavailable: continuing without it", "redis is used again")}
	db := newDB(c, client, watcher, strconv.Itoa(o.SelectDB))
	db.watcher.saw(err) // the client has just tried to log in
	return db, nil
}

func newDB(c Config, client rueidis.Client, w *watcher, number string) *DB {
	db := &DB{config: c, client: client, watcher: w, number: number}
	db.breaker = breaker.New(breaker.Options{
		Config: breaker.Config{Consecutive: 3, OpenDuration: time.Second, Probes: 1, Window: time.Minute},
		Name:   "redis", Strict: true, OnChange: db.changed,
	})
	return db
}

// changed logs when Redis becomes unavailable and when it is available again, once for all DBs on
// the same connections.
func (db *DB) changed(_, to breaker.State) {
	switch to {
	case breaker.Open:
		db.watcher.outage.Failed(errors.New(db.State().Error))
	case breaker.Closed:
		db.watcher.outage.Succeeded()
	case breaker.HalfOpen:
	}
}

// Patient returns a DB that uses the connections of db and waits for a response for the given
// timeout or for Config.Timeout, whichever is longer. It counts failures separately from db.
func (db *DB) Patient(timeout time.Duration) *DB {
	c := db.config
	c.Timeout = max(c.Timeout, timeout)
	return newDB(c, db.client, db.watcher, db.number)
}

// Close closes the connections, which db shares with the DBs that [DB.Patient] returns.
func (db *DB) Close() { db.client.Close() }

// Script is a Lua script. It is called by its digest, and is sent to the server only if the server
// does not have it, such as at first or after a restart.
type Script struct {
	name string
	lua  *rueidis.Lua
}

// NewScript returns a script with the given Lua source. The script must return an array of
// integers for [DB.Run], or an array of strings for [DB.RunText]. Traces show the name.
func NewScript(name, lua string) *Script { return &Script{name, rueidis.NewLuaScript(lua)} }

// Run runs a script, with the prefix added to each key, and returns the integers that the script
// returns. It takes one round trip, or two if the server does not have the script. If it fails and
// ctx is done, it returns ctx.Err(). For any other failure, it returns an error that wraps
// [ErrUnavailable].
func (db *DB) Run(ctx context.Context, s *Script, keys, args []string) ([]int64, error) {
	return do(ctx, db, "EVALSHA", s.name, func(ctx context.Context) ([]int64, error) {
		return s.lua.Exec(ctx, db.client, db.prefixed(keys), args).AsIntSlice()
	})
}

// RunText runs a script, as [DB.Run] does, and returns the strings that the script returns.
func (db *DB) RunText(ctx context.Context, s *Script, keys, args []string) ([]string, error) {
	return do(ctx, db, "EVALSHA", s.name, func(ctx context.Context) ([]string, error) {
		return s.lua.Exec(ctx, db.client, db.prefixed(keys), args).AsStrSlice()
	})
}

func (db *DB) prefixed(keys []string) []string {
	prefixed := make([]string, len(keys))
	for i, key := range keys {
		prefixed[i] = db.config.Prefix + key
	}
	return prefixed
}

// do calls f unless the breaker is open, and returns the result of f, which sends the command to
// the server. The errors of do are those of [DB.Run]. target is the name of the script if command
// runs a script, and "" otherwise.
func do[T any](ctx context.Context, db *DB, command, target string, f func(context.Context) (T, error)) (T, error) {
	end := db.trace(ctx, command, target)
	result, err := breaker.Do(db.breaker, func() (T, error) {
		bounded, cancel := context.WithTimeout(ctx, db.config.Timeout)
		defer cancel()
		result, err := f(bounded)
		if err != nil && ctx.Err() != nil {
			return result, context.Canceled // the context of the caller, whatever the error of the client
		}
		if err != nil || target != "" { // a server that responds may still reject scripts
			db.watcher.saw(err)
		}
		return result, err
	})
	switch {
	case err == nil:
	case ctx.Err() != nil:
		err = ctx.Err()
	default:
		err = fmt.Errorf("%w: %w", ErrUnavailable, err)
	}
	ended(end, err)
	return result, err
}
