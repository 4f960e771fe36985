// Package redisdb adds Redis to an App of package standard, so that rate limits apply across
// all nodes. It is a separate package so that services without Redis do not link it.
package redisdb

import (
	"github.com/chassi-go/chassi"
	"github.com/chassi-go/chassi/middleware"
	"github.com/chassi-go/chassi/ratelimit"
	"github.com/chassi-go/chassi/ratelimit/redislimit"
	"github.com/chassi-go/chassi/redis"
	"github.com/chassi-go/chassi/standard"
)

// DB is a Redis database. The program also works while Redis is unavailable.
type DB struct {
	*redis.DB

	// OnFallback adds an operation that was performed without Redis to the metric
	// redis_fallbacks_total. The argument what is the name of the operation, such as "rate_limit".
	OnFallback func(what string)
}

// Add opens the Redis database that c configures and returns it, or returns nil and no error if c
// has no URL. The App starts and stops the database, and is ready even while Redis is unavailable.
// Add must be called before [standard.App.Limiter], and only once. It returns an error if c is
// invalid or the metrics cannot be registered.
//
// In an App that is only described, Add always returns a database, even if c has no URL. This
// database makes no connections, and calls of its methods fail.
func Add(app *standard.App, c redis.Config) (*DB, error) {
	if app.DescribeOnly {
		c = redis.Config{URL: "redis://127.0.0.1", Offline: true}
	}
	if c.URL == "" {
		return nil, nil //nolint:nilnil // as the comment says
	}
	c.Logger = app.Logger
	if c.Prefix == "" {
		c.Prefix = app.Name + ":"
	}
	client, err := redis.Open(c)
	if err != nil {
		return nil, err //nolint:wrapcheck // says what
	}
	app.Add(chassi.Optional(client))
	count, err := app.Telemetry.RegisterEvents("redis_fallbacks_total", "What was done without Redis because it could not be used.")
	app.ShareLimits(func(name string, l *ratelimit.Limiter) middleware.Limiter {
		return redislimit.New(name, l, client, func() { count("rate_limit") })
	})
	return &DB{DB: client, OnFallback: count}, err //nolint:wrapcheck // says where
}
