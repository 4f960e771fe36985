package database

import (
	"context"
	"database/sql"
	"errors"
	"io/fs"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
)

func openPostgres(c Config, t target) (*DB, error) {
	config, err := postgresConfig(c, t)
	if err != nil {
		return nil, err
	}
	t.name = config.Database
	connector := newConnector(config, t)
	pool := sql.OpenDB(connector)
	configure(pool, c)
	return &DB{config: c, target: t, reader: pool, writer: pool, probe: probePool(connector, c), connector: connector}, nil
}

// checkBeforeUse returns the option that checks a connection before use if the connection was idle
// for more than a second. The check detects whether the server has closed the connection. Unlike a
// ping, it costs no round trip.
func checkBeforeUse() []stdlib.OptionOpenDB {
	check := func(_ context.Context, p stdlib.ShouldPingParams) bool {
		if p.IdleDuration <= time.Second {
			return false
		}
		// CheckConn closes a broken connection, so that the ping fails at once.
		return p.Conn.PgConn().CheckConn() != nil //nolint:staticcheck // deprecated, but not for connections of high latency
	}
	return []stdlib.OptionOpenDB{stdlib.OptionShouldPing(check)}
}

// postgresConfig returns the configuration of pgx for the URL of t, with the limits of c.
// Parameters of the URL, and environment variables that begin with PG, take precedence over c.
func postgresConfig(c Config, t target) (*pgx.ConnConfig, error) {
	config, err := pgx.ParseConfig(t.dsn)
	if err != nil {
		return nil, parseFailed(err)
	}
	if config.ConnectTimeout == 0 {
		config.ConnectTimeout = c.ConnectTimeout
	}
	limit := milliseconds(c.QueryTimeout + time.Second)
	setDefault(config.RuntimeParams, "application_name", c.ApplicationName)
	setDefault(config.RuntimeParams, "statement_timeout", limit)
	// A client that dies inside a transaction must not hold its locks for long.
	setDefault(config.RuntimeParams, "idle_in_transaction_session_timeout", limit)
	return config, nil
}

// parseFailed returns the error to report for err, an error of pgx.ParseConfig. The returned error
// contains only the reason, because the text of err may contain the password: pgx masks a password
// only where it recognizes one.
func parseFailed(err error) error {
	reason := "check its host, port and parameters, and the environment variables that begin with PG"
	if _, ok := errors.AsType[*fs.PathError](err); ok {
		reason = "check the files that are named in it or in the environment variables that begin with PG"
	} else if _, ok := errors.AsType[*pgconn.ParseConfigError](err); ok {
		for text, known := range map[string]string{
			"invalid port":               "a port must be a number from 1 to 65535",
			"sslmode is invalid":         "sslmode must be one of disable, allow, prefer, require, verify-ca, verify-full",
			"invalid connect_timeout":    "connect_timeout must be a whole number of seconds, at least 0",
			"target_session_attrs value": "target_session_attrs must be one of any, read-write, read-only, primary, standby, prefer-standby",
		} {
			if strings.Contains(err.Error(), text) {
				reason = known
			}
		}
	}
	return errors.New("database.url cannot be used: " + reason)
}

func setDefault(params map[string]string, key, value string) {
	if params[key] == "" {
		params[key] = value
	}
}

func milliseconds(d time.Duration) string {
	return strconv.FormatInt(max(d.Milliseconds(), 1), 10)
}
