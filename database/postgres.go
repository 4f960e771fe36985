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

// checkBeforeUse returns the option to check, before a connection is used that was idle for more
// than a second, whether the server has closed it. Unlike a ping this costs no round trip.
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

// postgresConfig returns the configuration of the URL and the limits of c. Parameters of the URL
// take precedence.
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

// parseFailed returns the error for err, which is an error of pgx.ParseConfig. It contains only the
// reason, because the text of err may contain the password: pgx masks a password only where it
// recognizes one.
func parseFailed(err error) error {
	reason := "check host, port and parameters, and the variables that begin with PG"
	if _, ok := errors.AsType[*fs.PathError](err); ok {
		reason = "check the files that it names"
	} else if _, ok := errors.AsType[*pgconn.ParseConfigError](err); ok {
		for text, known := range map[string]string{
			"invalid port":               "a port must be a number from 1 to 65535",
			"sslmode is invalid":         "sslmode must be one of disable, allow, prefer, require, verify-ca, verify-full",
			"invalid connect_timeout":    "connect_timeout must be a number of seconds",
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
