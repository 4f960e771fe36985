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

// ErrNotSQLite is returned by [Copy], [File] and [InUse] if the URL does not name a SQLite file.
// PostgreSQL has its own tools, and a database in memory ends with its process.
var ErrNotSQLite = errors.New("database.url does not name a SQLite file: want sqlite:PATH")

// Copied describes a completed copy.
type Copied struct {
	At   time.Time        // everything committed before this time is in the copy
	Rows map[string]int64 // number of rows by table name
}

// copyStep is the number of pages copied at a time: 1 MiB with pages of 4 KiB.
const copyStep = 256

// Copy copies the SQLite database at c.URL to the file at path, which must be empty or missing. The
// database may be in use. The copy is a consistent snapshot in a single file, in rollback journal
// mode. Copy then verifies the integrity of the copy, its foreign keys and the number of rows of
// each table, and returns the time of the snapshot and the numbers of rows.
//
// Copy does not block writers. It pauses after each step for as long as the step took, which leaves
// half of the disk's bandwidth to them. The write-ahead log grows until the copy is complete. If
// Copy returns an error, the file at path is not usable.
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

// File returns the path of the SQLite file that c.URL names. It returns [ErrNotSQLite] if c.URL
// names another kind of database, and another error if c.URL is invalid.
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
	connector, err := sqlite.NewConnector(source.sqliteReader() + "&_error_rc=1") // or a full disk is "not an error"
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
	// The transaction keeps the snapshot that is counted and copied.
	tx, err := conn.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return copied, err
	}
	defer func() { _ = tx.Rollback() }()
	copied.At = time.Now() // the first read is what fixes the snapshot
	if copied.Rows, err = countRows(ctx, tx); err != nil {
		return copied, err
	}
	return copied, conn.Raw(func(driverConn any) error { return copyPages(ctx, driverConn, path) })
}

// copyPages copies the database of driverConn to the file at path with SQLite's online backup API
// (https://sqlite.org/backup.html).
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
			_ = b.Finish() // repeats the error
			return err
		}
	}
	return b.Finish()
}

// rest waits for d and returns nil. If ctx is done first, it returns ctx.Err().
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

// verifyCopy switches the copy at path to rollback journal mode. It returns an error if the copy is
// damaged or if its row counts differ from want.
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
	if err := checkIntegrity(ctx, pool, "the copy"); err != nil {
		return err
	}
	tx, err := pool.BeginTx(ctx, nil)
	if err != nil {
		return err
	}
	defer func() { _ = tx.Rollback() }()
	got, err := countRows(ctx, tx)
	if err == nil && !maps.Equal(got, want) {
		err = fmt.Errorf("the row counts of the copy differ from those of the database: %v, want %v", got, want)
	}
	return err
}

// CheckIntegrity reads the whole SQLite database and checks its structure, indexes and foreign
// keys. It returns an error that describes the first problems, or nil if there are none. On
// PostgreSQL it checks nothing and returns nil; use amcheck there.
func (db *DB) CheckIntegrity(ctx context.Context) error {
	if db.target.dialect != SQLite {
		return nil
	}
	if err := checkIntegrity(ctx, db.reader, db.target.String()); err != nil {
		return db.reading().fail(ctx, "integrity", err)
	}
	return nil
}

// checkIntegrity checks the SQLite database of pool, as [DB.CheckIntegrity] does. An error about
// damage begins with name, a name for the database.
func checkIntegrity(ctx context.Context, pool *sql.DB, name string) error {
	problems, err := firstColumn(ctx, pool, "PRAGMA integrity_check(10)")
	if err != nil {
		return err
	}
	if !slices.Equal(problems, []string{"ok"}) {
		return fmt.Errorf("%s is damaged: %s", name, strings.Join(problems, "; "))
	}
	tables, err := firstColumn(ctx, pool, `SELECT DISTINCT "table" FROM pragma_foreign_key_check`)
	if err == nil && len(tables) > 0 {
		err = fmt.Errorf("%s is damaged: violated foreign keys in %s", name, strings.Join(tables, ", "))
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

// countRows returns the number of rows of each table by the name of the table. SQLite's own tables
// are left out.
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

// InUse reports whether another connection, of this or any other process, has the SQLite file at
// c.URL open. To find out, it acquires and releases an exclusive lock. If the file is in rollback
// journal mode, such as a copy that was never opened by [Open], InUse detects only connections with
// a transaction in progress. InUse returns an error that wraps [ErrMissing] if the file does not
// exist, and another error if the file cannot be opened.
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
