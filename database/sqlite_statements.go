package database

import (
	"context"
	"database/sql/driver"
)

// maxStatements bounds what one connection keeps prepared. A service has some
// dozens of statements; text built at run time only turns the cache over.
const maxStatements = 100

// cachingConnector makes SQLite connections that prepare each statement once:
// parsing takes 25 to 40 % of the time of a short query. (pgx does this by itself.)
type cachingConnector struct{ driver.Connector }

func (c cachingConnector) Connect(ctx context.Context) (driver.Conn, error) {
	conn, err := c.Connector.Connect(ctx)
	if err != nil {
		return nil, err
	}
	return &cachingConn{sqliteConn: conn.(sqliteConn), idle: map[string]sqliteStmt{}, synchronous: full}, nil
}

// sqliteConn is what the driver's connection can do.
type sqliteConn interface {
	driver.Conn
	driver.ConnBeginTx
	driver.ConnPrepareContext
	driver.Pinger
	driver.SessionResetter
	driver.Validator
}

type sqliteStmt interface {
	driver.Stmt
	driver.StmtExecContext
	driver.StmtQueryContext
}

// cachingConn keeps statements that are not in use by their text. Like any
// driver.Conn it is used by one goroutine at a time.
type cachingConn struct {
	sqliteConn
	idle        map[string]sqliteStmt
	synchronous string
	inTx        bool
}

// What a commit waits for, see https://sqlite.org/pragma.html#pragma_synchronous.
const (
	full   = "FULL"   // the disk
	normal = "NORMAL" // with a write-ahead log: nothing
)

// BeginTx makes the commits of this transaction wait for the disk, unless ctx says
// that they need not.
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

// synchronize does not go by the cache: SQLite obeys this pragma when it is
// prepared, not when it is run.
func (c *cachingConn) synchronize(ctx context.Context, want string) error {
	if c.synchronous == want {
		return nil
	}
	stmt, err := c.PrepareContext(ctx, "PRAGMA synchronous = "+want)
	if err != nil {
		return err
	}
	defer stmt.Close()
	if _, err := stmt.(sqliteStmt).ExecContext(ctx, nil); err != nil {
		return err
	}
	c.synchronous = want
	return nil
}

type cachingTx struct {
	driver.Tx
	conn *cachingConn
}

func (t cachingTx) Commit() error   { t.conn.inTx = false; return t.Tx.Commit() }
func (t cachingTx) Rollback() error { t.conn.inTx = false; return t.Tx.Rollback() }

func (c *cachingConn) ExecContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Result, error) {
	if !c.inTx {
		if err := c.synchronize(ctx, full); err != nil {
			return nil, err
		}
	}
	stmt, err := c.take(ctx, query)
	if err != nil {
		return nil, err
	}
	defer c.put(query, stmt)
	return stmt.ExecContext(ctx, args)
}

func (c *cachingConn) QueryContext(ctx context.Context, query string, args []driver.NamedValue) (driver.Rows, error) {
	stmt, err := c.take(ctx, query)
	if err != nil {
		return nil, err
	}
	rows, err := stmt.QueryContext(ctx, args)
	if err != nil {
		c.put(query, stmt)
		return nil, err
	}
	return &cachingRows{Rows: rows, done: func() { c.put(query, stmt) }}, nil
}

// take hands out the statement for query: two runs of one text at once, the second
// inside the loop over the first's rows, get one each.
func (c *cachingConn) take(ctx context.Context, query string) (sqliteStmt, error) {
	if stmt, ok := c.idle[query]; ok {
		delete(c.idle, query)
		return stmt, nil
	}
	stmt, err := c.PrepareContext(ctx, query)
	if err != nil {
		return nil, err
	}
	return stmt.(sqliteStmt), nil
}

func (c *cachingConn) put(query string, stmt sqliteStmt) {
	c.drop(query)
	if len(c.idle) >= maxStatements {
		for other := range c.idle { // any: map order is random
			c.drop(other)
			break
		}
	}
	c.idle[query] = stmt
}

func (c *cachingConn) drop(query string) {
	if stmt, ok := c.idle[query]; ok {
		delete(c.idle, query)
		_ = stmt.Close() // repeats the last error of the statement, already reported
	}
}

func (c *cachingConn) Close() error {
	for query := range c.idle {
		c.drop(query)
	}
	return c.sqliteConn.Close()
}

// cachingRows gives its statement back when it is closed.
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
