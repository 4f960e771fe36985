package task

import (
	"context"
	"embed"
	"io/fs"

	"github.com/chassi-go/chassi/database"
)

//go:embed schema
var files embed.FS

// versions is the table in which the applied migrations are recorded.
const versions = "chassi_db_version"

// Migrate creates or updates the tables, whose names begin with chassi_. It returns a
// [chassi.Unavailable] error if the database is unavailable.
func Migrate(ctx context.Context, db *database.DB) error {
	schema, err := fs.Sub(files, "schema")
	if err == nil {
		_, err = db.MigrateTable(ctx, versions, schema)
	}
	return Unavailable(err)
}
