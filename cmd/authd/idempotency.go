package main

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"errors"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/database"
	"github.com/chassi-go/chassi/idempotency"
	"github.com/chassi-go/chassi/idempotency/redisstore"
	"github.com/chassi-go/chassi/idempotency/sqlstore"
	"github.com/chassi-go/chassi/middleware"
	"github.com/chassi-go/chassi/standard"
)

// takeKeys lets sign-ups be repeated with an Idempotency-Key. The other calls that change
// anything answer with tokens, which are stored nowhere.
func (p *program) takeKeys(std *standard.Standard, db *database.DB, masterKey []byte, s *chassi.Service) error {
	var store idempotency.Store = sqlstore.New(db)
	if p.config.Idempotency.Store == "redis" {
		if std.Redis == nil {
			return usageError{errors.New("idempotency.store: redis needs redis.url")}
		}
		store = redisstore.New(std.Redis.Patient(2 * time.Second))
	}
	count, err := std.Telemetry.RegisterEvents("authd_idempotency_total", "What became of calls with an Idempotency-Key.")
	if err != nil {
		return err //nolint:wrapcheck // says where
	}
	return middleware.Idempotency(s, store, middleware.IdempotencyOptions{ //nolint:wrapcheck // says where
		Keep: p.config.Idempotency.Keep, Secret: secretOf(masterKey), Observe: count,
	}, "SignUp")
}

// secretOf derives what goes into the digests of sign-ups, nil from no master key.
func secretOf(masterKey []byte) []byte {
	if masterKey == nil {
		return nil
	}
	mac := hmac.New(sha256.New, masterKey)
	mac.Write([]byte("authd idempotency keys"))
	return mac.Sum(nil)
}

// forgetKeys deletes keys that have ended, with room for clocks that differ.
func forgetKeys(db *database.DB) func(context.Context, time.Time) error {
	store := sqlstore.New(db)
	return func(ctx context.Context, now time.Time) error {
		_, err := store.Forget(ctx, now.Add(-time.Minute))
		return err //nolint:wrapcheck // says where
	}
}
