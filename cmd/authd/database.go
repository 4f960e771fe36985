package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/chassi-go/chassi/auth/service"
	"github.com/chassi-go/chassi/auth/store"
	"github.com/chassi-go/chassi/clock"
	"github.com/chassi-go/chassi/database"
	"github.com/chassi-go/chassi/workpool"
)

// withService lends a service on the database to do. The database must exist and have this
// program's schema: only serve, migrate and restore create one or change its schema.
func (p *program) withService(ctx context.Context, do func(ctx context.Context, s *service.Service) error) error {
	return p.with(ctx, database.OpenExisting, do)
}

// withReader is withService for commands that only read.
func (p *program) withReader(ctx context.Context, do func(ctx context.Context, s *service.Service) error) error {
	return p.with(ctx, database.OpenReadOnly, do)
}

type opener func(ctx context.Context, c database.Config) (*database.DB, error)

func (p *program) with(ctx context.Context, open opener, do func(ctx context.Context, s *service.Service) error) (err error) {
	masters, err := p.masterKeys()
	if err != nil {
		return err
	}
	db, err := p.open(ctx, open)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	pool := workpool.New(p.poolOptions())
	defer pool.Stop(ctx) //nolint:errcheck // nothing is left in it
	users := store.New(db)
	shared := clock.New(clock.Options{Name: databaseName, Read: users.Clock})
	if err := shared.Measure(ctx); err != nil {
		return err //nolint:wrapcheck // says what
	}
	s, err := service.New(p.config.Auth.Config, service.Options{
		Store: users, Pool: pool, MasterKey: masters.current, OldMasterKey: masters.old, Now: shared.Now, Issued: shared.Source,
	})
	if err != nil {
		return err //nolint:wrapcheck // says where
	}
	return do(ctx, s)
}

// open opens a database that must exist and have this program's schema.
func (p *program) open(ctx context.Context, open opener) (*database.DB, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	db, err := open(ctx, p.config.Database)
	if err != nil {
		return nil, advise(err)
	}
	if err := db.CheckSchema(ctx, store.Migrations()); err != nil {
		return nil, errors.Join(advise(err), db.Close())
	}
	return db, nil
}

// advise adds what to do about a database that cannot be used as it is.
func advise(err error) error {
	var schema *database.SchemaError
	switch {
	case errors.Is(err, database.ErrMissing):
		return fmt.Errorf("%w: check database.url; authd serve and authd migrate create a database", err)
	case !errors.As(err, &schema):
		return err
	case schema.Newer:
		return fmt.Errorf("%w: use the authd that brought it up to date, or a newer one", err)
	default:
		return fmt.Errorf("%w: run authd migrate, or start authd serve", err)
	}
}

// tidy deletes idempotency keys that have ended, and bounds how much of a SQLite database
// is in its write-ahead log alone.
func tidy(db *database.DB) func(context.Context) error {
	forget := forgetKeys(db)
	return func(ctx context.Context) error { return errors.Join(forget(ctx), db.Checkpoint(ctx)) }
}
