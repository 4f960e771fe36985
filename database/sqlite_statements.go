package database

import (
	"context"
	"database/sql/driver"
	"errors"
	"fmt"
	"strings"
	"unicode/utf8"
)

// sqliteConn is the set of interfaces that the driver's connections implement.
type sqliteConn interface {
	driver.Conn
	driver.ConnBeginTx
	driver.ConnPrepareContext
	driver.Pinger
	driver.SessionResetter
	driver.Validator
}

// sqliteStmt is the set of interfaces that the driver's prepared statements implement.
type sqliteStmt interface {
	driver.Stmt
	driver.StmtExecContext
	driver.StmtQueryContext
}

// cachingConnector opens SQLite connections that cache prepared statements, because parsing takes
// 25% to 40% of the time of a short query. (pgx caches statements itself.)
type cachingConnector struct{ driver.Connector }

func (c cachingConnector) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	return &cachingConn{sqliteConn: conn.(sqliteConn), idle: statements{}, synchronous: full}, nil
}

// cachingConn caches prepared statements and controls whether commits wait for the disk. Like any
// driver.Conn, it is used by one goroutine at a time.
type cachingConn struct {
	sqliteConn
	idle        statements
	synchronous string // the current value of the pragma
	inTx        bool
}

// Values of the pragma synchronous; see https://sqlite.org/pragma.html#pragma_synchronous.
const (
	full   = "FULL"   // a commit waits for the disk
	normal = "NORMAL" // with a write-ahead log, a commit does not wait
)

// BeginTx begins a transaction. Its commit waits for the disk, unless ctx has a value for
// relaxedKey.
func (c *cachingConn) BeginTx(ctx context.Context, options driver.TxOptions) (driver.Tx, error) {
	want := full
	if ctx.Value(relaxedKey{}) != nil {
		want = normal
	}
	if err := c.synchronize(ctx, want); err != nil {
		return nil, err
	}
	tx, err := c.sqliteConn.BeginTx(ctx, options)
	if err != nil {
		return nil, err
	}
	c.inTx = true
	return cachingTx{tx, c}, nil
}

// synchronize sets the pragma synchronous to want. It does not use the cache, because SQLite
// applies this pragma when the statement is prepared, not when it is run.
func (c *cachingConn) synchronize(ctx context.Context, want string) error {
	if c.synchronous == want {
		return nil
	}
	stmt, err := c.prepare(ctx, "PRAGMA synchronous = "+want)
	if err != nil {
		return err
	}
	defer stmt.Close()
	if _, err := stmt.ExecContext(ctx, nil); err != nil {
		return err
	}
	c.synchronous = want
	return nil
}

// autocommit prepares for a statement that commits by itself, if c is not in a transaction: its
// commit waits for the disk.
func (c *cachingConn) autocommit(ctx context.Context) error {
	if c.inTx {
		return nil
	}
	return c.synchronize(ctx, full)
}

// cachingTx is a transaction of a cachingConn.
type cachingTx struct {
	driver.Tx
	conn *cachingConn
}

func (t cachingTx) Commit() error   { t.conn.inTx = false; return t.Tx.Commit() }
func (t cachingTx) Rollback() error { t.conn.inTx = false; return t.Tx.Rollback() }

// ExecContext runs a statement and returns its result. Outside a transaction, the statement commits
// its changes and waits for the disk.
func (c *cachingConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	if err := checkTexts(args); err != nil {
		return nil, err
	}
	if err := c.autocommit(ctx); err != nil {
		return nil, err
	}
	stmt, err := c.statement(ctx, query)
	if err != nil {
		return nil, err
	}
	defer c.idle.put(query, stmt)
	return stmt.ExecContext(ctx, args)
}

