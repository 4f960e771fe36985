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

// storeIdempotencyKeys adds support for the Idempotency-Key header to SignUp. The other endpoints
// that change data do not support it, because they return tokens, which are never stored. The data
// stored for a sign-up depends on the password, but guessing the password from that data is as
// expensive as from the account's hash. If sign-up is disabled, the header is ignored.
// storeIdempotencyKeys returns a usage error if the keys are to be stored in Redis and Redis is not
// configured.
func (c *Config) storeIdempotencyKeys(app *standard.App, cache *redisdb.DB, db *database.DB, svc *service.Service, s *chassi.Service) error {
	var store idempotency.Store = sqlstore.New(db)
	if c.Idempotency.Store == "redis" {
		if cache == nil {
			return standard.UsageError{Err: errors.New("idempotency.store is redis, which requires redis.url")}
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
