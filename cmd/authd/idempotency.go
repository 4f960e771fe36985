package main

import (
	"context"
	"errors"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/auth/service"
	"github.com/chassi-go/chassi/database"
	"github.com/chassi-go/chassi/idempotency"
	"github.com/chassi-go/chassi/idempotency/redisstore"
	"github.com/chassi-go/chassi/idempotency/sqlstore"
	"github.com/chassi-go/chassi/middleware"
	"github.com/chassi-go/chassi/standard"
	"github.com/chassi-go/chassi/standard/redisdb"
)

// storeIdempotencyKeys enables repeating sign-ups with an Idempotency-Key. Other calls with
// effects return tokens, which are never stored. The stored data of a sign-up, which depends on
// the password, is as expensive to guess as the account's hash. If sign-up is disabled, keys
// are ignored.
func (c *Config) storeIdempotencyKeys(app *standard.App, cache *redisdb.DB, db *database.DB, svc *service.Service, s *chassi.Service) error {
	var store idempotency.Store = sqlstore.New(db)
	if c.Idempotency.Store == "redis" {
		if cache == nil {
			return standard.UsageError{Err: errors.New("idempotency.store: redis needs redis.url")}
		}
		store = redisstore.New(cache.Patient(2 * time.Second))
	}
	if !c.SignUp {
		return nil
	}
	count, err := app.Telemetry.RegisterEvents("authd_idempotency_total", "What became of calls with an Idempotency-Key.")
	if err != nil {
		return err //nolint:wrapcheck // says where
	}
	return middleware.Idempotency(s, store, middleware.IdempotencyOptions{ //nolint:wrapcheck // says where
		Keep: c.Idempotency.Keep, Observe: count, Check: svc.CheckSignUp, Stretch: svc.Stretch,
		Secret: func(context.Context) ([]byte, error) { return svc.Secret("idempotency") },
	}, "SignUp")
}

// deleteKeys returns a function that deletes expired idempotency keys.
func deleteKeys(db *database.DB) func(context.Context) error {
	store := sqlstore.New(db)
	return func(ctx context.Context) error {
		_, err := store.DeleteExpired(ctx)
		return err //nolint:wrapcheck // says where
	}
}
