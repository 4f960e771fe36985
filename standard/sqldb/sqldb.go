// Package sqldb adds a database to what package standard puts together. It is a package of its
// own so that services without a database link none.
package sqldb

import (
	"context"
	"database/sql"
	"errors"
	"io/fs"
	"log/slog"
	"strings"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/database"
	"github.com/chassi-go/chassi/standard"
)

// Manage hands db over to the App of std, which waits for it at the start, brings its schema up
// to date with migrations, calls prepared (nil for nothing), probes it for readiness and
// closes it in the end; its pools are in the metrics. What is managed later may rely on it. A
// schema that is newer than the program is a warning: it is so while a new version is rolled
// out, or was rolled back.
//
//	db, err := database.Open(ctx, cfg.Database)
//	err = sqldb.Manage(std, db, migrations, nil)
func Manage(std *standard.Standard, db *database.DB, migrations fs.FS, prepared func(context.Context) error) error {
	std.Manage(&server{DB: db, migrations: migrations, prepared: prepared, logger: std.Telemetry.Logger})
	var errs []error
	for i, stats := range db.Stats() {
		errs = append(errs, std.Telemetry.RegisterDB(stats.Name, func() sql.DBStats { return db.Stats()[i].DBStats }))
	}
	return errors.Join(errs...)
}

// server is a database as a [chassi.Server]. Its Check is the database's.
type server struct {
	*database.DB

	migrations fs.FS
	prepared   func(context.Context) error
	logger     *slog.Logger
}

// Name returns "database".
func (s *server) Name() string { return "database" }

var errDatabase = chassi.NewError(chassi.Unavailable, "database_unavailable", "The database cannot be used")

// Start returns an error that is Unavailable if the database is away, hangs or refuses us.
func (s *server) Start(ctx context.Context) error {
	err := s.prepare(ctx)
	if database.IsUnavailable(err) {
		return errDatabase.WithCause(err)
	}
	return err
}

func (s *server) prepare(ctx context.Context) error {
	schema := new(database.SchemaError)
	switch err := s.CheckSchema(ctx, s.migrations); {
	case errors.As(err, &schema) && schema.Newer:
		s.logger.Warn("the schema is newer than this program, which uses what it knows of it", "newest", schema.Have, "known", schema.Want)
	case schema.Want != 0:
		applied, err := s.Migrate(ctx, s.migrations)
		if err != nil {
			return err //nolint:wrapcheck // says where
		}
		if len(applied) > 0 { // otherwise another node was first
			s.logger.Info("schema brought up to date", "migrations", strings.Join(applied, " "))
		}
	case err != nil:
		return err //nolint:wrapcheck // says where
	}
	if err := s.Checkpoint(ctx); err != nil || s.prepared == nil {
		return err //nolint:wrapcheck // says where
	}
	return s.prepared(ctx)
}

// Stop folds the write-ahead log of SQLite into its file, so that this is complete even
// while another process has it open, and closes the database.
func (s *server) Stop(ctx context.Context) error {
	return errors.Join(s.Checkpoint(ctx), s.Close())
}
