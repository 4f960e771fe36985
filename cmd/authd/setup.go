package main

import (
	"context"
	"errors"
	"runtime"
	"time"

	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/auth"
	"github.com/chassi-go/chassi/auth/service"
	"github.com/chassi-go/chassi/auth/store"
	"github.com/chassi-go/chassi/database"
	"github.com/chassi-go/chassi/internal/memlimit"
	"github.com/chassi-go/chassi/middleware"
	"github.com/chassi-go/chassi/ratelimit"
	"github.com/chassi-go/chassi/schema/apidocs"
	"github.com/chassi-go/chassi/standard"
	"github.com/chassi-go/chassi/standard/amqpserver"
	"github.com/chassi-go/chassi/standard/grpcserver"
	"github.com/chassi-go/chassi/standard/natsembedded"
	"github.com/chassi-go/chassi/standard/redisdb"
	"github.com/chassi-go/chassi/standard/sqldb"
	"github.com/chassi-go/chassi/telemetry"
	"github.com/chassi-go/chassi/workpool"
)

// setup adds the components and endpoints of authd to app. It returns an error for settings that
// cannot be used.
func setup(ctx context.Context, app *standard.App, c *Config) error {
	hashing, err := c.fitHashing(c.poolOptions(), memlimit.Container(), app.Logger)
	if err != nil {
		return err
	}
	cache, err := redisdb.Add(app, c.Redis)
	if err != nil {
		return err //nolint:wrapcheck // says where
	}
	grpcserver.Add(app, c.GRPC)
	natsembedded.Add(app, c.NATS)
	amqpserver.Add(app, c.AMQP)
	app.Add(chassi.ComponentFunc("systemd", notifySystemd, nil)) // before dependencies that may be unavailable

	db, err := sqldb.Add(ctx, app, c.Database, store.Migrations())
	if err != nil {
		return err //nolint:wrapcheck // says where
	}
	users := store.New(db)
	pool := workpool.New(hashing)
	masters, err := c.masterKeys()
	if err != nil {
		return err
	}
	count, eventsErr := app.Telemetry.RegisterEvents("authd_events_total", "What happened, by kind.")
	shared, clockErr := watchClocks(app, cache, users)
	if err := errors.Join(eventsErr, clockErr); err != nil {
		return err
	}
	svc, err := service.New(c.Auth.Config, service.Options{
		Store: users, Attempts: countAttempts(cache, users), Pool: pool, Logger: app.Logger, Observe: count,
		CleanUp: cleanUp(db), Now: shared.Now, Issued: shared.Source,
		MasterKey: masters.current, OldMasterKey: masters.old, SealPlainKeys: db.Dialect() == database.SQLite,
	})
	if err != nil {
		return err //nolint:wrapcheck // says where
	}
	app.Add(
		chassi.ComponentFunc("first_account", func(ctx context.Context) error { return logFirstRun(ctx, app, c, users) }, nil),
		chassi.ComponentFunc("clock", func(ctx context.Context) error { return startClock(ctx, shared) }, shared.Stop),
		chassi.ComponentFunc("hashing", nil, pool.Stop),
		chassi.Background("gomaxprocs", chassi.IgnoreExit, newExtraProcs(hashing.Workers).run),
		svc,
	)
	app.AddAuthenticator(middleware.Bearer(svc.Principal))
	endpoints := auth.Endpoints(svc)
	endpoints.Use(limitSignUps(app.Limiter("sign_up", ratelimit.New(ratelimit.Options{Limit: c.SignUpRate}))))
	app.Mount(endpoints)
	return errors.Join(
		observePool(app.Telemetry, pool), observeDisk(app.Telemetry, db), c.storeIdempotencyKeys(app, cache, db, svc, endpoints),
		watchKeys(app, svc), app.Describe(about), apidocs.Mount(app, apidocs.Options{Title: about.Title}),
	)
}

// countAttempts returns the counter of failed logins. It counts in Redis if Redis is configured and
// available, and in the database otherwise.
func countAttempts(cache *redisdb.DB, users *store.Store) store.Attempts {
	if cache == nil {
		return users
	}
	return store.NewSharedAttempts(users, cache.Patient(time.Second), func() { cache.OnFallback("lockout") })
}

func (c *Config) poolOptions() workpool.Options {
	o := workpool.Options{Name: "hashing", Workers: c.Hash.Workers, Queue: c.Hash.Queue}
	if o.Workers == 0 {
		o.Workers = runtime.GOMAXPROCS(0)
	}
	if o.Queue == 0 {
		o.Queue = 16 * o.Workers
	}
	return o
}

// logFirstRun logs how to create the first account if there is no account. authd has no default
// account.
func logFirstRun(ctx context.Context, app *standard.App, c *Config, users *store.Store) error {
	list, err := users.Users(ctx, "", 1)
	if store.IsUnavailable(err) {
		return auth.ErrUnavailable.WithCause(err)
	}
	if err != nil || len(list) > 0 {
		return err //nolint:wrapcheck // says where
	}
	how := "authd user add you@example.com"
	if c.SignUp {
		how += ", or POST /v1/users"
	}
	app.Logger.Info("there is no account yet; create the first one", "how", how)
	return nil
}

// observePool adds the metrics of the pool that hashes passwords.
func observePool(t *telemetry.Telemetry, pool *workpool.Pool) error {
	return t.RegisterPool("hashing", func() telemetry.PoolStats { //nolint:wrapcheck // says where
		s := pool.Stats()
		return telemetry.PoolStats{
			Workers: s.Workers, Busy: s.Busy, Queued: s.Queued, QueueSize: s.QueueSize,
			Submitted: s.Submitted, Completed: s.Completed, Refused: s.Refused, Canceled: s.Canceled, Panics: s.Panics,
		}
	})
}
