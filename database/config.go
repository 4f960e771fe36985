package database

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"time"
)

// Config configures a database. URL is required; the zero value of any other field means the
// default of the field. A program can set a default for URL before it calls config.Load.
type Config struct {
	URL string `config:"url" mask:"url" help:"sqlite:PATH, sqlite::memory: or postgres://USER:PASSWORD@HOST:PORT/NAME"`

	// MaxOpen and MaxIdle are the maximum numbers of open and of idle connections. On SQLite they
	// apply to the readers; one additional connection writes. On PostgreSQL, [DB.Check], each call
	// of [DB.Listen] and migrations use additional connections. MaxIdle defaults to MaxOpen, so
	// that bursts do not reconnect repeatedly.
	MaxOpen     int           `config:"max_connections" default:"10" min:"1" max:"1000" help:"maximum number of connections (SQLite: readers)"`
	MaxIdle     int           `config:"max_idle_connections" min:"0" max:"1000" help:"maximum number of idle connections; 0 is max_connections"`
	MaxLifetime time.Duration `config:"max_connection_age" default:"30m" min:"1s" help:"age at which a connection is replaced"`
	MaxIdleTime time.Duration `config:"idle_timeout" default:"5m" min:"1s" help:"time after which an idle connection is closed"`

	// QueryTimeout is the maximum duration of a query or transaction, including the wait for a
	// connection and retries. It does not apply to migrations, [DB.Listen] and [DB.SQL].
	// PostgreSQL receives QueryTimeout plus one second as statement_timeout, in case the cancel
	// request does not arrive. A statement_timeout in the URL takes precedence.
	QueryTimeout time.Duration `config:"query_timeout" default:"5s" min:"1ms" max:"10m" help:"maximum time of a query or transaction"`

	ConnectTimeout  time.Duration `config:"connect_timeout" default:"5s" min:"1ms" max:"10m" help:"maximum time to connect to PostgreSQL"`
	ApplicationName string        `config:"application_name" help:"name shown in pg_stat_activity; by default the name of the program"`
}

func (c Config) withDefaults() Config {
	c.MaxOpen = cmp.Or(c.MaxOpen, 10)
	c.MaxIdle = cmp.Or(c.MaxIdle, c.MaxOpen)
	c.MaxLifetime = cmp.Or(c.MaxLifetime, 30*time.Minute)
	c.MaxIdleTime = cmp.Or(c.MaxIdleTime, 5*time.Minute)
	c.QueryTimeout = cmp.Or(c.QueryTimeout, 5*time.Second)
	c.ConnectTimeout = cmp.Or(c.ConnectTimeout, 5*time.Second)
	c.ApplicationName = cmp.Or(c.ApplicationName, filepath.Base(os.Args[0]))
	return c
}

// Validate returns an error that names each setting with an invalid value, or nil if there is none.
// It does not connect, but it reads the files that the URL names. The error names the settings with
// the prefix "database.", and never contains a password.
func (c Config) Validate() error {
	t, badURL := parseURL(c.URL)
	if badURL == nil && t.dialect == Postgres {
		_, badURL = postgresConfig(c.withDefaults(), t)
	}
	return errors.Join(
		badURL,
		notNegative("max_connections", c.MaxOpen),
		notNegative("max_idle_connections", c.MaxIdle),
		notNegative("max_connection_age", c.MaxLifetime),
		notNegative("idle_timeout", c.MaxIdleTime),
		notNegative("query_timeout", c.QueryTimeout),
		notNegative("connect_timeout", c.ConnectTimeout),
	)
}

func notNegative[T int | time.Duration](field string, v T) error {
	if v < 0 {
		return fmt.Errorf("database.%s is %v; it must be positive, or 0 for the default", field, v)
	}
	return nil
}
