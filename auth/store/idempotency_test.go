package store_test

import (
	"io/fs"
	"testing"

	"github.com/chassi-go/chassi/auth/store"
	"github.com/chassi-go/chassi/database"
	"github.com/chassi-go/chassi/idempotency/sqlstore"
)

// The table is the one that package sqlstore works with.
func TestIdempotencyKeysAreThoseOfSQLStore(t *testing.T) {
	t.Parallel()
	for _, d := range []database.Dialect{database.SQLite, database.Postgres} {
		file := d.String() + "/00002_idempotency_keys.sql"
		if got, err := fs.ReadFile(store.Migrations(), file); err != nil || string(got) != sqlstore.Schema(d) {
			t.Errorf("%s, %v, is not what sqlstore wants:\n%s", file, err, got)
		}
	}
}
