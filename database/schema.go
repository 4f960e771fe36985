package database

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"strconv"
	"strings"
)

// SchemaError means that the schema of a database is not the one that the program requires.
type SchemaError struct {
	Have, Want int64 // numbers of the newest migration applied, 0 for none, and of the newest one known
	Newer      bool  // the database has a migration that the program does not contain
}

// Error describes both schemas by their newest migration.
func (e *SchemaError) Error() string {
	switch {
	case e.Newer:
		return fmt.Sprintf("database: the schema is newer than this program: migration %05d was applied, this program knows up to %05d", e.Have, e.Want)
	case e.Have == 0:
		return "database: the database has no schema yet"
	}
	return fmt.Sprintf("database: the schema is older than this program needs: %05d was applied last, the newest migration is %05d", e.Have, e.Want)
}

// CheckSchema compares the applied migrations with those in migrations, see
// [DB.Migrate], and changes nothing. It returns a [*SchemaError] if they differ.
func (db *DB) CheckSchema(ctx context.Context, migrations fs.FS) error {
	known, err := migrationVersions(migrations, db.target.dialect)
	if err != nil {
		return err
	}
	applied, err := db.appliedVersions(ctx)
	if err != nil {
		return err
	}
	e := &SchemaError{Have: newest(applied), Want: newest(known)}
	pending := false
	for v := range known {
		pending = pending || !applied[v]
	}
	for v := range applied {
		e.Newer = e.Newer || !known[v]
	}
	if pending || e.Newer {
		return e
	}
	return nil
}

func newest(versions map[int64]bool) (newest int64) {
	for v := range versions {
		newest = max(newest, v)
	}
	return newest
}

// migrationVersions returns the version numbers at the beginning of the file names.
func migrationVersions(migrations fs.FS, d Dialect) (map[int64]bool, error) {
	names, err := fs.Glob(migrations, d.String()+"/*.sql")
	if err == nil && len(names) == 0 {
		err = fmt.Errorf("the migrations have no .sql file in the directory %q", d)
	}
	if err != nil {
		return nil, failed("schema", err)
	}
	versions := make(map[int64]bool)
	for _, name := range names {
		number, _, _ := strings.Cut(strings.TrimPrefix(name, d.String()+"/"), "_")
		v, err := strconv.ParseInt(number, 10, 64)
		if err != nil {
			return nil, failed("schema", fmt.Errorf("the name of %s does not begin with a number", name))
		}
		versions[v] = true
	}
	return versions, nil
}

// appliedVersions returns the versions in goose's table, or none if the table does not exist.
func (db *DB) appliedVersions(ctx context.Context) (map[int64]bool, error) {
	exists := "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = 'goose_db_version'"
	if db.target.dialect == Postgres {
		exists = "SELECT count(to_regclass('goose_db_version'))"
	}
	versions := make(map[int64]bool)
	var tables int64
	if err := db.QueryRow(ctx, exists).Scan(&tables); err != nil || tables == 0 {
		return versions, err
	}
	rows, err := db.Query(ctx, "SELECT version_id FROM goose_db_version WHERE is_applied AND version_id > 0")
	if err != nil {
		return nil, err
	}
	for rows.Next() {
		var v int64
		if err := rows.Scan(&v); err != nil {
			return nil, errors.Join(err, rows.Close())
		}
		versions[v] = true
	}
	return versions, errors.Join(rows.Err(), rows.Close())
}
