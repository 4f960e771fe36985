// Package sqldb adds a database to an App of package standard. It is a separate package so that
// services without a database do not link a database driver.
package sqldb

import (
	"context"
	"database/sql"
	"errors"
	"io/fs"
	"log/slog"
	"strings"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/config"
	"github.com/chassi-go/chassi/database"
	"github.com/chassi-go/chassi/standard"
)

// Add opens the database that c configures, adds it to the App as a component, and returns it. It
// returns an error if c is invalid or the database cannot be opened. Components that are added
// later may use the database when they start.
//
// When the App starts, it checks its listen addresses first. Then the component creates a missing
// SQLite file, waits until the database is available, and applies the migrations; until then the
// App is alive but not ready. While the App runs, it checks the database for readiness and exposes
// the connection pools in the metrics. When the App stops, it closes the database. A schema that is
// newer than the program only causes a warning, because this is normal during a rollout and after a
// rollback.
func Add(ctx context.Context, app *standard.App, c database.Config, migrations fs.FS) (*database.DB, error) {
	if app.DescribeOnly {
		c.URL = "sqlite::memory:"
	}
	if err := c.Validate(); err != nil {
		return nil, standard.UsageError{Err: err}
	}
	db, err := database.OpenUncreated(ctx, c)
	if err != nil {
		return nil, err //nolint:wrapcheck // says where
	}
	app.Add(&component{DB: db, migrations: migrations, logger: app.Logger})
	app.Private("database.url", config.DatabaseFile, db.Files()...)
	count := c.MaxOpen
	if db.Dialect() == database.SQLite {
		count = 2 * (c.MaxOpen + 2) // each connection opens the file and its log; one connection is the writer's
	}
	app.Descriptors("database.max_connections", c.MaxOpen, count)
	app.Add(chassi.ComponentFunc("database_connections", func(ctx context.Context) error { return warnOfConnections(ctx, app, db) }, nil))
	var errs []error
	for i, stats := range db.Stats() {
		errs = append(errs, app.Telemetry.RegisterDB(stats.Name, func() sql.DBStats { return db.Stats()[i].DBStats }))
	}
	return db, errors.Join(errs...)
}

// warnOfConnections logs a warning if the database may refuse connections of the pool. It always
// returns nil.
func warnOfConnections(ctx context.Context, app *standard.App, db *database.DB) error {
	if err := db.CheckConnections(ctx); err != nil && !database.IsUnavailable(err) {
		app.Logger.Warn("the database may refuse connections of this node", "error", err.Error(),
			"fix", "lower database.max_connections on all nodes, raise PostgreSQL's limit, or put PgBouncer between")
	}
	return nil
}

// component makes a database a [chassi.Component]. The embedded DB provides the method Check.
type component struct {
	*database.DB

	migrations fs.FS
	logger     *slog.Logger
}

// Name returns "database".
func (s *component) Name() string { return "database" }

var errDatabase = chassi.NewError(chassi.Unavailable, "database_unavailable", "The database is unavailable")

// Start creates a missing SQLite file and applies pending migrations. It returns a
// [chassi.Unavailable] error if the database is unavailable, does not respond or refuses the
// connection.
func (s *component) Start(ctx context.Context) error {
	err := s.prepare(ctx)
	if database.IsUnavailable(err) {
		return errDatabase.WithCause(err)
	}
	return err
}

func (s *component) prepare(ctx context.Context) error {
	if err := s.Create(ctx); err != nil {
		return err //nolint:wrapcheck // says where
	}
	err := s.CheckSchema(ctx, s.migrations)
	schema, differs := errors.AsType[*database.SchemaError](err)
	if err != nil && !differs {
		return err //nolint:wrapcheck // says where
	}
	if differs && schema.Newer {
		s.logger.Warn("the schema is newer than this program, which uses what it knows of it", "newest", schema.Have, "known", schema.Want)
	}
	if differs && schema.Pending {
		if err := s.migrate(ctx); err != nil {
			return err
		}
	}
	return s.Checkpoint(ctx) //nolint:wrapcheck // says where
}

func (s *component) migrate(ctx context.Context) error {
	applied, err := s.Migrate(ctx, s.migrations)
	if err != nil {
		return err //nolint:wrapcheck // says where
	}
	if len(applied) > 0 { // otherwise another node was first
		s.logger.Info("schema brought up to date", "migrations", strings.Join(applied, " "))
	}
	return nil
}

// Stop writes the write-ahead log of SQLite into the database file, so that the file is complete
// even while another process has it open, and closes the database.
func (s *component) Stop(ctx context.Context) error {
	return errors.Join(s.Checkpoint(ctx), s.Close())
}
