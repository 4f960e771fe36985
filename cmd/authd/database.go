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

// withService calls do with a service on the database and returns the error of do. The database
// must exist and have this program's schema, or withService returns an error: only serve, migrate
// and restore create a database or change its schema.
func (p *program) withService(ctx context.Context, do func(ctx context.Context, s *service.Service) error) error {
	return p.with(ctx, database.OpenExisting, do)
}

// withReader calls do with a service on the database, opened read-only, and returns the error of
// do. The database must exist and have this program's schema, or withReader returns an error.
func (p *program) withReader(ctx context.Context, do func(ctx context.Context, s *service.Service) error) error {
	return p.with(ctx, database.OpenReadOnly, do)
}

type opener func(ctx context.Context, c database.Config) (*database.DB, error)

func (p *program) with(ctx context.Context, open opener, do func(ctx context.Context, s *service.Service) error) (err error) {
	masters, err := p.Config.masterKeys()
	if err != nil {
		return err
	}
	db, err := p.open(ctx, open)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, db.Close()) }()
	pool := workpool.New(p.Config.poolOptions())
	defer pool.Stop(ctx) //nolint:errcheck // nothing is left in it
	users := store.New(db)
	shared := clock.New(clock.Options{Name: databaseName, Read: users.Clock})
	if err := shared.Measure(ctx); err != nil {
		return err //nolint:wrapcheck // says what
	}
	s, err := service.New(p.Config.Auth.Config, service.Options{
		Store: users, Pool: pool, MasterKey: masters.current, OldMasterKey: masters.old, Now: shared.Now, Issued: shared.Source,
	})
	if err != nil {
		return err //nolint:wrapcheck // says where
	}
	return do(ctx, s)
}

// open opens the configured database with the given function. It returns an error if the database
// does not exist or does not have this program's schema.
func (p *program) open(ctx context.Context, open opener) (*database.DB, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	db, err := open(ctx, p.Config.Database)
	if err != nil {
		return nil, advise(err)
	}
	if err := db.CheckSchema(ctx, store.Migrations()); err != nil {
		return nil, errors.Join(advise(err), db.Close())
	}
	return db, nil
}

// advise returns err, with a hint for the operator if err means that the database does not exist or
// has another schema.
func advise(err error) error {
	var schema *database.SchemaError
	switch {
	case errors.Is(err, database.ErrMissing):
		return fmt.Errorf("%w: check database.url; authd serve and authd migrate create a database", err)
	case !errors.As(err, &schema):
		return err
	case schema.Newer:
		return fmt.Errorf("%w: use the version of authd that migrated the database, or a newer one", err)
	default:
		return fmt.Errorf("%w: run authd migrate, or start authd serve", err)
	}
}

// cleanUp returns a function that deletes expired idempotency keys and checkpoints the database.
// For SQLite, a checkpoint limits the part of the data that is only in the write-ahead log.
func cleanUp(db *database.DB) func(context.Context) error {
	deleteExpired := deleteKeys(db)
	return func(ctx context.Context) error { return errors.Join(deleteExpired(ctx), db.Checkpoint(ctx)) }
}
