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
)

// takeKeys lets sign-ups be repeated with an Idempotency-Key. The other calls that change
// anything answer with tokens, which are stored nowhere. What is stored of a sign-up,
// which holds a password, is as dear to guess at as the account's own hash. Where sign-up
// is switched off no key is looked at.
func (p *program) takeKeys(std *standard.Standard, db *database.DB, svc *service.Service, s *chassi.Service) error {
	var store idempotency.Store = sqlstore.New(db)
	if p.config.Idempotency.Store == "redis" {
		if std.Redis == nil {
			return usageError{errors.New("idempotency.store: redis needs redis.url")}
		}
		store = redisstore.New(std.Redis.Patient(2 * time.Second))
	}
	if !p.config.SignUp {
		return nil
	}
	count, err := std.Telemetry.RegisterEvents("authd_idempotency_total", "What became of calls with an Idempotency-Key.")
	if err != nil {
		return err //nolint:wrapcheck // says where
	}
	return middleware.Idempotency(s, store, middleware.IdempotencyOptions{ //nolint:wrapcheck // says where
		Keep: p.config.Idempotency.Keep, Observe: count, Check: svc.CheckSignUp, Stretch: svc.Stretch,
		Secret: func(context.Context) ([]byte, error) { return svc.Secret("idempotency") },
	}, "SignUp")
}

// forgetKeys deletes keys that have ended.
func forgetKeys(db *database.DB) func(context.Context) error {
	store := sqlstore.New(db)
	return func(ctx context.Context) error {
		_, err := store.Forget(ctx)
		return err //nolint:wrapcheck // says where
	}
}
