package database

import (
	"context"
	"database/sql/driver"
	"errors"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/stdlib"
)

// connector connects to PostgreSQL, directly or through a pooler such as PgBouncer. In
// transaction mode a pooler keeps no session state between transactions. Therefore, behind
// a pooler:
//   - Statements are not prepared automatically, unless the URL sets default_query_exec_mode.
//   - The startup parameters for timeouts are not sent; the timeouts are set in each
//     transaction instead.
//   - The migration lock belongs to a transaction.
type connector struct {
	direct, pooled driver.Connector
	timeouts       []string    // statements that set the timeouts in a transaction
	behindPooler   atomic.Bool // a connection made so far led to a pooler
}

// timeoutParameters are the startup parameters for timeouts. Poolers reject them, or keep their
// values for the next client.
var timeoutParameters = []string{"statement_timeout", "idle_in_transaction_session_timeout"}

func newConnector(config *pgx.ConnConfig, t target) *connector {
	pooled := config.Copy()
	pooled.RuntimeParams = maps.Clone(config.RuntimeParams)
	var timeouts []string
	for _, name := range timeoutParameters {
		timeouts = append(timeouts, "SET LOCAL "+name+" = '"+strings.ReplaceAll(pooled.RuntimeParams[name], "'", "''")+"'")
		delete(pooled.RuntimeParams, name)
	}
	if u, err := url.Parse(t.dsn); err == nil && !u.Query().Has("default_query_exec_mode") {
		pooled.DefaultQueryExecMode = pgx.QueryExecModeExec
	}
	check := checkBeforeUse()
	return &connector{direct: stdlib.GetConnector(*config, check...), pooled: stdlib.GetConnector(*pooled, check...), timeouts: timeouts}
}

// Driver returns the database/sql driver of pgx.
func (c *connector) Driver() driver.Driver { return c.direct.Driver() }

// Connect opens a connection and detects whether it leads to a pooler. Once Connect has detected a
// pooler, it opens all connections with the restrictions described at connector, which also work
// without a pooler.
func (c *connector) Connect(ctx context.Context) (driver.Conn, error) {
	if !c.behindPooler.Load() {
		conn, err := c.direct.Connect(ctx)
		if err == nil {
			var through bool
			if through, err = throughPooler(ctx, conn); err == nil && !through {
				return conn, nil
			}
			_ = conn.Close() // it was opened as one to the server
		}
		if err != nil && !refusedParameter(err) {
			return nil, err
		}
		c.behindPooler.Store(true)
	}
	return c.pooled.Connect(ctx)
}

// refusedParameter reports whether err is PgBouncer's rejection of a startup parameter that is not
// in its ignore_startup_parameters.
func refusedParameter(err error) bool {
	pg, ok := errors.AsType[*pgconn.PgError](err)
	return ok && pg.Code == "08P01" && strings.Contains(pg.Message, "startup parameter")
}

// throughPooler reports whether conn leads to a pooler. It compares the process ID that was
// reported when the connection was opened, which a pooler makes up, with the ID of the process that
// runs a query.
func throughPooler(ctx context.Context, conn driver.Conn) (bool, error) {
	pid, err := simple(ctx, conn, "SELECT pg_backend_pid()")
	return pid != strconv.FormatUint(uint64(conn.(*stdlib.Conn).Conn().PgConn().PID()), 10), err
}

// simple runs statements with the simple query protocol, which leaves no prepared statement on the
// connection. It returns the first value of the last statement, or "" if that statement returned
// no rows.
func simple(ctx context.Context, conn any, statements string) (value string, err error) {
	results, err := conn.(*stdlib.Conn).Conn().PgConn().Exec(ctx, statements).ReadAll()
	if err != nil || len(results) == 0 {
		return "", err
	}
	if rows := results[len(results)-1].Rows; len(rows) > 0 && len(rows[0]) > 0 {
		value = string(rows[0][0])
	}
	return value, nil
}

// settings returns the statements to run at the beginning of each transaction.
func (s scope) settings() (settings []string) {
	if s.db.connector.behindPooler.Load() {
		settings = s.db.connector.timeouts
	}
	if s.relaxed {
		settings = append(slices.Clip(settings), "SET LOCAL synchronous_commit = off")
	}
	return settings
}
