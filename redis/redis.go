// Package redis runs scripts on a Redis server, and gives up on it in time: what is
// kept there is shared by several nodes, and each use of it has something to fall back on.
// The client is rueidis; calls that are made at once go over one connection in one
// packet.
package redis

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"strconv"
	"time"

	"github.com/chassi-go/chassi/breaker"
	"github.com/chassi-go/chassi/internal/outage"
	"github.com/redis/rueidis"
)

// Config says which server to use. The zero value of a field but URL means the default in
// its tag.
type Config struct {
	URL            string        `config:"url" mask:"url" help:"redis://[user:password@]host:port[/database], rediss:// with TLS; empty is no Redis"`
	Timeout        time.Duration `config:"timeout" default:"100ms" min:"1ms" help:"for a command; what is to be done without Redis is done then"`
	ConnectTimeout time.Duration `config:"connect_timeout" default:"1s" min:"1ms" help:"for a connection"`
	Prefix         string        `config:"prefix" help:"in front of every key, and the same on all nodes; empty is the program's name and a colon"`

	Logger *slog.Logger `config:"-"` // default slog.Default()
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

// DB is one server. It is safe for concurrent use.
//
// After three failures it stays away from the server for a second at a time, so that
// what falls back does so at once. One server, or one behind Sentinel or a proxy, is
// meant; the keys of one script may lie on several nodes of a Redis Cluster, which
// refuses that.
type DB struct {
	config  Config
	client  rueidis.Client
	number  string // of the database on the server, for traces
	breaker *breaker.Breaker
	watcher *watcher // shared with the DBs that Patient returns
}

// ErrUnavailable says that the server cannot be used now. What was asked may have been
// done.
var ErrUnavailable = errors.New("redis is not available")

// Open makes a DB. An error says what is wrong with the URL. A server that is away is
// none: it is looked for until it is there.
func Open(c Config) (*DB, error) {
	c = c.withDefaults()
	o, err := rueidis.ParseURL(c.URL)
	if err != nil {
		return nil, errors.New("redis: url: want redis://[user:password@]host:port[/database]") // the parser's error shows the password
	}
	o.ForceSingleClient = true
	o.DisableCache = true
	o.DisableRetry = true
	o.ConnWriteTimeout = max(c.Timeout, time.Second)
	o.Dialer.Timeout = c.ConnectTimeout
	o.ClientSetInfo = rueidis.DisableClientSetInfo
	client, err := rueidis.NewClient(o)
	if client == nil {
		return nil, fmt.Errorf("redis: %w", err)
	}
	watcher := &watcher{outage: outage.New(c.Logger, slog.LevelWarn, "redis cannot be used: done without", "redis is used again")}
	db := newDB(c, client, watcher, strconv.Itoa(o.SelectDB))
	db.watcher.saw(err) // the client has just tried to log in
	return db, nil
}

func newDB(c Config, client rueidis.Client, w *watcher, number string) *DB {
	db := &DB{config: c, client: client, watcher: w, number: number}
	db.breaker = breaker.New(breaker.Options{
		Config: breaker.Config{Consecutive: 3, Open: time.Second, Probes: 1, Window: time.Minute},
		Name:   "redis", Strict: true, OnChange: db.changed,
	})
	return db
}

// changed logs why Redis is not used when that begins, and that it is used again, once for
// all DBs on the same connections.
func (db *DB) changed(_, to breaker.State) {
	switch to {
	case breaker.Open:
		db.watcher.outage.Failed(errors.New(db.State().Error))
	case breaker.Closed:
		db.watcher.outage.Succeeded()
	case breaker.HalfOpen:
	}
}

// Patient returns a DB on the same connections that waits at least that long for an answer:
// for what had better be done with Redis than soon.
func (db *DB) Patient(timeout time.Duration) *DB {
	c := db.config
	c.Timeout = max(c.Timeout, timeout)
	return newDB(c, db.client, db.watcher, db.number)
}

// Close ends the connections.
func (db *DB) Close() { db.client.Close() }

// Script is a Lua script. It is sent to a server once, and called by its digest.
type Script struct {
	name string
	lua  *rueidis.Lua
}

// NewScript makes a script, which must return a list of integers, or of strings for
// [DB.RunText]. Traces show it by its name.
func NewScript(name, lua string) *Script { return &Script{name, rueidis.NewLuaScript(lua)} }

// Run calls a script, with the prefix in front of each key, in one round trip. An error
// is [ErrUnavailable], for whatever reason, or ctx's own end.
func (db *DB) Run(ctx context.Context, s *Script, keys, args []string) ([]int64, error) {
	return do(ctx, db, "EVALSHA", s.name, func(ctx context.Context) ([]int64, error) {
		return s.lua.Exec(ctx, db.client, db.prefixed(keys), args).AsIntSlice()
	})
}

// RunText is Run for a script that returns a list of strings.
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

// do calls f, which sends the command to the server, unless the breaker is open. Target is
// the name of a script, if command runs one.
func do[T any](ctx context.Context, db *DB, command, target string, f func(context.Context) (T, error)) (T, error) {
	end := db.trace(ctx, command, target)
	result, err := breaker.Do(db.breaker, func() (T, error) {
		bounded, cancel := context.WithTimeout(ctx, db.config.Timeout)
		defer cancel()
		result, err := f(bounded)
		if err != nil && ctx.Err() != nil {
			return result, context.Canceled // of the caller, however it came
		}
		db.watcher.saw(err)
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