// QueryContext runs a query and returns its rows. Outside a transaction, changes that the query
// makes, with RETURNING, are committed as by ExecContext. The prepared statement is in use until the
// rows are closed.
func (c *cachingConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	if err := checkTexts(args); err != nil {
		return nil, err
	}
	if err := c.autocommit(ctx); err != nil {
		return nil, err
	}
	stmt, err := c.statement(ctx, query)
	if err != nil {
		return nil, err
	}
	rows, err := stmt.QueryContext(ctx, args)
	if err != nil {
		c.idle.put(query, stmt)
		return nil, err
	}
	return &cachingRows{Rows: rows, done: func() { c.idle.put(query, stmt) }}, nil
}

// PrepareContext prepares a statement that is run by the methods of [preparedStmt].
func (c *cachingConn) PrepareContext(ctx context.Context, query string) (driver.Stmt, error) {
	stmt, err := c.prepare(ctx, query)
	if err != nil {
		return nil, err
	}
	return preparedStmt{stmt, c}, nil
}

// preparedStmt is a statement that was prepared by the user of the connection. It is checked and
// committed like a statement that is not prepared.
type preparedStmt struct {
	sqliteStmt
	conn *cachingConn
}

func (s preparedStmt) ExecContext(ctx context.Context, args []driver.NamedValue) (driver.Result, error) {
	if err := errors.Join(checkTexts(args), s.conn.autocommit(ctx)); err != nil {
		return nil, err
	}
	return s.sqliteStmt.ExecContext(ctx, args)
}

func (s preparedStmt) QueryContext(ctx context.Context, args []driver.NamedValue) (driver.Rows, error) {
	if err := errors.Join(checkTexts(args), s.conn.autocommit(ctx)); err != nil {
		return nil, err
	}
	return s.sqliteStmt.QueryContext(ctx, args)
}

func checkTexts(args []driver.NamedValue) error {
	for i := range args {
		if s, ok := args[i].Value.(string); ok && (strings.IndexByte(s, 0) >= 0 || !utf8.ValidString(s)) {
			return fmt.Errorf("argument %d: %w", args[i].Ordinal, errInvalidText)
		}
	}
	return nil
}

// statement returns a prepared statement for query that is not in use: one from the cache or, if
// the cache has none, a new one.
func (c *cachingConn) statement(ctx context.Context, query string) (sqliteStmt, error) {
	if stmt, ok := c.idle.take(query); ok {
		return stmt, nil
	}
	return c.prepare(ctx, query)
}

func (c *cachingConn) prepare(ctx context.Context, query string) (sqliteStmt, error) {
	stmt, err := c.sqliteConn.PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	return stmt.(sqliteStmt), nil
}

func (c *cachingConn) Close() error {
	for query := range c.idle {
		c.idle.remove(query)
	}
	return c.sqliteConn.Close()
}

// cachingRows are the rows of a query. Closing them puts the statement back into the cache.
type cachingRows struct {
	driver.Rows
	done func()
}

func (r *cachingRows) Close() error {
	err := r.Rows.Close()
	if r.done != nil {
		r.done()
		r.done = nil
	}
	return err
}

// maxStatements is the maximum number of statements that a connection keeps prepared. A service has
// a few dozen. It can exceed the limit only with SQL that is built at run time; each new statement
// then replaces a random one.
const maxStatements = 100

// statements holds the prepared statements of a connection that are not in use, by their SQL text.
// A query that is run again while its own rows are read gets a second statement.
type statements map[string]sqliteStmt

func (s statements) take(query string) (sqliteStmt, bool) {
	stmt, ok := s[query]
	delete(s, query)
	return stmt, ok
}

func (s statements) put(query string, stmt sqliteStmt) {
	s.remove(query)
	if len(s) >= maxStatements {
		for other := range s { // any one: map order is random
			s.remove(other)
			break
		}
	}
	s[query] = stmt
}

func (s statements) remove(query string) {
	if stmt, ok := s.take(query); ok {
		_ = stmt.Close() // repeats the last error of the statement, already reported
	}
}
