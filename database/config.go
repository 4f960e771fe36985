package database

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// Config says which database to open and what it may use. The zero value opens
// sqlite:authd.db with all defaults; a zero field means its default.
type Config struct {
	URL string `config:"url" default:"sqlite:authd.db" mask:"url" help:"sqlite:PATH, sqlite::memory: or postgres://USER:PASSWORD@HOST:PORT/NAME"`

	// Pool bounds: the readers of SQLite (which has one writer besides) or the
	// connections to PostgreSQL. MaxIdle is the same as MaxOpen by default, so a
	// burst does not reconnect again and again.
	MaxOpen     int           `config:"max_open" default:"10" min:"1" max:"1000" help:"connections at most (SQLite: readers)"`
	MaxIdle     int           `config:"max_idle" min:"0" max:"1000" help:"unused connections kept open at most; 0: as many as max_open"`
	MaxLifetime time.Duration `config:"max_lifetime" default:"30m" min:"1s" help:"age at which a connection is replaced"`
	MaxIdleTime time.Duration `config:"max_idle_time" default:"5m" min:"1s" help:"time after which an unused connection is closed"`

	// QueryTimeout bounds each call, waiting for a connection and running again
	// included. PostgreSQL gets it as statement_timeout, one second later, for
	// the case that the network no longer carries our cancel request; a
	// statement_timeout in the URL wins.
	QueryTimeout time.Duration `config:"query_timeout" default:"5s" min:"1ms" max:"10m" help:"longest time of a query or transaction"`

	ConnectTimeout  time.Duration `config:"connect_timeout" default:"5s" min:"1ms" max:"10m" help:"longest time to connect to PostgreSQL"`
	ApplicationName string        `config:"application_name" help:"name shown in pg_stat_activity; the program's by default"`
}

func (c Config) withDefaults() Config {
	c.URL = or(c.URL, "sqlite:authd.db")
	c.MaxOpen = or(c.MaxOpen, 10)
	c.MaxIdle = or(c.MaxIdle, c.MaxOpen)
	c.MaxLifetime = or(c.MaxLifetime, 30*time.Minute)
	c.MaxIdleTime = or(c.MaxIdleTime, 5*time.Minute)
	c.QueryTimeout = or(c.QueryTimeout, 5*time.Second)
	c.ConnectTimeout = or(c.ConnectTimeout, 5*time.Second)
	c.ApplicationName = or(c.ApplicationName, filepath.Base(os.Args[0]))
	return c
}

func (c Config) validate() error {
	return errors.Join(
		notNegative("max_open", c.MaxOpen),
		notNegative("max_idle", c.MaxIdle),
		notNegative("max_lifetime", c.MaxLifetime),
		notNegative("max_idle_time", c.MaxIdleTime),
		notNegative("query_timeout", c.QueryTimeout),
		notNegative("connect_timeout", c.ConnectTimeout),
	)
}

func notNegative[T int | time.Duration](field string, v T) error {
	if v < 0 {
		return fmt.Errorf("database: %s is %v: give 0 for the default or more", field, v)
	}
	return nil
}

func or[T comparable](v, fallback T) T {
	var zero T
	if v == zero {
		return fallback
	}
	return v
}
