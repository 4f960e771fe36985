package database

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"

	"github.com/pressly/goose/v3"
)

// SchemaError means that the schema of a database is not the one that the program requires.
type SchemaError struct {
	// Have is the number of the newest applied migration, or 0 if none was applied. Want is the
	// number of the newest migration that the program contains.
	Have, Want int64

	Newer   bool // the database has a migration that the program does not contain
	Pending bool // the program contains a migration that was not applied
}

// Error returns a description of how the schema differs from the one that the program requires.
func (e *SchemaError) Error() string {
	switch {
	case e.Newer && e.Have <= e.Want:
		return fmt.Sprintf("database: a migration that this program does not contain was applied; its number is below %05d, "+
			"the newest migration of this program", e.Want)
	case e.Newer:
		return fmt.Sprintf("database: the schema is newer than this program: migration %05d was applied, but the newest migration of this program is %05d",
			e.Have, e.Want)
	case e.Have == 0:
		return "database: the database has no schema yet"
	case e.Have == e.Want:
		return fmt.Sprintf("database: a migration that this program needs was not applied; its number is below %05d, the newest migration", e.Want)
	}
	return fmt.Sprintf("database: the schema is older than this program needs: migration %05d was applied last, and the newest migration is %05d",
		e.Have, e.Want)
}

// CheckSchema compares the applied migrations with the files in migrations, whose format
// [DB.Migrate] describes. It does not change the database. It returns a [*SchemaError] if they
// differ, and another error if there are no files, if a file has no number or the number of another
// file, if a migration was applied from a file of another name, or if the database cannot be read.
func (db *DB) CheckSchema(ctx context.Context, migrations fs.FS) error {
	known, err := migrationFiles(migrations, db.target.dialect)
	if err != nil {
		return err
	}
	applied, err := db.appliedFiles(ctx)
	if err != nil {
		return err
	}
	if err := checkFiles(known, applied); err != nil {
		return failed("schema", err)
	}
	e := &SchemaError{Have: newest(applied), Want: newest(known)}
	for v := range known {
		e.Pending = e.Pending || !has(applied, v)
	}
	for v := range applied {
		e.Newer = e.Newer || !has(known, v)
	}
	if e.Pending || e.Newer {
		return e
	}
	return nil
}

func has(files map[int64]string, version int64) bool {
	_, ok := files[version]
	return ok
}

func newest(files map[int64]string) (newest int64) {
	for v := range files {
		newest = max(newest, v)
	}
	return newest
}

// checkOrder returns an error if a pending migration has a lower number than an applied one.
func checkOrder(known, applied map[int64]string) error {
	last := newest(applied)
	for _, v := range slices.Sorted(maps.Keys(known)) {
		if v < last && !has(applied, v) {
			return fmt.Errorf("the migration %s has a lower number than %s, which was applied before; give the new one the next free number",
				known[v], cmp.Or(applied[last], known[last], fmt.Sprintf("%05d", last)))
		}
	}
	return nil
}

// checkFiles returns an error if a migration in known was applied from a file of another name.
func checkFiles(known, applied map[int64]string) error {
	for _, v := range slices.Sorted(maps.Keys(known)) {
		if was := applied[v]; was != "" && was != known[v] {
			return fmt.Errorf("the migration %s was not applied, because %s has the same number and was applied before; give the new one the next free number, or the old one its name again", known[v], was)
		}
	}
	return nil
}

// migrationFiles returns the names of the migration files of d, by the number that each name begins
// with. It returns an error if there are no files, if a name begins with no number, or if two names
// begin with the same number.
func migrationFiles(migrations fs.FS, d Dialect) (map[int64]string, error) {
	paths, err := fs.Glob(migrations, d.String()+"/*.sql")
	if err == nil && len(paths) == 0 {
		err = fmt.Errorf("the migrations have no .sql file in the directory %q", d)
	}
	if err != nil {
		return nil, failed("schema", err)
	}
	names := make(map[int64]string)
	for _, file := range paths {
		name := path.Base(file)
		v, err := goose.NumericComponent(name)
		if err != nil {
			return nil, failed("schema", fmt.Errorf("the name of %s must begin with a positive whole number and an underscore, as in 00001_users.sql", file))
		}
		if other := names[v]; other != "" {
			return nil, failed("schema", fmt.Errorf("the migrations %s and %s have the same number; give the newer one the next free number", other, name))
		}
		names[v] = name
	}
	return names, nil
}

// filesTable is the table that records the name of the file from which each version in goose's
// table was applied.
const filesTable = "goose_db_version_files"

// appliedFiles returns the names of the files of the applied migrations, by version. A name is ""
// if it was not recorded. The map is empty if goose's table does not exist.
func (db *DB) appliedFiles(ctx context.Context) (map[int64]string, error) {
	files := make(map[int64]string)
	exists, err := db.hasTable(ctx, goose.DefaultTablename)
	if err != nil || !exists {
		return files, err
	}
	named, err := db.hasTable(ctx, filesTable)
	if err != nil {
		return nil, err
	}
	query := "SELECT version_id, '' FROM goose_db_version WHERE is_applied AND version_id > 0"
	if named {
		query = `SELECT v.version_id, coalesce(f.file, '') FROM goose_db_version v
			LEFT JOIN goose_db_version_files f ON f.version = v.version_id WHERE v.is_applied AND v.version_id > 0`
	}
	rows, err := db.Query(ctx, query)
	if err != nil {
		return nil, err
	}
	for rows.Next() {
		var version int64
		var file string
		if err := rows.Scan(&version, &file); err != nil {
			return nil, errors.Join(err, rows.Close())
		}
		files[version] = file
	}
	return files, errors.Join(rows.Err(), rows.Close())
}

func (db *DB) hasTable(ctx context.Context, name string) (bool, error) {
	query := "SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = $1"
	if db.target.dialect == Postgres {
		query = "SELECT count(to_regclass($1))"
	}
	var tables int64
	err := db.QueryRow(ctx, query, name).Scan(&tables)
	return tables > 0, err
}

// recordFiles stores the name of the file of each applied migration that is in known.
func (db *DB) recordFiles(ctx context.Context, known map[int64]string) error {
	applied, err := db.appliedFiles(ctx)
	if err != nil {
		return err
	}
	if _, err := db.Exec(ctx, "CREATE TABLE IF NOT EXISTS "+filesTable+" (version BIGINT PRIMARY KEY, file TEXT NOT NULL)"); err != nil {
		return err
	}
	var statements []Statement
	for _, v := range slices.Sorted(maps.Keys(known)) {
		if has(applied, v) {
			statements = append(statements, Statement{
				SQL:  "INSERT INTO " + filesTable + " (version, file) VALUES ($1, $2) ON CONFLICT (version) DO UPDATE SET file = excluded.file",
				Args: []any{v, known[v]},
			})
		}
	}
	return db.Batch(ctx, statements...)
}
