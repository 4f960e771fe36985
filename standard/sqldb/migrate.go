package sqldb

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"github.com/chassi-go/chassi/database"
	"github.com/chassi-go/chassi/standard"
)

// MigrateCommand returns the command "migrate", which applies the migrations to the database and
// prints them. The function config returns the configuration of the database, whose settings must be
// in the group "database". The command creates a missing SQLite file. It has no time limit, whereas
// the start of a [standard.App] ends each attempt to apply the migrations after a minute.
func MigrateCommand[C any](config func(*C) database.Config, migrations fs.FS) standard.Command[C] {
	return standard.Command[C]{
		Name: "migrate", Settings: "database", Help: "bring the database's schema up to date and list its migrations",
		Run: func(ctx context.Context, i *standard.Invocation[C]) (err error) {
			c := config(i.Config)
			if err := c.Validate(); err != nil {
				return standard.UsageError{Err: err}
			}
			db, err := database.Open(ctx, c)
			if err != nil {
				return err //nolint:wrapcheck // says where
			}
			defer func() { err = errors.Join(err, db.Close()) }()
			if _, err := db.Migrate(ctx, migrations); err != nil {
				return err //nolint:wrapcheck // says where
			}
			list, err := db.Migrations(ctx, migrations)
			if err != nil {
				return err //nolint:wrapcheck // says where
			}
			for _, m := range list {
				if _, err := fmt.Fprintf(i.Out, "%s applied %s\n", m.Name, m.Applied.UTC().Format(time.RFC3339)); err != nil {
					return err //nolint:wrapcheck // stdout's
				}
			}
			return nil
		},
	}
}
