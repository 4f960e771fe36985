package database

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"time"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// ErrNotSQLite is returned by [Copy], [File] and [InUse] for a database that is not a SQLite
// file: PostgreSQL has its own tools, and a database in memory ends with its process.
var ErrNotSQLite = errors.New("database: only a SQLite file can be copied")

// Copied describes a finished copy.
type Copied struct {
	At   time.Time        // the copy holds everything that was committed by then
	Rows map[string]int64 // by table
}

// copyStep is how many pages are copied at once: 1 MiB with pages of 4 KiB.
const copyStep = 256

// Copy copies the SQLite database at c.URL, which may be in use, to the file at path,
// which must be empty or missing, and verifies the copy: its integrity, its foreign keys
// and, table by table, its number of rows. The copy is one state of the database; it is a
// single file in rollback mode, without a log beside it.
//
// Writers of the database go on meanwhile. Copy rests between its steps for as long as
// each took, so that it leaves half of the disk's time to them; the write-ahead log
// grows until the copy is complete. When Copy fails, what is at path is of no use.
func Copy(ctx context.Context, c Config, path string) (Copied, error) {
	source, err := sqliteFileTarget(c)
	if err != nil {
		return Copied{}, err
	}
	if err := requireFile(source.path); err != nil {
		return Copied{}, err
	}
	copied, err := copySQLite(ctx, source, path)
	if err == nil {
		err = verifyCopy(ctx, path, copied.Rows)
	}
	if err != nil {
		return Copied{}, failed("copy", err)
	}
	return copied, nil
}

// File returns the path of the SQLite file that c.URL names, or [ErrNotSQLite].
func File(c Config) (string, error) {
	t, err := sqliteFileTarget(c)
	return t.path, err
}

func sqliteFileTarget(c Config) (target, error) {
	t, err := parseURL(c.withDefaults().URL)
	if err == nil && (t.dialect != SQLite || t.path == "") {
		err = ErrNotSQLite
	}
	return t, err
}

func copySQLite(ctx context.Context, source target, path string) (copied Copied, err error) {
	source.access = accessReadOnly
	connector, err := sqlite.NewConnector(source.sqliteReader())
	if err != nil {
		return copied, err
	}
	pool := sql.OpenDB(connector)
	defer func() { err = errors.Join(err, pool.Close()) }()
	conn, err := pool.Conn(ctx)
	if err != nil {
		return copied, err
	}
	defer conn.Close()
	// The transaction keeps the state that is counted and copied.
	tx, err := conn.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return copied, err
	}
	defer func() { _ = tx.Rollback() }()
	if copied.Rows, err = countRows(ctx, tx); err != nil {
		return copied, err
	}
	copied.At = time.Now()
	return copied, conn.Raw(func(driverConn any) error { return copyPages(ctx, driverConn, path) })
}

// copyPages runs SQLite's online backup, see https://sqlite.org/backup.html.
func copyPages(ctx context.Context, driverConn any, path string) (err error) {
	b, err := driverConn.(interface {
		NewBackup(uri string) (*sqlite.Backup, error)
	}).NewBackup(target{path: path}.sqliteFile() + "_pragma=synchronous(full)")
	if err != nil {
		return err
	}
	for more := true; more; {
		began := time.Now()
		if more, err = b.Step(copyStep); err == nil && more {
			err = rest(ctx, time.Since(began))
		}
		if err != nil {
			return errors.Join(err, b.Finish())
		}
	}
	return b.Finish()
}

// rest waits, or returns ctx's error if that ends first.
func rest(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// verifyCopy turns the write-ahead log of the copy off, and compares it with what was
// counted.
func verifyCopy(ctx context.Context, path string, want map[string]int64) (err error) {
	pool, err := sqlitePool(target{path: path}.sqliteFile() + sqliteCommon)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, pool.Close()) }()
	pool.SetMaxOpenConns(1)
	var mode string
	if err := pool.QueryRowContext(ctx, "PRAGMA journal_mode=delete").Scan(&mode); err != nil {
		return err
	}
	if err := checkIntegrity(ctx, pool); err != nil {
		return err
	}
	tx, err := pool.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	got, err := countRows(ctx, tx)
	if err == nil && !maps.Equal(got, want) {
		err = fmt.Errorf("the copy has other numbers of rows than the database: %v, want %v", got, want)
	}
	return err
}

// CheckIntegrity reads the whole of a SQLite database and returns an error that names
// the first problems: of its structure, its indexes and its foreign keys. On PostgreSQL
// it returns nil: see amcheck there.
func (db *DB) CheckIntegrity(ctx context.Context) error {
	if db.target.dialect != SQLite {
		return nil
	}
	if err := checkIntegrity(ctx, db.reader); err != nil {
		return db.reading().fail(ctx, "integrity", err)
	}
	return nil
}

func checkIntegrity(ctx context.Context, pool *sql.DB) error {
	problems, err := firstColumn(ctx, pool, "PRAGMA integrity_check(10)")
	if err != nil {
		return err
	}
	if !slices.Equal(problems, []string{"ok"}) {
		return fmt.Errorf("the file is damaged: %s", strings.Join(problems, "; "))
	}
	tables, err := firstColumn(ctx, pool, `SELECT DISTINCT "table" FROM pragma_foreign_key_check`)
	if err == nil && len(tables) > 0 {
		err = fmt.Errorf("the file is damaged: rows without the row that they refer to in %s", strings.Join(tables, ", "))
	}
	return err
}

func firstColumn(ctx context.Context, q interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
}, query string,
) (values []string, err error) {
	rows, err := q.QueryContext(ctx, query)
	if err != nil {
		return nil, err
	}
	defer func() { err = errors.Join(err, rows.Close()) }()
	for rows.Next() {
		var v string
		if err := rows.Scan(&v); err != nil {
			return nil, err
		}
		values = append(values, v)
	}
	return values, rows.Err()
}

// countRows counts the rows of every table.
func countRows(ctx context.Context, tx *sql.Tx) (map[string]int64, error) {
	tables, err := firstColumn(ctx, tx, "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
	if err != nil {
		return nil, err
	}
	rows := make(map[string]int64, len(tables))
	for _, table := range tables {
		var n int64
		query := `SELECT count(*) FROM "` + strings.ReplaceAll(table, `"`, `""`) + `"`
		if err := tx.QueryRowContext(ctx, query).Scan(&n); err != nil {
			return nil, err
		}
		rows[table] = n
	}
	return rows, nil
}

// InUse reports whether another connection, of this or any other process, has the SQLite
// file at c.URL open. It asks for the lock that excludes all others and lets go of it.
func InUse(ctx context.Context, c Config) (bool, error) {
	t, err := sqliteFileTarget(c)
	if err != nil {
		return false, err
	}
	if err := requireFile(t.path); err != nil {
		return false, err
	}
	t.access = accessExisting
	pool, err := sqlitePool(t.sqliteFile() + "_pragma=busy_timeout(50)&_pragma=locking_mode(exclusive)&_txlock=exclusive")
	if err != nil {
		return false, err
	}
	defer func() { _ = pool.Close() }() // it wrote nothing
	tx, err := pool.BeginTx(ctx, nil)
	if lite, ok := errors.AsType[*sqlite.Error](err); ok && lite.Code()&0xff == sqlite3.SQLITE_BUSY {
		return true, nil
	}
	if err != nil {
		return false, failed("open", err)
	}
	return false, tx.Rollback()
}
