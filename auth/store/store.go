// Package store stores accounts, failed attempts and signing keys in SQLite or PostgreSQL, with the
// same SQL for both.
package store

import (
	"context"
	"embed"
	"io/fs"
	"time"

	"github.com/chassi-go/chassi/database"
)

//go:embed migrations
var files embed.FS

// Migrations returns the migrations of the schema, for [database.DB.Migrate].
func Migrations() fs.FS {
	sub, err := fs.Sub(files, "migrations")
	if err != nil {
		return files // unreachable: the directory is embedded above
	}
	return sub
}

// Store stores the data of the auth service in a database. It is safe for concurrent use. Its
// methods return [ErrEmailTaken], [ErrNotFound] and the errors of package database; see
// [IsUnavailable].
type Store struct {
	db *database.DB
}

// New returns a store on db, to which the migrations of [Migrations] must be applied before the
// methods of the store are called.
func New(db *database.DB) *Store { return &Store{db: db} }

// Check returns an error if the database cannot be used. It is the readiness probe of the database.
func (s *Store) Check(ctx context.Context) error { return s.db.Check(ctx) }

func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

func fromMicros(n int64) time.Time {
	if n == 0 {
		return time.Time{}
	}
	return time.UnixMicro(n).UTC()
}

// ErrNotFound is the error for a row that does not exist. It is [database.ErrNotFound].
var ErrNotFound = database.ErrNotFound

// IsUnavailable reports whether err means that the database is currently unavailable.
func IsUnavailable(err error) bool { return database.IsUnavailable(err) }
