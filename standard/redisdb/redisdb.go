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

// DB is a Redis database on which the program does not depend.
type DB struct {
	*redis.DB

	// OnFallback counts, in the metric redis_fallbacks_total, an operation that was performed
	// without Redis. what names the operation, such as "rate_limit".
	OnFallback func(what string)
}

// Add opens the Redis database in c and returns it, or nil if c has no URL. The App starts
// and stops it, and is ready without it. Add must be called before [standard.App.Limiter].
// In an App that is only described, it returns a database that connects to nothing and whose
// calls fail, whether c has a URL or not.
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
